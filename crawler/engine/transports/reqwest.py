"""An adapter over pyreqwest's client, that is over Rust's reqwest.

reqwest does not report phases, peer address or certificate: those stay None. It resolves
names itself. The client runs on its single-threaded runtime: the multi-threaded one can
abort the interpreter at its exit.
"""

import asyncio
import re
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from pyreqwest import exceptions
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.http import HeaderMap
from pyreqwest.request import StreamRequest
from pyreqwest.response import ResponseBodyReader

from crawler.core.semantics import IDEMPOTENT_METHODS
from crawler.engine.transports.request import LazyRequest, header_pairs, origin_of, url_text
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.transports.wire import Wire, WireError
from crawler.models import ErrorKind, Phase

if TYPE_CHECKING:
    from crawler.engine.transports.requesthead import Origin

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_AFTER = 0.25  # seconds
_IDLE = 0.2  # seconds a connection is kept unused
_REMEMBERED = 10_000  # origins
# Failures that reqwest describes only in words: a part of them, kind, phase, a hint.
# The first match counts.
_NO_TLS = "the port does not speak TLS; is it plain HTTP?"
_NO_CLOSE_NOTIFY = "without sending TLS close_notify"
_BY_WORDS = (
    ("certificate expired", ErrorKind.TLS_EXPIRED, Phase.TLS, ""),
    ("certificate not valid yet", ErrorKind.TLS_NOT_YET_VALID, Phase.TLS, ""),
    ("certificate not valid for name", ErrorKind.TLS_HOSTNAME, Phase.TLS, ""),
    ("invalid peer certificate", ErrorKind.TLS_UNTRUSTED, Phase.TLS, ""),
    ("tls handshake eof", ErrorKind.DISCONNECTED, Phase.TLS, ""),
    ("received corrupt message", ErrorKind.TLS_HANDSHAKE, Phase.TLS, _NO_TLS),
    (
        "CertificateRequired",
        ErrorKind.TLS_HANDSHAKE,
        Phase.TLS,
        "the server requires a client certificate",
    ),
    ("received fatal alert", ErrorKind.TLS_HANDSHAKE, Phase.TLS, "the server refused"),
    ("peer is incompatible", ErrorKind.TLS_HANDSHAKE, Phase.TLS, ""),
    ("connection closed before message", ErrorKind.DISCONNECTED, Phase.WAIT, ""),
    ("end of file before message length", ErrorKind.BODY_INCOMPLETE, Phase.DOWNLOAD, ""),
    (_NO_CLOSE_NOTIFY, ErrorKind.BODY_INCOMPLETE, Phase.DOWNLOAD, ""),
    ("unexpected EOF during chunk", ErrorKind.BODY_INCOMPLETE, Phase.DOWNLOAD, ""),
)
_TEMPORARY = ("Temporary failure", "try again")


class AuthorityAsServerError(WireError):
    """The server's own certificate is that of an authority, which rustls never accepts.

    OpenSSL does, if it is trusted. Nothing was sent yet.
    """


class ReqwestTransport(httpx.AsyncBaseTransport):
    """Two reqwest clients: one keeps connections, one does not.

    reqwest bounds its pool for each host only, and with thousands of hosts would use up
    all the files there may be: so an origin gets the first with its second request.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._keeping = _client(settings, settings.idle)
        self._closing = _client(settings, 0)
        self._asked: OrderedDict[Origin, None] = OrderedDict()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        wire = request.extensions.get("wire") or Wire()
        wire.phase = Phase.WAIT
        builder = self._pick(request).request(request.method, url_text(request))
        builder = builder.headers(header_pairs(request))
        if not isinstance(request, LazyRequest):  # those have no body
            builder = builder.body_bytes(await request.aread())
        if seconds := request.extensions.get("seconds"):
            # A cancelled request lives on inside reqwest: let it end soon after ours does.
            builder = builder.timeout(timedelta(seconds=seconds + _AFTER))
        # Without a buffer: it would delay the head until it is full or the body ends.
        sending = builder.streamed_read_buffer_limit(0).build_streamed()
        try:
            response = await sending.__aenter__()
        except exceptions.PyreqwestError as exc:
            raise _typed_error(exc, wire) from exc
        if _cancelled():
            await sending.__aexit__(None, None, None)
            raise asyncio.CancelledError
        if response.status == 101:
            await sending.__aexit__(None, None, None)
            raise httpx.RemoteProtocolError("unexpected 101 Switching Protocols")
        wire.phase = Phase.DOWNLOAD
        wire.http_version = response.version
        body = _Body(sending, response.body_reader, wire)
        headers = _fields(response.headers)
        return httpx.Response(
            response.status, headers=headers, stream=body, extensions={"wire": wire}
        )

    async def aclose(self) -> None:
        await self._keeping.close()
        await self._closing.close()

    def _pick(self, request: httpx.Request) -> Client:
        origin = origin_of(request)
        if request.extensions.get("fresh") or request.method not in IDEMPOTENT_METHODS:
            return self._closing
        if origin in self._asked:
            return self._keeping
        self._asked[origin] = None
        if len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)
        return self._closing


def _client(settings: ConnectionSettings, idle: int) -> Client:
    builder = (
        ClientBuilder()
        .runtime_multithreaded(False)
        .follow_redirects(False)
        .referer(False)
        .no_proxy()
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(timedelta(seconds=_IDLE))
        .http1_allow_obsolete_multiline_headers_in_responses(True)
        .danger_accept_invalid_certs(not settings.verify)
    )
    if settings.cacert is not None:
        builder = builder.add_root_certificate_pem(Path(settings.cacert).read_bytes())
    return builder.build()


class _Body(httpx.AsyncByteStream):
    def __init__(self, sending: StreamRequest, reader: ResponseBodyReader, wire: Wire) -> None:
        self._sending: StreamRequest | None = sending
        self._reader = reader
        self._wire = wire

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (chunk := await self._reader.read_chunk()) is not None:
                if _cancelled():
                    raise asyncio.CancelledError
                yield bytes(chunk)
        except exceptions.PyreqwestError as exc:
            raise _typed_error(exc, self._wire) from exc

    async def aclose(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            await sending.__aexit__(None, None, None)


def _cancelled() -> bool:
    """Whether this task is being cancelled: pyreqwest loses that if its response comes with it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _fields(headers: HeaderMap) -> list[tuple[bytes, bytes]]:
    """Return the header fields whose values are text; pyreqwest cannot return the others.

    A Location that is not text becomes an invalid one, so that the redirect fails.
    """
    with suppress(ValueError):
        return [(name.encode(), value.encode()) for name, value in headers.items()]
    fields = []
    for name in headers:
        try:
            values = [value.encode() for value in headers.getall(name)]
        except ValueError:
            values = [b"\0"] if name == "location" else []
        fields += [(name.encode(), value) for value in values]
    return fields


def _typed_error(exc: exceptions.PyreqwestError, wire: Wire) -> Exception:
    """Map an error that reqwest describes in words to a typed exception."""
    words = _words(exc)
    text = "; ".join(words)
    if isinstance(exc, exceptions.RequestTimeoutError):
        return httpx.TimeoutException(words[-1])
    if "dns error" in words:
        wire.phase = Phase.DNS
        temporary = any(mark in text for mark in _TEMPORARY)
        return socket.gaierror(socket.EAI_AGAIN if temporary else socket.EAI_NONAME, words[-1])
    if found := _OS_ERROR.search(text):
        if "tcp connect error" in words:
            wire.phase = Phase.CONNECT
        return OSError(int(found[1]), words[-1])
    if "CaUsedAsEndEntity" in text:
        wire.phase = Phase.TLS
        return AuthorityAsServerError(ErrorKind.TLS_UNTRUSTED, words[-1])
    if _NO_CLOSE_NOTIFY in text and wire.phase is not Phase.DOWNLOAD:
        detail = "the server closed the connection without a response"
        return WireError(ErrorKind.DISCONNECTED, detail)
    for mark, kind, phase, hint in _BY_WORDS:
        if mark in text:
            wire.phase = phase
            return WireError(kind, f"{hint} ({words[-1]})" if hint else words[-1])
    return httpx.RemoteProtocolError(words[-1])


def _words(exc: exceptions.PyreqwestError) -> list[str]:
    """Return the messages of an error and its causes, the innermost last."""
    causes = exc.details["causes"] if isinstance(exc, exceptions.DetailedPyreqwestError) else None
    messages = [exc.message, *(cause["message"] for cause in causes or ())]
    return [message.partition(": https://docs.rs/")[0] for message in messages]
