"""httpx's own transport, without its limits, recording what it can on a `Wire`."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

# Or httpx and anyio would load these in the first request, within its latency.
import anyio._backends._asyncio  # noqa: F401 - loaded now, not in the first request
import httpcore  # noqa: F401 - loaded now, not in the first request
import httpx

from crawler.core.semantics import IDEMPOTENT_METHODS
from crawler.engine.transports import guard, tls
from crawler.engine.transports.backend import ResolvingBackend, wire_of_task
from crawler.engine.transports.httpcore_errors import raise_typed
from crawler.engine.transports.lazy import Lazy
from crawler.engine.transports.proxy import Proxy, chooser
from crawler.engine.transports.request import origin_of
from crawler.engine.transports.resolve import Resolver
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.transports.trace import Trace, trace_of_task
from crawler.engine.transports.wire import Wire, WireError
from crawler.models import ErrorKind, Phase

_GRACE = 0.1  # seconds for requests whose response came before the GOAWAY


class HttpxTransport(httpx.AsyncBaseTransport):
    """`httpx.AsyncHTTPTransport`, one for each proxy and one for requests without one.

    An HTTP/1.1 connection carries one request only: httpcore would treat bytes beyond the
    end of a response as the next response. HTTP/2 connections are shared; if one ends, an
    idempotent request on it raises `InterruptedExchangeError`. A request that is `fresh`, or
    may not be sent twice, gets a connection of its own.

    The SSL contexts are created for the first https URL.
    """

    def __init__(self, settings: ConnectionSettings, resolver: Resolver | None = None) -> None:
        self._settings = settings
        self._resolver = resolver or Resolver(settings.idle)
        self._proxy_for = chooser(settings.proxies)
        make = partial(tls.context, verify=settings.verify, cacert=settings.cacert)
        # Two: httpcore sets its ALPN protocols on the context that it gets.
        self._context, self._to_proxy = Lazy(make, "tls"), Lazy(make, "tls")
        self._without_tls = Lazy(partial(tls.context, verify=False), "tls")
        self._shared: dict[tuple[str | None, bool], httpx.AsyncHTTPTransport] = {}
        self._single: set[httpx.AsyncHTTPTransport] = set()
        self._ending: dict[Any, asyncio.Task[None]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        wire = request.extensions.get("wire") or Wire()
        wire_of_task.set(wire)
        origin = origin_of(request)
        if self._settings.block_private:
            guard.check_host(origin[1])
        proxy = self._proxy_for(origin) if self._proxy_for is not None else None
        wire.proxied = proxy is not None
        trace = request.extensions["trace"] = Trace(wire, self._end_soon)
        trace_of_task.set(trace)
        trace.forwarded = proxy is not None and proxy.forwards(origin[0])
        shared = request.method in IDEMPOTENT_METHODS and not request.extensions.get("fresh")
        inner = await self._pick(request, proxy, wire, shared=shared)
        try:
            response = await inner.handle_async_request(request)
        except BaseException as exc:
            if wire.at_proxy or (
                isinstance(exc, asyncio.CancelledError) and wire.phase is Phase.TLS
            ):
                await trace.aclose()  # httpcore forgets the connection
            await self._release(inner)
            if isinstance(exc, Exception):
                raise_typed(exc, trace, shared=shared)
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
            if secured is not None and not trace.forwarded:  # else it is the proxy's
                wire.tls_peer = tls.peer(secured)
        response.extensions["wire"] = wire
        ends_with_tls = secured if _lasts_until_close(request, response) else None
        release = partial(self._release, inner)
        response.stream = _Body(response, trace, ends_with_tls, release, shared=shared)
        return response

    async def aclose(self) -> None:
        self._resolver.close()
        for task in self._ending.values():
            task.cancel()
        await asyncio.gather(*self._ending.values(), return_exceptions=True)
        for transport in (*self._shared.values(), *self._single):
            await transport.aclose()

    async def _pick(
        self, request: httpx.Request, proxy: Proxy | None, wire: Wire, *, shared: bool
    ) -> httpx.AsyncHTTPTransport:
        secure = origin_of(request)[0] == "https"
        key = (proxy.url if proxy is not None else None, secure)
        if shared and key in self._shared:
            return self._shared[key]
        context = await (self._context if secure else self._without_tls).get(wire)
        through = None
        if proxy is not None:  # httpcore accepts no context for a proxy without TLS
            to_proxy = await self._to_proxy.get(wire) if proxy.secure else None
            through = httpx.Proxy(proxy.url, ssl_context=to_proxy)
        # The default pool raises PoolTimeout above 100 concurrent requests; the semaphore of
        # the scheduler is the only bound.
        limits = httpx.Limits(
            max_connections=None,
            max_keepalive_connections=self._settings.idle,
            keepalive_expiry=5,
        )
        made = httpx.AsyncHTTPTransport(
            verify=context,
            http2=self._settings.http2,
            proxy=through,
            trust_env=False,
            limits=limits,
            retries=0,
        )
        pool: Any = made._pool  # noqa: SLF001 - httpx has no option for it
        pool._network_backend = ResolvingBackend(  # noqa: SLF001
            pool._network_backend,  # noqa: SLF001
            self._resolver,
            block_private=self._settings.block_private,
        )
        if shared:
            return self._shared.setdefault(key, made)
        self._single.add(made)
        return made

    def _end_soon(self, stream: Any) -> None:
        """Close an HTTP/2 connection that has ended for one of its requests.

        h2 drops what comes after the GOAWAY. The other requests on the connection must fail
        now, not when the server closes it.
        """
        if stream is not None and stream not in self._ending:
            self._ending[stream] = asyncio.create_task(self._end(stream))

    async def _end(self, stream: Any) -> None:
        try:
            await asyncio.sleep(_GRACE)
            await stream.aclose()
        finally:
            del self._ending[stream]

    async def _release(self, transport: httpx.AsyncHTTPTransport) -> None:
        """Close a transport that served one request."""
        if transport in self._single:
            self._single.discard(transport)
            await transport.aclose()


class _Body(httpx.AsyncByteStream):
    """A response body, with typed errors.

    If `secured` is given, the body is complete only if that TLS connection is closed properly.
    """

    def __init__(
        self,
        response: httpx.Response,
        trace: Trace,
        secured: ssl.SSLObject | None,
        release: "partial[Any]",
        *,
        shared: bool,
    ) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._stream = response.stream
        self._network = response.extensions.get("network_stream")
        self._trace = trace
        self._secured = secured
        self._release = release
        self._shared = shared

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except httpx.TransportError as exc:
            raise_typed(exc, self._trace, shared=self._shared)
        if self._secured is not None:
            try:
                for _ in tls.read_rest(self._secured, memoryview(bytearray(1))):
                    pass
            except ssl.SSLError as exc:
                raise WireError(ErrorKind.BODY_INCOMPLETE, tls.CUT) from exc

    async def aclose(self) -> None:
        # Before httpcore returns it to its pool: no other request may use it.
        if self._network is not None and not self._trace.http2:
            await self._network.aclose()
        await self._stream.aclose()
        await self._release()


def _lasts_until_close(request: httpx.Request, response: httpx.Response) -> bool:
    """Whether nothing but the end of the connection ends a body (RFC 9112, section 6.3)."""
    if request.method == "HEAD" or response.status_code in (204, 304):
        return False
    headers = response.headers
    framed = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "")
    return not framed and response.extensions.get("http_version") != b"HTTP/2"


def _version(raw: object) -> str | None:
    return raw.decode("ascii", "replace") if isinstance(raw, bytes) else None
