"""HTTP/1.1 straight over asyncio: the default transport, made for any number of hosts."""

import asyncio
import socket
import ssl
from functools import partial
from time import perf_counter

import httpx

from crawler.core.retry import IDEMPOTENT
from crawler.engine import asking, tls
from crawler.engine.asking import Origin
from crawler.engine.resolve import Addresses, Resolver, literal
from crawler.engine.transports import Connecting, Wire, WireError, guard
from crawler.engine.transports.http1 import Connection
from crawler.engine.transports.late import Late
from crawler.engine.transports.pool import Pool
from crawler.engine.transports.proxy import Proxy, chooser
from crawler.engine.transports.sockets import open_socket, peer
from crawler.engine.transports.tunnel import start_tls, through
from crawler.models import ErrorKind, Phase

_NEVER = 1e8  # seconds: the budget of the attempt is the only clock
_BUFFER = 65_536  # bytes read at once
_PORT = {"http": 80, "https": 443}


class DirectTransport(httpx.AsyncBaseTransport):
    """Keeps idle connections for each origin, within the bounds of its `Pool`."""

    def __init__(self, connecting: Connecting, resolver: Resolver | None = None) -> None:
        self._connecting = connecting
        self._resolver = resolver or Resolver(connecting.idle)
        self._pool = Pool(connecting.idle, connecting.per_host)
        self._buffer = memoryview(bytearray(_BUFFER))
        make = partial(tls.context, verify=connecting.verify, cacert=connecting.cacert)
        self._context = Late(make, "tls")
        self._proxy_for = chooser(connecting.proxies)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises OSError, ssl.SSLError, WireError and httpx's protocol errors, as they come."""
        wire = request.extensions.get("wire") or Wire()
        origin = asking.origin(request)
        if self._connecting.block_private:
            guard.check_host(origin[1])
        head = await asking.head(request)
        key = origin
        proxy = self._proxy_for(origin) if self._proxy_for is not None else None
        if proxy is not None:
            wire.proxied = True
            if proxy.forwards(origin[0]):
                key, head = proxy.pool, proxy.absolute(head, origin)
        is_head = request.method == "HEAD"
        # On a kept connection the server may be closing it already: a request that may not be
        # sent twice would fail through no fault of the URL.
        kept = request.method in IDEMPOTENT and not request.extensions.get("fresh")
        connection = self._pool.take(key) if kept else None
        body = None
        if connection is not None:
            try:
                body = await connection.exchange(head, wire, is_head=is_head)
            except (OSError, httpx.TransportError):
                # It died as we came: that says nothing about the URL (RFC 9112, section 9.3.1).
                if not connection.untouched:
                    raise
                wire.sent = wire.first_byte = wire.last_byte = None
                await wire.resend()
        if connection is None or body is None:
            connection = await self._connect(origin, proxy, wire)
            body = await connection.exchange(head, wire, is_head=is_head)
        body.release = partial(self._pool.give_back, origin=key)
        wire.phase = Phase.DOWNLOAD
        wire.remote_ip = connection.remote_ip
        wire.tls_peer = connection.tls
        wire.http_version = f"HTTP/{connection.version}"
        return httpx.Response(
            connection.status, headers=connection.headers, stream=body, extensions={"wire": wire}
        )

    async def aclose(self) -> None:
        """Close every connection, idle or not."""
        self._pool.close()
        self._resolver.close()
        await asyncio.sleep(0)  # the sockets are closed when the loop comes round

    async def _connect(self, origin: Origin, proxy: Proxy | None, wire: Wire) -> Connection:
        wire.at_proxy = proxy is not None
        host = proxy.host if proxy is not None else origin[1]
        addresses = literal(host) or await self._resolver.resolve(host, wire)
        wire.phase = Phase.CONNECT
        if self._connecting.block_private and proxy is None:
            addresses = guard.public(addresses)
        connection = Connection(asyncio.get_running_loop(), self._buffer, self._pool.discard)
        # A proxy that forwards has connections for all hosts: those of each are not bounded.
        shared = proxy is not None and proxy.forwards(origin[0])
        closed = self._pool.reserve(connection, None if shared else origin[1])
        try:
            if closed:
                await asyncio.sleep(0)  # the event loop closes sockets when it comes round
            if proxy is None:
                await self._open(connection, origin, addresses, wire)
            else:
                await self._open_through(connection, proxy, origin, addresses, wire)
        except BaseException:
            self._pool.discard(connection)
            raise
        return connection

    async def _open(
        self, connection: Connection, origin: Origin, addresses: Addresses, wire: Wire
    ) -> None:
        loop = asyncio.get_running_loop()
        scheme, host, port = origin
        place = port or _PORT[scheme]
        start = perf_counter()
        if scheme == "http" and len(addresses) == 1:
            # In one call of the event loop's own: uvloop does it in half the time.
            connection.remote_ip = addresses[0].ip
            await loop.create_connection(lambda: connection, addresses[0].ip, place)
            wire.connect = perf_counter() - start
            return
        sock = await open_socket(addresses, place)
        wire.connect = perf_counter() - start
        try:
            connection.remote_ip = peer(sock, addresses)
            context = await self._context.get(wire) if scheme == "https" else None
        except BaseException:
            sock.close()
            raise
        # From here on the event loop owns the socket, and closes it when this fails.
        if context is None:
            await loop.create_connection(lambda: connection, sock=sock)
        else:
            await self._secure(connection, sock, context, host, wire)

    async def _open_through(
        self,
        connection: Connection,
        proxy: Proxy,
        origin: Origin,
        addresses: Addresses,
        wire: Wire,
    ) -> None:
        """Connect by way of a proxy; `wire.connect` is until the way through it is open."""
        secure = origin[0] == "https"
        context = await self._context.get(wire) if secure or proxy.secure else None
        start = perf_counter()
        sock = await open_socket(addresses, proxy.port)
        transport = await through(sock, proxy, origin, context if proxy.secure else None)
        wire.connect = perf_counter() - start
        wire.at_proxy = False
        if secure and context is not None:
            await self._secure(connection, transport, context, origin[1], wire)
        else:
            if proxy.secure:
                connection.secured_by(transport.get_extra_info("ssl_object"))
            transport.set_protocol(connection)
            connection.connection_made(transport)
        if connection not in self._pool:  # it was lost before it heard that it was made
            detail = "the server closed the connection after the TLS handshake"
            raise WireError(ErrorKind.DISCONNECTED, detail)

    async def _secure(
        self,
        connection: Connection,
        over: socket.socket | asyncio.Transport,
        context: ssl.SSLContext,
        host: str,
        wire: Wire,
    ) -> None:
        wire.phase = Phase.TLS
        begun = perf_counter()
        try:
            transport = await _start_tls(connection, over, context, host.rstrip("."))
        except ConnectionError as exc:
            if exc.errno is None:
                detail = "the server closed the connection in the TLS handshake"
                raise WireError(ErrorKind.DISCONNECTED, detail) from exc
            raise
        finally:
            wire.tls = perf_counter() - begun
        secured = transport.get_extra_info("ssl_object")
        connection.secured_by(secured)
        connection.tls = tls.peer(secured, transport.get_extra_info("peercert") or {})


async def _start_tls(
    connection: Connection,
    over: socket.socket | asyncio.Transport,
    context: ssl.SSLContext,
    name: str,
) -> asyncio.BaseTransport:
    """Shake hands with the server `name`, and close what that went over if it fails."""
    if not isinstance(over, socket.socket):
        return await start_tls(over, connection, context, name)
    transport, _ = await asyncio.get_running_loop().create_connection(
        lambda: connection,
        sock=over,
        ssl=context,
        server_hostname=name,
        ssl_handshake_timeout=_NEVER,
    )
    return transport
