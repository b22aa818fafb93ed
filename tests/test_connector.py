"""An origin -> a connection, at once if nothing has to be awaited, and kept for its next use."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from loopback import Server, refusing_port, reply
from loops import POLLERS, Loop
from scenes import look_up
from shell import wait_until

from crawler.engine.transports.connector import Connector, record_opening
from crawler.engine.transports.http1.connection import Connection, ConnectionState
from crawler.engine.transports.requesthead import Origin
from crawler.engine.transports.resolve import Resolver
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.transports.wire import Wire, WireError
from crawler.models import ErrorKind, Phase

EACH_LOOP = pytest.mark.parametrize("loop", POLLERS)
USUAL = ConnectionSettings()


def connecting(
    loop: Loop,
    body: Callable[[Connector], Coroutine[Any, Any, None]],
    settings: ConnectionSettings = USUAL,
    *,
    server: Server | None = None,
    opened: int = 0,
) -> None:
    """Run `body` with a connector; afterwards it is closed, and `server` saw what was opened."""

    async def main() -> None:
        connector = Connector(settings, Resolver(4, look_up), make_poller=loop.poller)
        try:
            async with asyncio.timeout(10):
                await body(connector)
        finally:
            connector.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    loop.run(main())
    if server is not None:
        # A server that ends while it accepts would leave a socket open.
        wait_until(lambda: server.connections >= opened and not server.open)


async def opened_now(connector: Connector, origin: Origin, wire: Wire) -> Connection | None:
    """Return the connection that `open_now` opens; None if something must be awaited."""
    ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    connection = connector.open_now(origin, wire, ended.set_result)
    if connection is not None and (error := await ended) is not None:
        raise error
    return connection


@EACH_LOOP
def test_an_address_is_connected_to_at_once(loop: Loop, server: Server) -> None:
    async def body(connector: Connector) -> None:
        wire = Wire()
        connection = await opened_now(connector, ("http", "127.0.0.1", server.port), wire)
        assert connection is not None
        assert connection.state is ConnectionState.IDLE
        record_opening(connection.opening, wire)
        assert wire.phase is Phase.CONNECT
        assert wire.connect is not None
        assert (wire.dns, wire.tls) == (None, None)

    connecting(loop, body, server=server, opened=1)


@EACH_LOOP
def test_a_name_is_connected_to_at_once_if_it_is_in_the_cache(loop: Loop, server: Server) -> None:
    async def body(connector: Connector) -> None:
        origin = ("http", "one.test", server.port)
        wire = Wire()
        assert await opened_now(connector, origin, wire) is None
        assert wire.phase is Phase.DNS
        first = await connector.open(origin, None, wire)
        assert first.state is ConnectionState.IDLE
        second = await opened_now(connector, origin, again := Wire())
        assert second is not None
        assert again.dns is not None
        assert again.dns < 0.1

    connecting(loop, body, server=server, opened=2)


@EACH_LOOP
def test_the_choice_between_addresses_is_awaited_even_if_they_are_known(
    loop: Loop, server: Server
) -> None:
    async def body(connector: Connector) -> None:
        origin = ("http", "first-refuses.test", server.port)
        for _ in range(2):
            assert await opened_now(connector, origin, Wire()) is None
            connection = await connector.open(origin, None, Wire())
            assert connection.opening.remote_ip == "127.0.0.1"

    connecting(loop, body, server=server, opened=2)


@EACH_LOOP
def test_the_first_tls_context_is_awaited_and_the_next_request_has_it(
    loop: Loop, tls_server: Server, ca_file: Path
) -> None:
    async def body(connector: Connector) -> None:
        origin = ("https", "127.0.0.1", tls_server.port)
        assert await opened_now(connector, origin, Wire()) is None
        await connector.open(origin, None, Wire())
        connection = await opened_now(connector, origin, wire := Wire())
        assert connection is not None
        record_opening(connection.opening, wire)
        assert wire.phase is Phase.TLS
        assert None not in (wire.connect, wire.tls)

    settings = ConnectionSettings(cacert=str(ca_file))
    connecting(loop, body, settings, server=tls_server, opened=2)


@EACH_LOOP
def test_a_refusal_is_reported_and_its_connection_is_forgotten(loop: Loop) -> None:
    async def body(connector: Connector) -> None:
        with refusing_port() as port:
            with pytest.raises(ConnectionRefusedError):
                await opened_now(connector, ("http", "127.0.0.1", port), Wire())
            with pytest.raises(ConnectionRefusedError):
                await connector.open(("http", "127.0.0.1", port), None, Wire())

    connecting(loop, body)


@EACH_LOOP
def test_a_failure_of_a_lookup_that_is_in_the_cache_is_raised_at_once(loop: Loop) -> None:
    async def body(connector: Connector) -> None:
        origin = ("http", "none.test", None)
        with pytest.raises(OSError, match="not known"):
            await connector.open(origin, None, Wire())
        with pytest.raises(OSError, match="not known"):
            await opened_now(connector, origin, Wire())

    connecting(loop, body)


@EACH_LOOP
def test_private_addresses_are_refused_if_they_are_blocked(loop: Loop, server: Server) -> None:
    async def body(connector: Connector) -> None:
        with pytest.raises(WireError) as refusal:
            connector.check("127.0.0.1")
        assert refusal.value.kind is ErrorKind.BLOCKED
        connector.check("one.test")  # what it resolves to is judged when it is known
        for _ in range(2):
            assert await opened_now(connector, ("http", "one.test", server.port), Wire()) is None
            with pytest.raises(WireError):
                await connector.open(("http", "one.test", server.port), None, Wire())

    connecting(loop, body, ConnectionSettings(block_private=True))
    assert server.connections == 0


@EACH_LOOP
def test_only_a_reusable_connection_is_kept_for_its_origin(loop: Loop, server: Server) -> None:
    server.on("/ok", reply(200, b"hello"))

    async def body(connector: Connector) -> None:
        origin, other = ("http", "127.0.0.1", server.port), ("http", "localhost", server.port)
        kept = await connector.open(origin, None, Wire())
        closed = await connector.open(origin, None, Wire())
        connector.release(origin, kept, reusable=True)
        connector.release(origin, closed, reusable=False)
        assert closed.state is ConnectionState.CLOSED
        assert connector.take(other) is None
        assert connector.take(origin) is kept
        assert connector.take(origin) is None

    connecting(loop, body, server=server, opened=2)


@EACH_LOOP
def test_closing_closes_every_connection(loop: Loop, server: Server) -> None:
    found: list[Connection] = []

    async def body(connector: Connector) -> None:
        origin = ("http", "127.0.0.1", server.port)
        found.extend([await connector.open(origin, None, Wire()) for _ in range(3)])
        connector.release(origin, found[0], reusable=True)
        assert connector.open_now(origin, Wire(), lambda _: None) is not None

    connecting(loop, body, server=server, opened=4)
    assert [one.state for one in found] == [ConnectionState.CLOSED] * 3
