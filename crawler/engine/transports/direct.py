"""HTTP/1.1 on sockets of our own, as an httpx transport, for any number of hosts."""

from functools import partial

import httpx

from crawler.core.semantics import IDEMPOTENT_METHODS
from crawler.engine.transports.connector import Connector, MakePoller
from crawler.engine.transports.http1.connection import Connection
from crawler.engine.transports.http1.poller import best_poller
from crawler.engine.transports.http1.stream import ResponseStream
from crawler.engine.transports.request import origin_of, request_head
from crawler.engine.transports.resolve import Resolver
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.transports.wire import Wire, WireError
from crawler.models import Phase


class DirectTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests over the connections of a `Connector`."""

    def __init__(
        self,
        settings: ConnectionSettings,
        resolver: Resolver | None = None,
        *,
        make_poller: MakePoller = best_poller,
    ) -> None:
        self.connector = Connector(settings, resolver, make_poller=make_poller)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises OSError, ssl.SSLError and WireError, as they come."""
        connector = self.connector
        wire = request.extensions.get("wire") or Wire()
        origin = origin_of(request)
        connector.check(origin[1])
        head = await request_head(request)
        key = origin
        proxy = connector.proxy_for(origin) if connector.proxy_for is not None else None
        if proxy is not None:
            wire.proxied = True
            if proxy.forwards(origin[0]):
                key, head = proxy.pool, proxy.absolute(head, origin)
        is_head = request.method == "HEAD"
        # The server may be closing a kept connection already: a request that may not be sent
        # twice would fail although the URL is good.
        kept = request.method in IDEMPOTENT_METHODS and not request.extensions.get("fresh")
        connection = connector.take(key) if kept else None
        finished = partial(connector.release, key)
        stream: ResponseStream | None = None
        if connection is not None:
            stream = ResponseStream(connection, wire, finished, is_head=is_head)
            try:
                await stream.send(head)
            except (OSError, WireError):
                # A stale kept connection says nothing about the URL: a retry is safe (RFC 9112,
                # section 9.3.1).
                if not stream.exchange.untouched:
                    raise
                wire.sent = wire.first_byte = wire.last_byte = None
                stream = None
                await wire.start_resend()
        if connection is None or stream is None:
            connection = await connector.open(origin, proxy, wire)
            stream = ResponseStream(connection, wire, finished, is_head=is_head)
            await stream.send(head)
        return _response(connection, stream, wire)

    async def aclose(self) -> None:
        """Close every connection, idle or not."""
        self.connector.close()


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
