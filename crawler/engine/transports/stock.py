"""httpx's own transport, with its limits lifted, noting what it can on a `Wire`."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any, NoReturn
from urllib import request as urllib_request

import httpx

from crawler.core.retry import IDEMPOTENT
from crawler.engine import asking, tls
from crawler.engine.resolve import Resolver
from crawler.engine.transports import Connecting, Wire, WireError, guard
from crawler.engine.transports.backend import ResolvingBackend, wire_of_task
from crawler.models import ErrorKind, Phase

# Whether a "no_proxy" covers a host: the standard library's reading of that variable.
_bypass = urllib_request.proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed


class StockTransport(httpx.AsyncBaseTransport):
    """`httpx.AsyncHTTPTransport`, one for each proxy and one for direct requests.

    Requests that need a connection of their own have a second one, which keeps none.
    The SSL context is made when the first https URL comes.
    """

    def __init__(self, connecting: Connecting, resolver: Resolver | None = None) -> None:
        self._connecting = connecting
        self._resolver = resolver or Resolver(connecting.idle)
        self._exempt = {"no": connecting.proxies.no_proxy}
        self._inner: dict[tuple[str | None, bool, bool], httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        wire = request.extensions.get("wire") or Wire()
        wire_of_task.set(wire)
        if self._connecting.block_private:
            guard.check_host(asking.origin(request)[1])
        trace = _Trace(wire)
        request.extensions["trace"] = trace
        proxy = self._proxy_for(request.url)
        wire.proxied = proxy is not None
        inner = self._pick(request, proxy, wire)
        try:
            response = await inner.handle_async_request(request)
        except httpx.TransportError as exc:
            _raise_told_apart(exc, wire)
        except asyncio.CancelledError:
            # httpcore forgets a connection whose TLS handshake is cancelled.
            if wire.phase is Phase.TLS and trace.connected is not None:
                await trace.connected.aclose()
            raise
        wire.phase = Phase.DOWNLOAD
        wire.http_version = _version(response.extensions.get("http_version"))
        stream = response.extensions.get("network_stream")
        secured = None
        if stream is not None:
            address = stream.get_extra_info("server_addr")
            if isinstance(address, tuple) and not wire.proxied:
                wire.remote_ip = address[0]
            secured = stream.get_extra_info("ssl_object")
            wire.tls_peer = tls.peer(secured) if secured is not None else None
        response.extensions["wire"] = wire
        assert isinstance(response.stream, httpx.AsyncByteStream)
        ends_with_tls = secured if _lasts_until_close(request, response) else None
        response.stream = _Body(response.stream, wire, ends_with_tls)
        return response

    async def aclose(self) -> None:
        self._resolver.close()
        for transport in self._inner.values():
            await transport.aclose()

    def _proxy_for(self, url: httpx.URL) -> str | None:
        proxies = self._connecting.proxies
        proxy = proxies.https if url.scheme == "https" else proxies.http
        return None if proxy and _bypass(url.netloc.decode("ascii"), self._exempt) else proxy

    def _pick(
        self, request: httpx.Request, proxy: str | None, wire: Wire
    ) -> httpx.AsyncHTTPTransport:
        secure = request.url.scheme == "https" or (proxy or "").lower().startswith("https:")
        keep = request.method in IDEMPOTENT and not request.extensions.get("fresh")
        key = proxy, secure, keep
        if key not in self._inner:
            with wire.stalled():  # it may have to load the roots
                self._inner[key] = self._make(*key)
        return self._inner[key]

    def _make(self, proxy: str | None, secure: bool, keep: bool) -> httpx.AsyncHTTPTransport:
        connecting = self._connecting
        verify = connecting.verify and secure
        made = tls.context(verify=verify, cacert=connecting.cacert if verify else None)
        through = None
        if proxy is not None:  # httpcore takes no context for a proxy that speaks no TLS
            to_proxy = made if proxy.lower().startswith("https:") else None
            through = httpx.Proxy(proxy, ssl_context=to_proxy)
        # The default pool of 100 raises PoolTimeout above that many requests at once; the
        # semaphore of the schedule is the only bound there is.
        idle = connecting.idle if keep else 0
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=idle, keepalive_expiry=5
        )
        transport = httpx.AsyncHTTPTransport(
            verify=made,
            http2=connecting.http2,
            proxy=through,
            trust_env=False,
            limits=limits,
            retries=0,
        )
        pool: Any = transport._pool  # noqa: SLF001 - httpx passes no backend on
        pool._network_backend = ResolvingBackend(  # noqa: SLF001
            pool._network_backend,  # noqa: SLF001
            self._resolver,
            block_private=connecting.block_private,
        )
        return transport


class _Trace:
    """Turns the events of httpcore's "trace" extension into readings on a wire."""

    def __init__(self, wire: Wire) -> None:
        self.connected: Any = None
        self._wire = wire
        self._since = 0.0
        self._stall = 0.0

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        wire = self._wire
        match event.rpartition(".")[0].rpartition(".")[2], event.rpartition(".")[2]:
            case ("connect_tcp", "started"):
                wire.phase, self._since = Phase.CONNECT, perf_counter()
                wire.dns, self._stall = None, wire.stall
            case ("connect_tcp", _):
                if wire.phase is Phase.CONNECT:  # not where the lookup failed
                    own = wire.stall - self._stall + (wire.dns or 0.0)
                    wire.connect = perf_counter() - self._since - own
                self.connected = info.get("return_value")
            case ("start_tls", "started"):
                wire.phase, self._since = Phase.TLS, perf_counter()
            case ("start_tls", _):
                wire.tls = perf_counter() - self._since
            case ("send_request_headers", "started"):
                wire.phase = Phase.WAIT
            case ("send_request_body", "complete"):
                wire.sent = perf_counter()
            case ("receive_response_headers", "complete"):
                wire.first_byte = perf_counter()


class _Body(httpx.AsyncByteStream):
    """A response body whose errors say whether the connection ended inside it.

    `secured` is the TLS connection that must be closed properly for it to be complete.
    """

    def __init__(
        self, stream: httpx.AsyncByteStream, wire: Wire, secured: ssl.SSLObject | None
    ) -> None:
        self._stream = stream
        self._wire = wire
        self._secured = secured

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except httpx.TransportError as exc:
            _raise_told_apart(exc, self._wire)
        if self._secured is not None:
            try:
                for _ in tls.read_rest(self._secured, memoryview(bytearray(1))):
                    pass
            except ssl.SSLError as exc:
                raise WireError(ErrorKind.BODY_INCOMPLETE, tls.CUT) from exc

    async def aclose(self) -> None:
        await self._stream.aclose()


def _lasts_until_close(request: httpx.Request, response: httpx.Response) -> bool:
    """Whether nothing but the end of the connection ends a body (RFC 9112, section 6.3)."""
    if request.method == "HEAD" or response.status_code in (204, 304):
        return False
    headers = response.headers
    framed = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "")
    return not framed and response.extensions.get("http_version") != b"HTTP/2"


def _raise_told_apart(exc: httpx.TransportError, wire: Wire) -> NoReturn:
    """Raise an exception whose type says what httpcore says only in words."""
    text = str(exc)
    if isinstance(exc, httpx.RemoteProtocolError):
        if "disconnected without sending" in text:
            detail = "the server closed the connection without an answer"
            raise WireError(ErrorKind.DISCONNECTED, detail) from exc
        if wire.phase is Phase.DOWNLOAD and "closed connection" in text:
            detail = "the connection was closed inside the body"
            raise WireError(ErrorKind.BODY_INCOMPLETE, detail) from exc
        if "illegal request line" in text:  # h11's words for a first byte that is no text
            detail = "not valid HTTP but binary data; does the port speak TLS?"
            raise WireError(ErrorKind.PROTOCOL, detail) from exc
    if isinstance(exc, httpx.ConnectError) and wire.phase is Phase.TLS and not _has_code(exc):
        detail = "the server closed the connection in the TLS handshake"
        raise WireError(ErrorKind.DISCONNECTED, detail) from exc
    raise exc


def _has_code(exc: BaseException | None) -> bool:
    """Whether the system's error number, or OpenSSL's reason, stands behind an exception."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno is not None:
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _version(raw: object) -> str | None:
    return raw.decode("ascii", "replace") if isinstance(raw, bytes) else None
