"""How many connections are open at once, in all and to one host, as the servers count them."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import shell
from loopback import Handler, Request, Server, reply

from crawler import Limits, crawl
from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.resolve import Address, Addresses, Resolver
from crawler.engine.transports.settings import ConnectionSettings

LOOKS = 5  # at the number of open connections: a server is a little late to see a closed one


class Origins:
    """Servers that record, during each request, how many connections all of them have open."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = servers
        self.seen: list[int] = []
        for server in servers:
            server.on("/", self._counting(reply(200, b"good")))

    @property
    def urls(self) -> list[str]:
        return [server.url("/") for server in self.servers]

    def _counting(self, then: Handler) -> Handler:
        async def handler(
            request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            seen = []
            for _ in range(LOOKS):
                await asyncio.sleep(0.01)
                seen.append(sum(server.open for server in self.servers))
            self.seen.append(min(seen))
            await then(request, reader, writer)

        return handler


@contextmanager
def origins(number: int) -> Iterator[Origins]:
    with ExitStack() as opened:
        yield Origins([opened.enter_context(Server()) for _ in range(number)])


def anywhere(host: str) -> Addresses:
    return (Address(socket.AF_INET, "127.0.0.1"),)


async def statuses(urls: Sequence[str], limits: Limits, transport: DirectTransport) -> list[int]:
    checks = crawl(urls, limits=limits, transport=transport, repeat=True)
    return [check.result.attempt.status or 0 async for check in checks]


def test_idle_connections_are_closed_for_those_to_other_hosts() -> None:
    async def main(port: int) -> list[int]:
        urls = [f"http://host{n % 40}.test:{port}/" for n in range(120)]
        transport = DirectTransport(ConnectionSettings(idle=10), Resolver(4, anywhere))
        return await statuses(urls, Limits(max=10), transport)

    with origins(1) as these:
        assert asyncio.run(main(these.servers[0].port)) == [200] * 120
        assert max(these.seen) == 10


def test_idle_connections_are_closed_for_those_to_other_ports_of_their_host() -> None:
    async def main(urls: Sequence[str]) -> list[int]:
        transport = DirectTransport(ConnectionSettings(idle=10, per_host=2))
        return await statuses([*urls] * 4, Limits(max=10, per_host=2), transport)

    with origins(12) as these:
        assert asyncio.run(main(these.urls)) == [200] * 48
        assert max(these.seen) == 2


def test_both_schemes_of_a_host_share_its_bound(
    server: Server, tls_server: Server, ca_file: Path
) -> None:
    these = Origins([server, tls_server])

    async def main() -> list[int]:
        transport = DirectTransport(ConnectionSettings(idle=10, per_host=1, cacert=str(ca_file)))
        return await statuses(these.urls * 5, Limits(max=10, per_host=1), transport)

    assert asyncio.run(main()) == [200] * 10
    assert max(these.seen) == 1


def test_the_bound_of_one_host_closes_no_connection_of_another(server: Server) -> None:
    server.on("/", reply(200, b"good"))

    async def main() -> None:
        async with DirectTransport(
            ConnectionSettings(per_host=1), Resolver(2, anywhere)
        ) as transport:
            for host in ("a.test", "b.test", "a.test", "b.test"):
                await get(transport, server.url("/", host=host))

    asyncio.run(main())
    assert server.connections == 2


def test_a_request_that_needs_a_fresh_connection_closes_an_idle_one(server: Server) -> None:
    these = Origins([server])

    async def main() -> None:
        async with DirectTransport(ConnectionSettings(idle=3, per_host=1)) as transport:
            for _ in range(4):
                await get(transport, these.urls[0], "POST")

    asyncio.run(main())
    assert these.seen == [1] * 4


def test_the_oldest_idle_connection_is_closed_first(server: Server) -> None:
    server.on("/", reply(200, b"good"))

    async def main() -> None:
        async with DirectTransport(ConnectionSettings(idle=2), Resolver(2, anywhere)) as transport:
            for host in ("a.test", "b.test", "a.test", "c.test", "a.test", "b.test"):
                await get(transport, server.url("/", host=host))

    asyncio.run(main())
    # a and b; c instead of b; then a again, and a new one to b.
    assert [request.connection for request in server.requests] == [1, 2, 1, 3, 1, 4]


def test_failed_connections_are_not_counted(server: Server) -> None:
    good = server.on("/", reply(200, b"good"))

    async def main(dead: str) -> None:
        async with DirectTransport(ConnectionSettings(idle=2, per_host=2)) as transport:
            for _ in range(5):
                await get(transport, good)
                with pytest.raises(ConnectionRefusedError):
                    await get(transport, dead)
            await asyncio.gather(get(transport, good), get(transport, good))

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        asyncio.run(main(f"http://127.0.0.1:{held.getsockname()[1]}/"))
    assert server.connections == 2


@pytest.mark.parametrize("door", ["library", "command"])
def test_command_line_and_library_pass_both_bounds_to_the_transport(door: str) -> None:
    async def library(urls: Sequence[str]) -> int:
        limits = Limits(max=6, per_host=2)
        return sum([1 async for _ in crawl([*urls] * 3, limits=limits, repeat=True)])

    with origins(8) as these:
        if door == "library":
            assert asyncio.run(library(these.urls)) == 24
        else:
            options = ["--max", "6", "--per-host", "2", "--repeat", *these.urls * 3]
            assert shell.crawl(*options).returncode == 0
        assert max(these.seen) == 2


async def get(transport: DirectTransport, url: str, method: str = "GET") -> None:
    response = await transport.handle_async_request(httpx.Request(method, url))
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for _ in response.stream:
        pass
    assert response.status_code == 200
