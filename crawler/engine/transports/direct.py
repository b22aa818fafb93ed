"""HTTP/1.1 on sockets of our own: the default transport, for any number of hosts."""

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import httpx

from crawler.core.semantics import IDEMPOTENT_METHODS
from crawler.engine.transports import guard, tls
from crawler.engine.transports.http1.connection import Connection
from crawler.engine.transports.http1.opening import Opening
from crawler.engine.transports.http1.poller import Poller, best_poller
from crawler.engine.transports.http1.stream import ResponseStream
from crawler.engine.transports.lazy import Lazy
from crawler.engine.transports.pool import Pool
from crawler.engine.transports.request import Origin, origin_of, request_head
from crawler.engine.transports.resolve import Addresses, Resolver, literal
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.transports.sockets import open_socket, peer
from crawler.engine.transports.wire import Wire
from crawler.models import Phase

# Runs without a proxy start faster without its modules.
if TYPE_CHECKING:
    from crawler.engine.transports.proxy import Choose, Proxy

_BUFFER = 65_536  # bytes read at once
_PORT = {"http": 80, "https": 443}


class DirectTransport(httpx.AsyncBaseTransport):
    """Keeps idle connections for each origin, within the bounds of its `Pool`.

    All requests belong to one event loop, whose sockets `make_poller` watches.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        resolver: Resolver | None = None,
        *,
        make_poller: Callable[[asyncio.AbstractEventLoop], Poller] = best_poller,
    ) -> None:
        self._settings = settings
        self._make_poller = make_poller
        self._resolver = resolver or Resolver(settings.idle)
        self._pool = Pool(settings.idle, settings.per_host)
        self._poller: Poller | None = None
        self._buffer = memoryview(bytearray(_BUFFER))
        make = partial(tls.context, verify=settings.verify, cacert=settings.cacert)
        self._context = Lazy(make, "tls")
        self._proxy_for = _chooser(settings)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises OSError, ssl.SSLError, WireError and httpx's protocol errors, as they come."""
        wire = request.extensions.get("wire") or Wire()
        origin = origin_of(request)
        if self._settings.block_private:
            guard.check_host(origin[1])
        head = await request_head(request)
        key = origin
        proxy = self._proxy_for(origin) if self._proxy_for is not None else None
        if proxy is not None:
            wire.proxied = True
            if proxy.forwards(origin[0]):
                key, head = proxy.pool, proxy.absolute(head, origin)
        is_head = request.method == "HEAD"
        # The server may be closing a kept connection already: a request that may not be sent
        # twice would fail although the URL is good.
        kept = request.method in IDEMPOTENT_METHODS and not request.extensions.get("fresh")
        connection = self._pool.take(key) if kept else None
        finished = partial(self._finish, key)
        stream: ResponseStream | None = None
        if connection is not None:
            stream = ResponseStream(connection, wire, finished, is_head=is_head)
            try:
                await stream.send(head)
            except (OSError, httpx.TransportError):
                # A stale kept connection says nothing about the URL: a retry is safe (RFC 9112,
                # section 9.3.1).
                if not stream.exchange.untouched:
                    raise
                wire.sent = wire.first_byte = wire.last_byte = None
                stream = None
                await wire.start_resend()
        if connection is None or stream is None:
            connection = await self._connect(origin, proxy, wire)
            stream = ResponseStream(connection, wire, finished, is_head=is_head)
            await stream.send(head)
        return _response(connection, stream, wire)

    async def aclose(self) -> None:
        """Close every connection, idle or not."""
        self._pool.close()
        if self._poller is not None:
            self._poller.close()
            self._poller = None
        self._resolver.close()

    def _finish(self, key: Origin, connection: Connection, reusable: bool) -> None:
        if reusable:
            self._pool.give_back(connection, key)
        else:
            connection.close()

    async def _connect(self, origin: Origin, proxy: "Proxy | None", wire: Wire) -> Connection:
        wire.at_proxy = proxy is not None
        scheme, host, port = origin
        peer_host, peer_port = host, port or _PORT[scheme]
        if proxy is not None:
            peer_host, peer_port = proxy.host, proxy.port
        addresses = literal(peer_host) or await self._resolver.resolve(peer_host, wire)
        wire.phase = Phase.CONNECT
        if self._settings.block_private and proxy is None:
            addresses = guard.public(addresses)
        security = None
        if scheme == "https":
            security = (await self._context.get(wire), host.rstrip("."))
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection = Connection(
            self._poll(),
            self._buffer,
            security=security,
            opened=partial(_settle, ended),
            closed=self._pool.discard,
        )
        # Connections to a forwarding proxy serve all hosts: there is no bound for each of them.
        shared = proxy is not None and proxy.forwards(scheme)
        self._pool.reserve(connection, None if shared else host)
        opening = connection.opening
        try:
            if proxy is not None:
                await self._open_through(opening, proxy, origin, addresses, wire)
            else:
                await _open(opening, addresses, peer_port)
            await ended
        except BaseException:
            connection.close()
            raise
        finally:
            wire.connect, wire.tls = opening.connect_seconds, opening.tls_seconds
            if security is not None and wire.connect is not None:
                wire.phase = Phase.TLS
        return connection

    async def _open_through(
        self, opening: Opening, proxy: "Proxy", origin: Origin, addresses: Addresses, wire: Wire
    ) -> None:
        """Connect through a proxy; the connect time includes the tunnel's."""
        from crawler.engine.transports.tunnel import through

        context = await self._context.get(wire) if proxy.secure else None
        start = perf_counter()
        sock = await open_socket(addresses, proxy.port)
        sock = await through(self._poll(), sock, proxy, origin, context)
        wire.at_proxy = False
        opening.adopt(sock, None, perf_counter() - start)

    def _poll(self) -> Poller:
        if self._poller is None:
            self._poller = self._make_poller(asyncio.get_running_loop())
        return self._poller


def _chooser(settings: ConnectionSettings) -> "Choose | None":
    """Return the function that names the proxy of an origin; None if there is no proxy."""
    if not (settings.proxies.http or settings.proxies.https):
        return None
    from crawler.engine.transports.proxy import chooser

    return chooser(settings.proxies)


async def _open(opening: Opening, addresses: Addresses, port: int) -> None:
    """Begin to open a connection to the only address, or to the one that accepts first."""
    if len(addresses) == 1:
        opening.connect(addresses[0].family, addresses[0].ip, port)
        return
    start = perf_counter()
    sock = await open_socket(addresses, port)
    opening.adopt(sock, peer(sock), perf_counter() - start)


def _response(connection: Connection, stream: ResponseStream, wire: Wire) -> httpx.Response:
    """Return the response whose head was received, and fill in the facts of its connection."""
    head = stream.exchange.head
    assert head is not None
    wire.phase = Phase.DOWNLOAD
    wire.remote_ip = connection.opening.remote_ip
    wire.tls_peer = connection.opening.tls
    wire.http_version = f"HTTP/{head.version}"
    return httpx.Response(
        head.status, headers=head.headers, stream=stream, extensions={"wire": wire}
    )


def _settle(ended: "asyncio.Future[None]", error: Exception | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error)
