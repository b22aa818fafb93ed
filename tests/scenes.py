"""Responses of all kinds to a plain request, as data: what is sent, and what is requested."""

import socket
import threading
from dataclasses import dataclass, replace
from typing import Any

from hostile_cases import MAX_BODY, filled, head
from paths import Way
from rawserver import End, Script

from crawler import Limits
from crawler.engine.transports.resolve import Address, Addresses
from crawler.engine.transports.settings import ConnectionSettings

SOON = 0.3  # seconds: the timeout of what lasts until then
PATIENT = 20.0
LIMITS = Limits(max=1, per_host=1, timeout=PATIENT, retries=0, max_body=MAX_BODY)
HASTY = replace(LIMITS, timeout=SOON)
CAPPED = replace(LIMITS, max_body=10)

OK = head("Content-Length: 5") + b"hello"
CHUNKED = head("Transfer-Encoding: chunked")


USUAL = Way(limits=LIMITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The responses to each path, and what is requested: `urls`, one after the other.

    `PORT` and `REFUSING` stand for ports in URLs and in responses.
    """

    scripts: dict[str, Script]
    urls: tuple[str, ...] = ("/",)
    way: Way = USUAL


def sends(*pieces: bytes, end: End = End.KEEP, then: Script | None = None) -> Script:
    return Script(pieces, end, gap=0.02, again=then)


def scene(*pieces: bytes, end: End = End.KEEP, limits: Limits = LIMITS, **more: Any) -> Scene:
    """Return a scene in which one response is sent, and a good one requested afterwards."""
    script = sends(*pieces, end=end)
    return Scene(
        scripts={"/": script, "/ok": sends(OK)},
        urls=("/", "/ok"),
        way=Way(limits=limits, **more),
    )


def moved(location: str, *fields: str, body: bytes = b"", status: int = 302) -> bytes:
    named = [f"Location: {location}", *(fields or (f"Content-Length: {len(body)}",))]
    return head(*named, status=f"{status} Moved") + body


def hops(*locations: str, limits: Limits = LIMITS, **more: Any) -> Scene:
    """Return a scene in which the paths /, /1, /2 and so on redirect to these locations."""
    paths = ["/", *(f"/{number}" for number in range(1, len(locations)))]
    scripts = {
        path: sends(moved(location)) for path, location in zip(paths, locations, strict=True)
    }
    return Scene(scripts=scripts | {"/ok": sends(OK)}, way=Way(limits=limits, **more))


def reused(then: Script, method: str = "GET", limits: Limits = LIMITS) -> Scene:
    """Return a scene in which a kept connection gets another response than a new one."""
    return Scene(
        scripts={"/ok": sends(OK), "/": sends(OK, then=then)},
        urls=("/ok", "/"),
        way=Way(limits=limits, method=method),
    )


HOME = Address(socket.AF_INET, "127.0.0.1")
NOBODY = Address(socket.AF_INET, "127.0.0.3")  # no server listens there
NAMES: dict[str, Addresses] = {
    "one.test": (HOME,),
    "other.test": (HOME,),
    "first-refuses.test": (NOBODY, HOME),
    "all-refuse.test": (NOBODY, Address(socket.AF_INET, "127.0.0.4")),
}
_STUCK = threading.Event()  # never set: a lookup that lasts


def look_up(name: str) -> Addresses:
    if name in NAMES:
        return NAMES[name]
    if name[0] == "h":  # h0.test, h1.test and so on
        return (HOME,)
    if name == "stuck.test":
        _STUCK.wait(10 * SOON)
    if name == "temporary.test":
        raise socket.gaierror(socket.EAI_AGAIN, "try again")
    raise socket.gaierror(socket.EAI_NONAME, "not known")


def named(*urls: str, scripts: dict[str, Script] | None = None, limits: Limits = LIMITS) -> Scene:
    return Scene(
        scripts={"/ok": sends(OK)} | (scripts or {}),
        urls=urls,
        way=Way(limits=limits, names=look_up),
    )


PRIVATE = ConnectionSettings(block_private=True)

REDIRECTS = {
    "redirect with its body": scene(moved("/ok", body=b"gone")),
    "redirect, then its body": scene(moved("/ok", "Content-Length: 4"), b"gone"),
    "redirect whose body comes in parts": scene(moved("/ok", "Content-Length: 4") + b"go", b"ne"),
    "redirect whose body is cut short": scene(
        moved("/ok", "Content-Length: 9") + b"gone", end=End.CLOSE
    ),
    "redirect whose body is reset": scene(
        moved("/ok", "Content-Length: 9") + b"gone", end=End.RESET
    ),
    "redirect whose body never ends": scene(moved("/ok", "Content-Length: 9") + b"gone"),
    "redirect with bad chunks": scene(moved("/ok", "Transfer-Encoding: chunked") + b"xyz\r\n"),
    "redirect with chunks": scene(
        moved("/ok", "Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n"
    ),
    "redirect with bytes beyond its body": scene(moved("/ok", "Content-Length: 2") + b"goner"),
    "redirect until the close": scene(
        head("Location: /ok", status="302 F") + b"gone", end=End.CLOSE
    ),
    "redirect, then no more": scene(moved("/ok"), end=End.HALF),
    "redirect with Connection: close": scene(
        moved("/ok", "Connection: close", "Content-Length: 0"), end=End.CLOSE
    ),
    "redirect after a 103": scene(head("Link: </a>", status="103 Early Hints") + moved("/ok")),
    "redirect with a body beyond the cap": scene(moved("/ok", body=bytes(99)), limits=CAPPED),
    "redirect to a missing page": hops("/missing"),
    "three redirects": hops("/1", "/2", "/ok"),
    "as many redirects as allowed": hops("/1", "/ok", limits=replace(LIMITS, max_redirects=2)),
    "one redirect too many": hops("/1", "/2", "/ok", limits=replace(LIMITS, max_redirects=2)),
    "no redirect allowed": hops("/ok", limits=replace(LIMITS, max_redirects=0)),
    "redirect not followed": hops("/ok", limits=replace(LIMITS, follow=False)),
    "redirect to itself": hops("/"),
    "loop of two": hops("/1", "/"),
    "loop by a fragment": hops("/#again"),
    "redirect with a fragment": hops("/ok#there"),
    "redirect to another host": named(
        "/", scripts={"/": sends(moved("http://other.test:PORT/ok"))}
    ),
    "redirect to a host with several addresses": named(
        "/", scripts={"/": sends(moved("http://first-refuses.test:PORT/ok"))}
    ),
    "redirect to a host that does not exist": named(
        "/", scripts={"/": sends(moved("http://none.test/"))}
    ),
    "redirect to a host whose lookup lasts": named(
        "/", scripts={"/": sends(moved("http://stuck.test/"))}, limits=HASTY
    ),
    "redirect to a port that refuses": hops("http://127.0.0.1:REFUSING/"),
    "redirect to an https port that speaks http": hops("https://127.0.0.1:PORT/"),
    "redirect to silence": Scene(
        scripts={"/": sends(moved("/silent")), "/silent": sends()}, way=Way(limits=HASTY)
    ),
    "redirect to a lost response": Scene(
        scripts={"/": sends(moved("/lost")), "/lost": sends(end=End.CLOSE)}
    ),
    "redirect to a body cut short": Scene(
        scripts={
            "/": sends(moved("/cut")),
            "/cut": sends(head("Content-Length: 9") + b"he", end=End.CLOSE),
        }
    ),
    "redirect to a connection that was kept, and is lost": Scene(
        scripts={"/": sends(moved("/ok")), "/ok": sends(OK, then=sends(end=End.CLOSE))}
    ),
    "300 with a Location": scene(moved("/ok", status=300)),
    "304 with a Location": scene(moved("/ok", status=304)),
    "302 without a Location": scene(head("Content-Length: 2", status="302 Found") + b"ok"),
    "the same Location twice": scene(moved("/ok", "Location: /ok", "Content-Length: 0")),
    "two Locations": scene(moved("/ok", "Location: /1", "Content-Length: 0")),
    "empty Location": scene(moved("")),
    "Location of another scheme": scene(moved("ftp://127.0.0.1/")),
    "Location with bytes beyond ASCII": scene(moved("/caf\xe9")),
    "Location that is no URL": scene(moved("http://[::1/")),
    "redirect with credentials": hops(
        "/1", "http://other.test:PORT/ok", names=look_up, headers=(("Authorization", "Bearer x"),)
    ),
    **{
        f"{method} redirected by {status}": Scene(
            scripts={"/": sends(moved("/ok", status=status)), "/ok": sends(OK)},
            way=Way(limits=LIMITS, method=method),
        )
        for method in ("POST", "PUT")
        for status in (301, 302, 303, 307, 308)
    },
    **{
        f"HEAD redirected by {status}": Scene(
            scripts={"/": sends(moved("/ok", status=status)), "/ok": sends(head("X: y"))},
            way=Way(limits=LIMITS, method="HEAD"),
        )
        for status in (302, 303)
    },
}

FRAMING = {
    "HEAD": scene(head("Content-Length: 5"), method="HEAD"),
    "HEAD with a body": scene(OK, method="HEAD"),
    "HEAD without framing": scene(head(), method="HEAD"),
    "HEAD, then a body": scene(head("Content-Length: 5"), b"hello", method="HEAD"),
    "100 first": scene(head(status="100 Continue"), OK),
    "103 with it": scene(head("Link: </a>", status="103 Early Hints") + OK),
    "100 and the end": scene(head(status="100 Continue"), end=End.CLOSE),
    "100 and nothing": scene(head(status="100 Continue"), limits=HASTY),
    "101": scene(head("Upgrade: x", "Connection: upgrade", status="101 Switching Protocols")),
    "204": scene(head(status="204 No Content")),
    "204 with a body": scene(head("Content-Length: 5", status="204 No Content") + b"hello"),
    "304 with a length": scene(head("Content-Length: 5", status="304 Not Modified")),
    "chunks": scene(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"),
    "chunks in parts": scene(CHUNKED + b"5\r", b"\nhel", b"lo\r\n0\r\n", b"\r\n"),
    "chunks with bare LF": scene(CHUNKED + b"5\nhello\n0\n\n"),
    "chunks with extensions": scene(CHUNKED + b"5;a=b\r\nhello\r\n0;c\r\n\r\n"),
    "chunks with trailers": scene(CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    "chunks cut": scene(CHUNKED + b"5\r\nhel", end=End.CLOSE),
    "chunks reset": scene(CHUNKED + b"5\r\nhel", end=End.RESET),
    "bad chunk size": scene(CHUNKED + b"5\r\nhello\r\nxyz\r\n"),
    "bad chunk size later": scene(CHUNKED + b"5\r\nhello\r\n", b"xyz\r\n"),
    "chunks, gzip": scene(head("Transfer-Encoding: gzip, chunked") + b"5\r\nhello\r\n0\r\n\r\n"),
    "chunked is not last": scene(
        head("Transfer-Encoding: chunked, gzip") + b"5\r\nhello\r\n0\r\n\r\n", end=End.CLOSE
    ),
    "bytes beyond the body": scene(OK + b"more"),
    "bytes beyond the body, later": scene(OK, b"more"),
    "a second response": scene(OK + OK),
    "a second response, later": scene(OK, OK),
    "closed after the response": scene(OK, end=End.CLOSE),
    "no more after the response": scene(OK, end=End.HALF),
    "reset after the response": scene(OK, end=End.RESET),
    "until the close": scene(head() + b"hello", end=End.CLOSE),
    "until a reset": scene(head() + b"hello", end=End.RESET),
    "until the timeout": scene(head() + b"hello", limits=HASTY),
    "HTTP/1.0": scene(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    "HTTP/1.0, kept": scene(
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"
    ),
    "no response": scene(end=End.CLOSE),
    "reset": scene(end=End.RESET),
    "half a head": scene(b"HTTP/1.1 200 OK\r\nX-", end=End.CLOSE),
    "half a head, reset": scene(b"HTTP/1.1 200 OK\r\nX-", end=End.RESET),
    "no HTTP": scene(b"hello\r\n\r\n", end=End.CLOSE),
    "NUL in a field": scene(head("X: a\0b", "Content-Length: 0")),
    "head in single bytes": scene(*(OK[at : at + 1] for at in range(8)), OK[8:]),
}

BODIES = {
    f"{count} bytes of {CAPPED.max_body}{', ' + end.name.lower() if end is not End.KEEP else ''}": (
        scene(head(f"Content-Length: {count}") + b"x" * count, end=end, limits=CAPPED)
    )
    for count in (0, 9, 10, 11, 500)
    for end in (End.KEEP, End.CLOSE)
} | {
    "the cap exceeded in a later part": scene(
        head("Content-Length: 20") + b"x" * 10, b"x" * 10, limits=CAPPED
    ),
    "the cap reached, then silence": scene(
        head("Content-Length: 20") + b"x" * 10, limits=replace(CAPPED, timeout=SOON)
    ),
    "the cap exceeded in chunks": scene(
        CHUNKED + b"8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n", limits=CAPPED
    ),
    "the cap exceeded, then a bad chunk": scene(
        CHUNKED + b"b\r\n12345678901\r\nxyz\r\n", limits=CAPPED
    ),
    "the cap exceeded, then a reset": scene(head() + b"x" * 11, limits=CAPPED, end=End.RESET),
    "a second response beyond what is read at once": scene(
        filled(65_536) + head("Content-Length: 3", status="500 Lie") + b"lie"
    ),
    "no body allowed": scene(OK, limits=replace(LIMITS, max_body=0)),
    "no body allowed, none there": scene(
        head("Content-Length: 0"), limits=replace(LIMITS, max_body=0)
    ),
    "a large body": scene(
        head("Content-Length: 3000000") + bytes(3_000_000), limits=replace(LIMITS, max_body=10**7)
    ),
}

KEPT = {
    "kept connection closed": reused(sends(end=End.CLOSE)),
    "kept connection reset": reused(sends(end=End.RESET)),
    "kept connection, half a head": reused(sends(b"HTTP/1.1 2", end=End.CLOSE)),
    "kept connection, no HTTP": reused(sends(b"hello\r\n\r\n", end=End.CLOSE)),
    "kept connection silent": reused(sends(), limits=HASTY),
    "kept connection, POST": reused(sends(end=End.CLOSE), method="POST"),
    "kept connection, HEAD": reused(sends(end=End.CLOSE), method="HEAD"),
    "kept connection, another response": reused(sends(head("Content-Length: 2") + b"hi")),
}

FIELDS = {
    "userinfo": replace(scene(OK), urls=("http://user:p%40ss@127.0.0.1:PORT/", "/ok")),
    "header options": scene(OK, headers=(("X-One", "1"), ("Host", "other"), ("User-Agent", "u"))),
    "query and fragment": replace(scene(OK), urls=("/?a=b&c=%20#top", "/ok")),
    "content type in UTF-8": scene(head("Content-Type: t/\xc3\xa9", "Content-Length: 0")),
    "content type in Latin-1": scene(head("Content-Type: t/\xe9", "Content-Length: 0")),
    "content type twice": scene(head("Content-Type: a", "content-type: b", "Content-Length: 0")),
    "length twice": scene(head("Content-Length: 5", "Content-Length: 5") + b"hello"),
    "Cloudflare's header": scene(
        head("CF-Mitigated: challenge", "Content-Length: 0", status="403 No")
    ),
    "Cloudflare's page": scene(
        head("Server: cloudflare", "Content-Length: 21", status="403 No") + b"<a href='cf_chl_opt'>"
    ),
    "Cloudflare's page, cut": scene(
        head("Server: cloudflare", "Content-Length: 99", status="403 No") + b"cf_chl_opt",
        end=End.CLOSE,
    ),
    "AWS WAF": scene(head("x-amzn-waf-action: challenge", "Content-Length: 0", status="202 A")),
    "LinkedIn": scene(head("Content-Length: 0", status="999 Request denied")),
    "Retry-After in seconds": scene(head("Retry-After: 90", "Content-Length: 0", status="429 T")),
    "Retry-After as a date": scene(
        head("Retry-After: Fri, 01 Jan 2100 00:00:00 GMT", "Content-Length: 0", status="503 U")
    ),
    "Retry-After that is neither": scene(
        head("Retry-After: soon", "Content-Length: 0", status="503 U")
    ),
}

PLACES = {
    "a name": named("http://one.test:PORT/ok", "http://one.test:PORT/ok?2"),
    "a name that does not exist": named("http://none.test/", "http://none.test/?2"),
    "a temporary failure of a lookup": named("http://temporary.test/", "http://temporary.test/?2"),
    "a lookup that lasts": named("http://stuck.test/", limits=HASTY),
    "several addresses, one refuses": named("http://first-refuses.test:PORT/ok"),
    "several addresses, all refuse": named("http://all-refuse.test:PORT/ok"),
    "a port that refuses": named("http://127.0.0.1:REFUSING/"),
    "https where http is spoken": named("https://127.0.0.1:PORT/"),
    "an address that cannot be connected to": named("http://255.255.255.255:9/"),
    "silence": scene(limits=HASTY),
    "silence in the body": scene(head("Content-Length: 9") + b"he", limits=HASTY),
    "private address": scene(OK, settings=PRIVATE),
    "name of a private address": replace(
        named("http://one.test:PORT/ok", "http://one.test:PORT/ok?2"),
        way=Way(limits=LIMITS, names=look_up, settings=PRIVATE),
    ),
    "localhost": replace(
        named("http://localhost:PORT/ok"),
        way=Way(limits=LIMITS, names=look_up, settings=PRIVATE),
    ),
    "missing name, private blocked": replace(
        named("http://none.test/", "http://none.test/?2"),
        way=Way(limits=LIMITS, names=look_up, settings=PRIVATE),
    ),
}

AGAIN = {
    "a retry": scene(end=End.CLOSE, limits=replace(LIMITS, retries=2, backoff=0.0)),
    "a recheck": scene(
        head("Content-Length: 0", status="503 U"), limits=replace(LIMITS, confirm_after=0.0)
    ),
    "a refused HEAD": scene(
        head("Content-Length: 0", status="405 N"),
        limits=replace(LIMITS, head_first=True),
        method="HEAD",
    ),
    "a retry after a redirect": replace(
        hops("/1", "/2"), way=Way(limits=replace(LIMITS, retries=1, backoff=0.0))
    ),
}

SCENES = REDIRECTS | FRAMING | BODIES | KEPT | FIELDS | PLACES | AGAIN
