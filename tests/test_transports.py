"""Options and event loop -> the transport that is opened."""

import asyncio
from typing import Any

import pytest
from loopback import Server, reply

from crawler import Limits, crawl
from crawler.engine.transports import open_transport
from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.httpx_transport import HttpxTransport
from crawler.engine.transports.settings import ConnectionSettings


class WithoutReaders(asyncio.SelectorEventLoop):
    """An event loop that cannot watch sockets, like the proactor loop of Windows."""

    add_reader = asyncio.AbstractEventLoop.add_reader


@pytest.mark.parametrize(
    ("factory", "expected"),
    [(asyncio.SelectorEventLoop, DirectTransport), (WithoutReaders, HttpxTransport)],
)
def test_a_loop_without_readers_gets_httpx_and_any_other_direct(
    factory: Any, expected: type, server: Server
) -> None:
    url = server.on("/ok", reply(200, b"good"))

    async def main() -> list[int | None]:
        transport = open_transport(ConnectionSettings())
        assert type(transport) is expected
        checks = crawl([url], limits=Limits(max=1, timeout=10), transport=transport)
        return [check.result.attempt.size async for check in checks]

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(main()) == [4]


def test_a_transport_that_is_opened_before_any_loop_runs_is_direct() -> None:
    assert type(open_transport(ConnectionSettings())) is DirectTransport
