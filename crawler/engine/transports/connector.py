"""An origin -> a connection to it, kept from before or opened: for every path to the wire."""

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Self

from crawler.engine.transports import guard, tls
from crawler.engine.transports.http1.connection import Connection
from crawler.engine.transports.http1.opening import Opening
from crawler.engine.transports.http1.poller import Poller, best_poller
from crawler.engine.transports.lazy import Lazy
from crawler.engine.transports.pool import Pool
from crawler.engine.transports.requesthead import Origin
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
Security = tuple[ssl.SSLContext, str]
MakePoller = Callable[[asyncio.AbstractEventLoop], Poller]


class Connector:
    """Opens connections, and keeps idle ones for each origin within the bounds of its `Pool`.

    All belong to one event loop, whose sockets `make_poller` watches. `take` returns an idle
    connection for an origin, or for a proxy's pool. `proxy_for` returns the proxy of an
    origin; it is None if no origin has one.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        resolver: Resolver | None = None,
        *,
        make_poller: MakePoller = best_poller,
    ) -> None:
        self.proxy_for = _chooser(settings)
        self.block_private = settings.block_private
        self._make_poller = make_poller
        self._resolver = resolver or Resolver(settings.idle)
        self._pool = Pool(settings.idle, settings.per_host)
        self.take = self._pool.take
        self._poller: Poller | None = None
        self._buffer = memoryview(bytearray(_BUFFER))
        make = partial(tls.context, verify=settings.verify, cacert=settings.cacert)
        self._context = Lazy(make, "tls")

    def check(self, host: str) -> None:
        """Raise WireError if `block_private` forbids requests to this host."""
        if self.block_private:
            guard.check_host(host)

    def open_now(
        self, origin: Origin, wire: Wire, opened: Callable[[Exception | None], None]
    ) -> Connection | None:
        """Begin to open a connection; return None if something must be awaited first: `open`.

        That is a name that is not in the cache or has several addresses, and the first
        SSL context. `opened` is called with None or with why it failed. Raises OSError if
        that is known at once.
        """
        scheme, host, port = origin
        security = None
        if scheme == "https":
            context = self._context.value
            if context is None:
                return None
            security = (context, host.rstrip("."))
        addresses = literal(host) or self._resolver.known(host, wire)
        if self.block_private or addresses is None or len(addresses) != 1:
            return None
        wire.phase = Phase.CONNECT
        connection = self._connection(host, security, opened)
        try:
            connection.opening.connect(addresses[0].family, addresses[0].ip, port or _PORT[scheme])
        except BaseException:
            connection.close()
            raise
        return connection

    async def open(self, origin: Origin, proxy: "Proxy | None", wire: Wire) -> Connection:
        """Open a connection. Raises OSError, ssl.SSLError and WireError, as they come."""
        wire.at_proxy = proxy is not None
        scheme, host, port = origin
        peer_host, peer_port = host, port or _PORT[scheme]
        if proxy is not None:
            peer_host, peer_port = proxy.host, proxy.port
        addresses = literal(peer_host) or await self._resolver.resolve(peer_host, wire)
        wire.phase = Phase.CONNECT
        if self.block_private and proxy is None:
            addresses = guard.public(addresses)
        security = None
        if scheme == "https":
            security = (await self._context.get(wire), host.rstrip("."))
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Connections to a forwarding proxy serve all hosts: there is no bound for each of them.
        shared = proxy is not None and proxy.forwards(scheme)
        connection = self._connection(None if shared else host, security, partial(_settle, ended))
        try:
            if proxy is not None:
                await self._open_through(connection.opening, proxy, origin, addresses, wire)
            else:
                await _open(connection.opening, addresses, peer_port)
            await ended
        except BaseException:
            connection.close()
            raise
        finally:
            record_opening(connection.opening, wire)
        return connection

    def release(self, key: Origin, connection: Connection, reusable: bool) -> None:
        """Keep a connection whose exchange left it reusable; close any other."""
        if reusable:
            self._pool.give_back(connection, key)
        else:
            connection.close()

    def close(self) -> None:
        """Close every connection, idle or not."""
        self._pool.close()
        if self._poller is not None:
            self._poller.close()
            self._poller = None
        self._resolver.close()

    async def aclose(self) -> None:
        """Close it as a transport is closed."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.close()

    def _connection(
        self,
        host: str | None,
        security: Security | None,
        opened: Callable[[Exception | None], None],
    ) -> Connection:
        connection = Connection(
            self._poll(),
            self._buffer,
            security=security,
            opened=opened,
            closed=self._pool.discard,
        )
        self._pool.reserve(connection, host)
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


def record_opening(opening: Opening, wire: Wire) -> None:
    """Record on the wire how far the opening of its connection has come."""
    wire.connect, wire.tls = opening.connect_seconds, opening.tls_seconds
    if opening.is_secure and wire.connect is not None:
        wire.phase = Phase.TLS


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


def _settle(ended: "asyncio.Future[None]", error: Exception | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error)
