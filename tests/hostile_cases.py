"""Hostile servers as data: what each one sends, and the record that it should get."""

import asyncio
import contextlib
import gzip
import ssl
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any
from unittest.mock import ANY

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from loopback import (
    Handler,
    Request,
    Server,
    delayed,
    endless,
    raw,
    redirect,
    reply,
    reset,
    resets,
    silent,
)

from crawler import ErrorKind, Outcome, Phase, Result

TIMEOUT = 0.5  # seconds; for the cases that last until it
MAX_BODY = 100_000
MANY = 10**12
DRIP = 0.04
FIELD = b"X-Filler: " + b"y" * 1000 + b"\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts in the record of a case. `ANY` stands for a value that no rule determines."""

    outcome: Outcome
    status: int | None = None
    size: int | None = None
    truncated: bool = False
    redirects: int = 0
    kind: ErrorKind | None = None
    phase: Phase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A bad response at "/bad", from `handlers`, and the facts of its record.

    `lasts`: it continues until the timeout, or may; `endless`: it sends without end, so
    memory is watched. `hint` is a pattern that the error's detail must contain. `data` is the
    response if it is sent at once.
    """

    id: str
    handlers: Mapping[str, Handler]
    facts: Facts
    method: str = "GET"
    lasts: bool = False
    endless: bool = False
    hint: str = ""
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsCase:
    """An https origin that cannot be requested, from `serve`, and the facts of its URL."""

    id: str
    serve: Callable[["Authorities"], Server]
    facts: Facts
    lasts: bool = False
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Authorities:
    """The issuers of server certificates: one that the client trusts, one unknown to it."""

    known: trustme.CA
    unknown: trustme.CA = field(default_factory=trustme.CA)


def facts_of(result: Result) -> Facts:
    return Facts(
        outcome=result.outcome,
        status=result.attempt.status,
        size=result.attempt.size,
        truncated=result.attempt.truncated,
        redirects=len(result.attempt.redirects),
        kind=result.attempt.error.kind if result.attempt.error else None,
        phase=result.attempt.error.phase if result.attempt.error else None,
    )


def good(size: int, status: int = 200, redirects: int = 0) -> Facts:
    return Facts(outcome=Outcome.RESPONDED, status=status, size=size, redirects=redirects)


def bad(kind: ErrorKind, phase: Phase | None, status: int | None = None, hops: int = 0) -> Facts:
    return Facts(outcome=Outcome.ERROR, status=status, redirects=hops, kind=kind, phase=phase)


# The size is what had been read when the cap was passed; that depends on the reads.
TRUNCATED = Facts(outcome=Outcome.RESPONDED, status=200, size=ANY, truncated=True)
NO_HTTP = bad(ErrorKind.PROTOCOL, Phase.WAIT)
BROKEN_BODY = bad(ErrorKind.PROTOCOL, Phase.DOWNLOAD, 200)
CUT_SHORT = bad(ErrorKind.BODY_INCOMPLETE, Phase.DOWNLOAD, 200)
SILENCE = bad(ErrorKind.TIMEOUT, Phase.WAIT)
STALLED = bad(ErrorKind.TIMEOUT, Phase.DOWNLOAD, 200)
BAD_REDIRECT = bad(ErrorKind.BAD_REDIRECT, None, 302)


def head(*fields: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("latin-1")


def one(case: str, handler: Handler, facts: Facts, **more: Any) -> Case:
    return Case(id=case, handlers={"/bad": handler}, facts=facts, **more)


def sends(case: str, data: bytes, facts: Facts, *, close: bool = False, **more: Any) -> Case:
    return one(case, raw(data, close=close), facts, data=data, **more)


def leads(case: str, location: str, facts: Facts = BAD_REDIRECT, **more: Any) -> Case:
    return one(case, redirect(location), facts, **more)


def _bomb() -> bytes:
    """Return about 60 KB of gzip that unpack to 60 MB of zeros."""
    packer = zlib.compressobj(wbits=31)
    million = bytes(1_000_000)
    start = packer.compress(million) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(million) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + again * 59 + packer.flush()


BOMB = _bomb()


async def _back_to_itself(
    request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await redirect(request.target)(request, reader, writer)


async def _ever_on(
    request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await redirect(f"?{request.query}1")(request, reader, writer)


async def _ever_on_slowly(
    request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await delayed(0.6 * TIMEOUT, _ever_on)(request, reader, writer)


async def _ten_hops(
    request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    hop = int(request.query.partition("=")[2] or 0)
    then = reply(200, b"end") if hop == 10 else redirect(f"?hop={hop + 1}")
    await then(request, reader, writer)


async def _closes_when_reused(
    request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    if request.turn:
        writer.close()
    else:
        await reply(200, b"fresh")(request, reader, writer)


async def _resets_when_reused(
    request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    if request.turn:
        reset(writer)
    else:
        await reply(200, b"fresh")(request, reader, writer)


def filled(count: int) -> bytes:
    """Return a response of `count` bytes in all."""
    start = head("Content-Length: 00000")
    size = count - len(start)
    return start.replace(b"00000", b"%05d" % size) + b"x" * size


def _drips(start: bytes, whole: bytes) -> Handler:
    """Return a handler that writes `whole` byte by byte, for far longer than the timeout."""
    return raw(start, *(whole[n : n + 1] for n in range(len(whole))), gap=DRIP)


TIME = [
    one("silence", silent(), SILENCE, lasts=True),
    one("silence-after-head", silent(head("Content-Length: 5")), STALLED, lasts=True),
    one("silence-inside-head", silent(b"HTTP/1.1 200 OK\r\nX-"), SILENCE, lasts=True),
    one("silence-inside-body", silent(head("Content-Length: 5") + b"he"), STALLED, lasts=True),
    one("dripped-status-line", _drips(b"HTTP/1.1 200 ", b"O" * 250), SILENCE, lasts=True),
    one("dripped-header", _drips(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 250), SILENCE, lasts=True),
    one("dripped-body", _drips(head("Content-Length: 250"), b"x" * 250), STALLED, lasts=True),
    one(
        "dripped-headers",
        endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", gap=DRIP),
        SILENCE,
        lasts=True,
    ),
    one(
        "dripped-chunks",
        endless(head("Transfer-Encoding: chunked"), b"1\r\nx\r\n", gap=DRIP),
        STALLED,
        lasts=True,
    ),
    one("dripped-100s", endless(b"", head(status="100 Continue"), gap=DRIP), SILENCE, lasts=True),
    one(
        "slow-redirects",
        _ever_on_slowly,
        # The timeout may come between two hops.
        bad(ErrorKind.TIMEOUT, ANY, 302, ANY),
        lasts=True,
    ),
]

SIZE = [
    one(
        "endless-body-with-length",
        endless(head(f"Content-Length: {MANY}"), bytes(65536)),
        TRUNCATED,
        endless=True,
    ),
    one("endless-body-until-close", endless(head(), bytes(65536)), TRUNCATED, endless=True),
    one(
        "endless-body-in-chunks",
        endless(head("Transfer-Encoding: chunked"), b"4000\r\n" + bytes(0x4000) + b"\r\n"),
        TRUNCATED,
        endless=True,
    ),
    one(
        "endless-body-in-one-chunk",
        endless(head("Transfer-Encoding: chunked") + b"FFFFFFFFFFFF\r\n", bytes(65536)),
        TRUNCATED,
        endless=True,
    ),
    one(
        "endless-body-in-small-chunks",
        endless(head("Transfer-Encoding: chunked"), b"64\r\n" + bytes(100) + b"\r\n"),
        TRUNCATED,
        endless=True,
    ),
    one("endless-headers", endless(b"HTTP/1.1 200 OK\r\n", FIELD * 50), NO_HTTP, endless=True),
    one("endless-header", endless(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65536), NO_HTTP, endless=True),
    one("endless-status-line", endless(b"HTTP/1.1 200 ", b"O" * 65536), NO_HTTP, endless=True),
    one(
        "endless-chunk-extension",
        endless(head("Transfer-Encoding: chunked") + b"5;x=", b"y" * 65536),
        BROKEN_BODY,
        endless=True,
    ),
    one(
        "endless-chunk-size",
        endless(head("Transfer-Encoding: chunked"), b"0" * 65536),
        BROKEN_BODY,
        lasts=True,
        endless=True,
    ),
    one(
        "endless-trailers",
        endless(head("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n", FIELD * 50),
        BROKEN_BODY,
        endless=True,
    ),
    one(
        "flood-of-100s",
        endless(b"", head(status="100 Continue") * 1000),
        NO_HTTP,
        lasts=True,
        endless=True,
    ),
    one(
        "flood-of-103s",
        endless(b"", head("Link: </a>; rel=preload", status="103 Early Hints") * 1000),
        NO_HTTP,
        lasts=True,
        endless=True,
    ),
    one("gzip-bomb", reply(200, BOMB, "Content-Encoding: gzip"), good(len(BOMB)), endless=True),
    Case(
        id="gzip-bomb-in-a-redirect",
        handlers={
            "/bad": reply(302, BOMB, "Location: bad/end", "Content-Encoding: gzip"),
            "/bad/end": reply(200, b"end"),
        },
        facts=good(3, redirects=1),
        endless=True,
    ),
    Case(
        id="endless-body-in-a-redirect",
        handlers={
            "/bad": endless(
                head("Location: bad/end", f"Content-Length: {MANY}", status="302 Found"),
                bytes(65536),
            ),
            "/bad/end": reply(200, b"end"),
        },
        facts=good(3, redirects=1),
        endless=True,
    ),
    Case(
        id="endless-chunks-in-a-redirect",
        handlers={
            "/bad": endless(
                head("Location: bad/end", "Transfer-Encoding: chunked", status="302 Found"),
                b"4000\r\n" + bytes(0x4000) + b"\r\n",
            ),
            "/bad/end": reply(200, b"end"),
        },
        facts=good(3, redirects=1),
        endless=True,
    ),
    sends(
        "body-as-large-as-the-cap",
        head(f"Content-Length: {MAX_BODY}") + bytes(MAX_BODY),
        good(MAX_BODY),
    ),
    sends(
        "body-one-byte-over-the-cap",
        head(f"Content-Length: {MAX_BODY + 1}") + bytes(MAX_BODY + 1),
        TRUNCATED,
    ),
]

_LIE = head("Content-Length: 3", status="500 Lie") + b"lie"

CONNECTIONS = [
    sends("two-responses", head("Content-Length: 2") + b"ok" + _LIE, good(2)),
    sends("two-responses-after-a-full-buffer", filled(65_536) + _LIE, good(65_494)),
    sends("short-content-length", head("Content-Length: 5") + b"hello world", good(5)),
    sends("204-with-a-body", head(status="204 No Content") + b"hello", good(0, 204)),
    sends(
        "204-with-a-length-and-a-body",
        head("Content-Length: 5", status="204 No Content") + b"hello",
        good(0, 204),
    ),
    sends("304-with-a-body", head(status="304 Not Modified") + b"hello", good(0, 304)),
    sends("204-and-a-second-response", head(status="204 No Content") + _LIE, good(0, 204)),
    sends("head-with-a-body", head("Content-Length: 5") + b"hello", good(0), method="HEAD"),
    sends("head-and-a-second-response", head("Content-Length: 5") + _LIE, good(0), method="HEAD"),
    sends(
        "chunks-and-a-second-response",
        head("Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n" + _LIE,
        good(2),
    ),
    one("closed-when-reused", _closes_when_reused, good(5)),
    one("reset-when-reused", _resets_when_reused, good(5)),
    one("post-closed-when-reused", _closes_when_reused, good(5), method="POST"),
    one("post-reset-when-reused", _resets_when_reused, good(5), method="POST"),
    sends("closed-after-the-response", head("Content-Length: 2") + b"ok", good(2), close=True),
    one(
        "says-close-and-stays-open",
        silent(head("Content-Length: 2", "Connection: close") + b"ok"),
        good(2),
    ),
    one(
        "http-1.0-and-stays-open",
        silent(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        good(2),
    ),
    one("closed-at-once", raw(close=True), bad(ErrorKind.DISCONNECTED, Phase.WAIT)),
    one("reset-at-once", resets(), bad(ErrorKind.RESET, Phase.WAIT)),
    one(
        "reset-inside-the-head",
        resets(b"HTTP/1.1 200 OK\r\nX-", after=0.03),
        bad(ErrorKind.RESET, Phase.WAIT),
    ),
    one(
        "reset-inside-the-body",
        resets(head("Content-Length: 5") + b"he", after=0.03),
        bad(ErrorKind.RESET, Phase.DOWNLOAD, 200),
    ),
    one(
        "reset-inside-a-chunk",
        resets(head("Transfer-Encoding: chunked") + b"5\r\nhe", after=0.03),
        bad(ErrorKind.RESET, Phase.DOWNLOAD, 200),
    ),
    one(
        "reset-instead-of-the-end",
        resets(head() + b"hello", after=0.03),
        bad(ErrorKind.RESET, Phase.DOWNLOAD, 200),
    ),
]

_CHUNKED = head("Transfer-Encoding: chunked")
_OK = head("Content-Length: 5") + b"hello"

FRAMING = [
    sends(
        "length-longer-than-the-body", head("Content-Length: 9") + b"hello", CUT_SHORT, close=True
    ),
    sends("length-and-no-body", head("Content-Length: 9"), CUT_SHORT, close=True),
    sends("cut-inside-a-chunk", _CHUNKED + b"9\r\nhello", CUT_SHORT, close=True),
    sends("cut-between-chunks", _CHUNKED + b"5\r\nhello\r\n", CUT_SHORT, close=True),
    sends("cut-inside-a-chunk-size", _CHUNKED + b"5\r\nhello\r\n5", CUT_SHORT, close=True),
    sends("cut-before-the-last-line", _CHUNKED + b"5\r\nhello\r\n0\r\n", CUT_SHORT, close=True),
    sends("two-lengths", head("Content-Length: 5", "Content-Length: 6") + b"hello", NO_HTTP),
    sends("two-lengths-in-one-line", head("Content-Length: 5, 6") + b"hello", NO_HTTP),
    sends("length-in-letters", head("Content-Length: five") + b"hello", NO_HTTP),
    sends("length-below-zero", head("Content-Length: -5") + b"hello", NO_HTTP),
    sends("chunk-size-in-letters", _CHUNKED + b"xyz\r\nhello\r\n0\r\n\r\n", BROKEN_BODY),
    sends("chunk-size-below-zero", _CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", BROKEN_BODY),
    sends("chunk-size-too-large", _CHUNKED + b"F" * 40 + b"\r\nhello\r\n0\r\n\r\n", BROKEN_BODY),
    sends("chunk-size-missing", _CHUNKED + b"\r\nhello\r\n0\r\n\r\n", BROKEN_BODY),
    sends("chunk-size-ended-by-cr", _CHUNKED + b"5\rhello\r\n0\r\n\r\n", BROKEN_BODY),
    sends("nul-in-a-field", head("X-Name: a\0b", "Content-Length: 5") + b"hello", NO_HTTP),
    sends("nul-as-a-field", head("X-Name: \0", "Content-Length: 5") + b"hello", NO_HTTP),
    sends(
        "nul-in-a-folded-field",
        head("X-Name: a", " \0", "Content-Length: 5") + b"hello",
        NO_HTTP,
    ),
    sends("chunk-longer-than-its-size", _CHUNKED + b"2\r\nhello\r\n0\r\n\r\n", BROKEN_BODY),
    sends("letters-in-the-status", head("Content-Length: 0", status="2xx OK"), NO_HTTP),
    sends("status-of-two-digits", head("Content-Length: 0", status="20 OK"), NO_HTTP),
    sends("binary", bytes(range(256)) + b"\r\n\r\n", NO_HTTP, close=True),
    sends("zeros", bytes(500), NO_HTTP, close=True, lasts=True),
    sends("ssh-banner", b"SSH-2.0-OpenSSH_9.2\r\n", NO_HTTP, lasts=True),
    sends("ssh-banner-and-end", b"SSH-2.0-OpenSSH_9.2\r\n", NO_HTTP, close=True),
    sends("smtp-banner", b"220 mail.test ESMTP\r\n", NO_HTTP, lasts=True),
    sends("http-2-settings", bytes.fromhex("000000040000000000"), NO_HTTP, lasts=True),
    sends("http-0.9", b"<html>hello</html>\n", NO_HTTP, close=True),
    sends("tls-alert", bytes.fromhex("15030100020246"), NO_HTTP, close=True, hint="TLS"),
    sends("tls-alert-held-open", bytes.fromhex("15030300020228"), NO_HTTP, lasts=True, hint="TLS"),
    sends(
        "closed-inside-the-head",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        bad(ErrorKind.DISCONNECTED, Phase.WAIT),
        close=True,
    ),
    sends("same-length-twice", head("Content-Length: 5", "Content-Length: 5") + b"hello", good(5)),
    sends(
        "length-with-chunks",
        head("Content-Length: 99", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
        good(5),
    ),
    sends("no-length-until-close", head() + b"hello", good(5), close=True),
    sends("http-1.0-until-close", b"HTTP/1.0 200 OK\r\n\r\nhello", good(5), close=True),
    sends("bare-line-feeds", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", good(5)),
    sends("folded-header", head("X-Long: a", " b", "\tc", "Content-Length: 5") + b"hello", good(5)),
    sends("no-reason-phrase", head("Content-Length: 5", status="200 ") + b"hello", good(5)),
    sends("no-space-after-the-status", head("Content-Length: 5", status="200") + b"hello", good(5)),
    sends("status-999", head("Content-Length: 5", status="999 Odd") + b"hello", good(5, 999)),
    sends("status-600", head("Content-Length: 5", status="600 Odd") + b"hello", good(5, 600)),
    sends("100-before-the-response", head(status="100 Continue") + _OK, good(5)),
    sends("103-before-the-response", head("Link: </a>", status="103 Early Hints") + _OK, good(5)),
    sends(
        "some-1xx-before-the-response",
        head(status="100 Continue") + head(status="102 Processing") * 3 + _OK,
        good(5),
    ),
    sends(
        "101-unsolicited",
        head("Connection: Upgrade", "Upgrade: websocket", status="101 Switching Protocols"),
        # Transports differ in whether the head of a 101 counts as received.
        bad(ErrorKind.PROTOCOL, ANY, ANY),
    ),
    sends(
        "text-labelled-as-gzip",
        head("Content-Encoding: gzip", "Content-Length: 5") + b"hello",
        good(5),
    ),
    sends("gzip-of-nothing", head("Content-Encoding: gzip", "Content-Length: 0"), good(0)),
    sends(
        "gzip-cut-short",
        head("Content-Encoding: gzip", "Content-Length: 12") + gzip.compress(b"hello")[:12],
        good(12),
    ),
    sends(
        "unknown-coding", head("Content-Encoding: x-new", "Content-Length: 5") + b"hello", good(5)
    ),
    sends("nul-in-the-body", head("Content-Length: 5") + b"a\0b\0c", good(5)),
    sends(
        "chunks-with-bare-line-feeds",
        _CHUNKED + b"5\nhello\n3\nyou\n0\n\n",
        good(8),
        lasts=True,
    ),
    sends("chunk-size-padded", _CHUNKED + b"5  \r\nhello\r\n0 \r\n\r\n", good(5)),
    sends("trailers", _CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", good(5)),
    sends("chunk-extensions", _CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n', good(5)),
    sends("latin-1-in-a-header", head("X-Name: caf\xe9", "Content-Length: 5") + b"hello", good(5)),
]

REDIRECTS = [
    one("redirect-to-itself", _back_to_itself, bad(ErrorKind.REDIRECT_LOOP, None, 302)),
    Case(
        id="redirect-loop-of-two",
        handlers={"/bad": redirect("bad/other"), "/bad/other": redirect("../bad")},
        facts=bad(ErrorKind.REDIRECT_LOOP, None, 302, ANY),
    ),
    one("redirects-without-end", _ever_on, bad(ErrorKind.TOO_MANY_REDIRECTS, None, 302, 10)),
    one("ten-redirects", _ten_hops, good(3, redirects=10)),
    leads("redirect-to-nothing", ""),
    sends(
        "redirect-to-two-urls",
        head("Location: bad/a", "Location: bad/b", "Content-Length: 0", status="302 Found"),
        BAD_REDIRECT,
    ),
    Case(
        id="redirect-to-one-url-twice",
        handlers={
            "/bad": reply(302, b"", "Location: bad/end", "Location: bad/end"),
            "/bad/end": reply(200, b"end"),
        },
        facts=good(3, redirects=1),
    ),
    Case(
        id="redirect-in-utf-8",
        handlers={"/bad": redirect("bad/\xc3\xa9"), "/bad/%C3%A9": reply(200, b"end")},
        facts=good(3, redirects=1),
    ),
    one("302-without-a-location", reply(302, b"hello"), good(5, 302)),
    one("300-is-not-followed", reply(300, b"hello", "Location: bad/end"), good(5, 300)),
    one("304-is-not-followed", reply(304, b"", "Location: bad/end"), good(0, 304)),
    leads("redirect-to-ftp", "ftp://127.0.0.1/"),
    leads("redirect-to-a-script", "javascript:alert(1)"),
    leads("redirect-to-data", "data:text/plain,hello"),
    leads("redirect-to-a-file", "file:///etc/passwd"),
    leads("redirect-with-a-control-character", "bad/\x01end"),
    leads("redirect-with-an-escape", "bad/\x1b[31mend"),
    leads("redirect-with-a-tab", "bad/\tend"),
    leads("redirect-with-del", "bad/\x7fend"),
    leads("redirect-to-port-65536", "http://127.0.0.1:65536/"),
    leads("redirect-to-port-0", "http://127.0.0.1:0/"),
    leads("redirect-to-a-port-in-letters", "http://127.0.0.1:http/"),
    leads("redirect-to-no-host", "http:///path"),
    leads("redirect-to-a-bad-address", "http://[::1/"),
    leads("redirect-to-a-bad-name", "http://\xe2\x98\x83.invalid/"),
    leads("redirect-to-a-bad-label", "http://a..invalid/"),
    leads("redirect-to-a-very-long-url", "bad/" + "x" * 20_000),
]

CASES = [*TIME, *SIZE, *CONNECTIONS, *FRAMING, *REDIRECTS]


def _certified(
    chain: Callable[[Authorities], trustme.LeafCert], *, whole: bool = True
) -> Callable[[Authorities], Server]:
    def serve(authorities: Authorities) -> Server:
        leaf = chain(authorities)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if whole:
            leaf.configure_cert(context)
        else:
            with trustme.Blob(
                leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes()
            ).tempfile() as path:
                context.load_cert_chain(path)
        return Server({"/bad": reply(200, b"hello")}, tls=context)

    return serve


def _self_signed(authorities: Authorities) -> Server:
    ca = authorities.unknown
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(ca.private_key_pem.bytes() + ca.cert_pem.bytes()).tempfile() as path:
        context.load_cert_chain(path)
    return Server({"/bad": reply(200, b"hello")}, tls=context)


def _wants_certificate(version: ssl.TLSVersion) -> Callable[[Authorities], Server]:
    """Return a server that refuses clients without a certificate, with an alert.

    asyncio's own servers end such a connection without an alert, unlike real ones.
    """

    def serve(authorities: Authorities) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = version
        authorities.known.issue_cert("127.0.0.1").configure_cert(context)
        authorities.known.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            arriving, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(arriving, leaving, server_side=True)
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    writer.write(leaving.read())
                    arriving.write(await reader.read(65536))
                except ssl.SSLError:
                    break
            writer.write(leaving.read())
            await reader.read()

        return _Posing(accept=accept)

    return serve


def _responds_to_hello(data: bytes, *, cut: bool = False) -> Callable[[Authorities], Server]:
    """Return a server that reads the client's hello, sends `data`, and ends the connection."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(data)
        await writer.drain()
        if cut:
            reset(writer)

    return lambda _: _Posing(accept=accept)


_BAD_RECORD = bytes.fromhex("1703030020") + bytes(32)  # encrypted with no key


def over_tls(
    data: bytes,
    *,
    notify: bool = False,
    then: bytes = b"",
    cut: bool = False,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> Callable[[Authorities], Server]:
    """Return a server that responds with `data` over TLS, and ends the connection.

    `notify`: it sends close_notify before the end; `cut`: the end is a TCP reset; `then`
    follows outside TLS. All of it is sent at once.
    """

    def serve(authorities: Authorities) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = version
        authorities.known.issue_cert("127.0.0.1").configure_cert(context)

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            arriving, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(arriving, leaving, server_side=True)
            request = b""
            while b"\r\n\r\n" not in request:
                try:
                    request += tls.read()
                except ssl.SSLWantReadError:
                    writer.write(leaving.read())
                    received = await reader.read(65536)
                    if not received:
                        return
                    arriving.write(received)
            tls.write(data)
            if notify:
                with contextlib.suppress(ssl.SSLWantReadError):
                    tls.unwrap()
            writer.write(leaving.read() + then)
            await writer.drain()
            if cut:
                await asyncio.sleep(0.05)
                reset(writer)

        return _Posing(accept=accept)

    return serve


async def _stays_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


def _named_by_cn(
    name: str, *others: str, host: str = "localhost"
) -> Callable[[Authorities], Server]:
    """Return a server whose certificate has `name` as CN only; alternative names are `others`."""

    def serve(authorities: Authorities) -> Server:
        issuer = authorities.known
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.load_pem_x509_certificate(issuer.cert_pem.bytes()).subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )
        if others:
            addresses = [x509.IPAddress(ip_address(other)) for other in others]
            builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        signer = load_pem_private_key(issuer.private_key_pem.bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        certificate = builder.sign(signer, SHA256()).public_bytes(Encoding.PEM)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with trustme.Blob(secret + certificate).tempfile() as path:
            context.load_cert_chain(path)
        return _Named({"/bad": reply(200, b"hello")}, tls=context, name=host)

    return serve


class _Named(Server):
    """A server whose URLs name it by `name`."""

    def __init__(self, handlers: Mapping[str, Handler], *, tls: ssl.SSLContext, name: str) -> None:
        super().__init__(handlers, tls=tls)
        self._name = name

    @property
    def origin(self) -> str:
        return f"https://{self._name}:{self.port}"


class _Posing(Server):
    """A server without TLS whose URLs say https."""

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.port}"


def _refused(kind: ErrorKind) -> Facts:
    return bad(kind, Phase.TLS)


_PAST = datetime(2001, 1, 1, tzinfo=UTC)
_FUTURE = datetime(2200, 1, 1, tzinfo=UTC)

TLS_CASES = [
    TlsCase(
        id="expired",
        serve=_certified(lambda a: a.known.issue_cert("127.0.0.1", not_after=_PAST)),
        facts=_refused(ErrorKind.TLS_EXPIRED),
    ),
    TlsCase(
        id="not-yet-valid",
        serve=_certified(lambda a: a.known.issue_cert("127.0.0.1", not_before=_FUTURE)),
        facts=_refused(ErrorKind.TLS_NOT_YET_VALID),
    ),
    TlsCase(
        id="wrong-name",
        serve=_certified(lambda a: a.known.issue_cert("other.test")),
        facts=_refused(ErrorKind.TLS_HOSTNAME),
        hint="127.0.0.1",
    ),
    TlsCase(
        id="name-only-as-cn",
        serve=_named_by_cn("localhost"),
        facts=_refused(ErrorKind.TLS_HOSTNAME),
        hint="localhost",
    ),
    TlsCase(
        id="name-only-as-cn-next-to-an-address",
        serve=_named_by_cn("localhost", "127.0.0.1"),
        facts=_refused(ErrorKind.TLS_HOSTNAME),
        hint="localhost",
    ),
    TlsCase(
        id="address-only-as-cn",
        serve=_named_by_cn("127.0.0.1", host="127.0.0.1"),
        facts=_refused(ErrorKind.TLS_HOSTNAME),
        hint="127.0.0.1",
    ),
    TlsCase(
        id="unknown-root",
        serve=_certified(lambda a: a.unknown.issue_cert("127.0.0.1")),
        facts=_refused(ErrorKind.TLS_UNTRUSTED),
    ),
    TlsCase(
        id="self-signed",
        serve=_self_signed,
        facts=_refused(ErrorKind.TLS_UNTRUSTED),
    ),
    TlsCase(
        id="incomplete-chain",
        serve=_certified(lambda a: a.known.create_child_ca().issue_cert("127.0.0.1"), whole=False),
        facts=_refused(ErrorKind.TLS_UNTRUSTED),
    ),
    TlsCase(
        id="handshake-refused",
        serve=_responds_to_hello(bytes.fromhex("15030300020228")),
        facts=_refused(ErrorKind.TLS_HANDSHAKE),
        hint="refused|HandshakeFailure",
    ),
    TlsCase(
        id="version-refused",
        serve=_responds_to_hello(bytes.fromhex("15030300020246")),
        facts=_refused(ErrorKind.TLS_HANDSHAKE),
        hint="version",
    ),
    TlsCase(
        id="name-refused",
        serve=_responds_to_hello(bytes.fromhex("15030300020270")),
        facts=_refused(ErrorKind.TLS_HANDSHAKE),
        hint="name",
    ),
    TlsCase(
        id="plain-http-on-the-tls-port",
        serve=lambda _: _Posing(),
        facts=_refused(ErrorKind.TLS_HANDSHAKE),
        hint="plain HTTP",
    ),
    TlsCase(
        id="another-protocol-on-the-tls-port",
        serve=_responds_to_hello(b"SSH-2.0-OpenSSH_9.2\r\n"),
        facts=_refused(ErrorKind.TLS_HANDSHAKE),
        hint="does not speak TLS",
    ),
    TlsCase(
        id="client-certificate-required",
        serve=_wants_certificate(ssl.TLSVersion.TLSv1_3),
        # With TLS 1.3 the refusal comes after the handshake.
        facts=bad(ErrorKind.TLS_HANDSHAKE, ANY),
        hint="client certificate",
    ),
    TlsCase(
        id="client-certificate-required-with-tls-1.2",
        serve=_wants_certificate(ssl.TLSVersion.TLSv1_2),
        facts=bad(ErrorKind.TLS_HANDSHAKE, ANY),
        hint="refused|HandshakeFailure",
    ),
    TlsCase(
        id="closed-in-the-handshake",
        serve=_responds_to_hello(b""),
        facts=_refused(ErrorKind.DISCONNECTED),
        hint="handshake",
    ),
    TlsCase(
        id="reset-in-the-handshake",
        serve=_responds_to_hello(b"", cut=True),
        facts=_refused(ErrorKind.RESET),
        hint="TLS handshake",
    ),
    TlsCase(id="until-close-notify", serve=over_tls(head() + b"hello", notify=True), facts=good(5)),
    TlsCase(
        id="until-close-notify-with-tls-1.2",
        serve=over_tls(head() + b"hello", notify=True, version=ssl.TLSVersion.TLSv1_2),
        facts=good(5),
    ),
    TlsCase(
        id="until-close-notify-and-a-reset",
        serve=over_tls(head() + b"hello", notify=True, cut=True),
        facts=good(5),
    ),
    TlsCase(
        id="until-close-without-close-notify",
        serve=over_tls(head() + b"hello"),
        facts=CUT_SHORT,
        hint="close_notify",
    ),
    TlsCase(
        id="until-close-without-close-notify-with-tls-1.2",
        serve=over_tls(head() + b"hello", version=ssl.TLSVersion.TLSv1_2),
        facts=CUT_SHORT,
        hint="close_notify",
    ),
    TlsCase(
        id="http-1.0-until-close-without-close-notify",
        serve=over_tls(b"HTTP/1.0 200 OK\r\n\r\nhello"),
        facts=CUT_SHORT,
    ),
    TlsCase(
        id="length-without-close-notify",
        serve=over_tls(head("Content-Length: 5") + b"hello"),
        facts=good(5),
    ),
    TlsCase(
        id="chunks-without-close-notify",
        serve=over_tls(_CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"),
        facts=good(5),
    ),
    TlsCase(
        id="no-content-without-close-notify",
        serve=over_tls(head(status="204 No Content")),
        facts=good(0, 204),
    ),
    TlsCase(
        id="length-longer-than-the-body-over-tls",
        serve=over_tls(head("Content-Length: 9") + b"hello", notify=True),
        facts=CUT_SHORT,
    ),
    TlsCase(
        id="bad-record-after-the-head",
        serve=over_tls(head("Content-Length: 9"), then=_BAD_RECORD),
        facts=bad(ErrorKind.TLS_HANDSHAKE, Phase.DOWNLOAD, 200),
        hint="while reading the body",
    ),
    TlsCase(
        id="bad-record-inside-the-body",
        serve=over_tls(head() + b"hello", then=_BAD_RECORD),
        facts=bad(ErrorKind.TLS_HANDSHAKE, Phase.DOWNLOAD, 200),
        hint="while reading the body",
    ),
    TlsCase(
        id="plain-text-after-the-head",
        serve=over_tls(head("Content-Length: 9"), then=b"HTTP/1.1 500 Oh\r\n\r\n"),
        facts=bad(ErrorKind.TLS_HANDSHAKE, Phase.DOWNLOAD, 200),
        hint="while reading the body",
    ),
    TlsCase(
        id="bad-record-after-the-whole-response",
        serve=over_tls(head("Content-Length: 5") + b"hello", then=_BAD_RECORD),
        facts=good(5),
    ),
    TlsCase(
        id="bad-record-inside-the-head",
        serve=over_tls(b"HTTP/1.1 200 OK\r\nX-", then=_BAD_RECORD),
        facts=bad(ErrorKind.TLS_HANDSHAKE, Phase.WAIT),
        hint="while waiting",
    ),
    TlsCase(
        id="silence-in-the-handshake",
        serve=lambda _: _Posing(accept=_stays_silent),
        facts=_refused(ErrorKind.TIMEOUT),
        hint="TLS handshake",
        lasts=True,
    ),
]
