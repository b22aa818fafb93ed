"""httpx's own transport with our resolver: addresses in order, and the measured phases."""

import asyncio
import socket
import time
from collections.abc import Callable

import httpx
import pytest
from loopback import Server, reply

from crawler.engine.transports.backend import ResolvingBackend
from crawler.engine.transports.httpx_transport import HttpxTransport
from crawler.engine.transports.resolve import Address, Addresses, Resolver
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.transports.wire import Wire
from crawler.models import Phase

HERE = Address(socket.AF_INET, "127.0.0.1")
REFUSING = Address(socket.AF_INET, "127.0.0.99")


def get(url: str, lookup: Callable[[str], Addresses]) -> tuple[httpx.Response, Wire]:
    async def main() -> tuple[httpx.Response, Wire]:
        wire = Wire()
        async with HttpxTransport(ConnectionSettings(), Resolver(4, lookup)) as transport:
            request = httpx.Request("GET", url, extensions={"wire": wire})
            response = await transport.handle_async_request(request)
            await response.aread()
        return response, wire

    return asyncio.run(main())


@pytest.mark.parametrize(
    "addresses",
    [(HERE,), (REFUSING, HERE), (REFUSING, REFUSING, HERE), (HERE, REFUSING)],
    ids=["one", "second", "third", "first"],
)
def test_the_first_address_that_accepts_is_used(server: Server, addresses: Addresses) -> None:
    server.on("/", reply(200, b"good"))
    response, wire = get(server.url("/", host="a.test"), lambda _: addresses)
    assert (response.status_code, wire.remote_ip) == (200, "127.0.0.1")


def test_if_no_address_accepts_the_failure_is_that_of_the_first(server: Server) -> None:
    with pytest.raises(httpx.ConnectError):
        get(server.url("/", host="a.test"), lambda _: (REFUSING, REFUSING))


def test_lookup_and_connect_are_measured_separately(server: Server) -> None:
    def slow(_host: str) -> Addresses:
        time.sleep(0.2)
        return (HERE,)

    server.on("/", reply(200, b"good"))
    _, wire = get(server.url("/", host="a.test"), slow)
    assert wire.dns is not None
    assert wire.connect is not None
    assert wire.dns >= 0.2
    assert 0 < wire.connect < 0.15


def test_a_name_that_does_not_exist_has_no_connect_time(server: Server) -> None:
    async def main() -> Wire:
        wire = Wire()
        async with HttpxTransport(ConnectionSettings(), Resolver(4, missing)) as transport:
            request = httpx.Request("GET", server.url("/", host="a.test"))
            request.extensions["wire"] = wire
            with pytest.raises(socket.gaierror):
                await transport.handle_async_request(request)
        return wire

    def missing(_host: str) -> Addresses:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    wire = asyncio.run(main())
    assert (wire.phase, wire.connect) == (Phase.DNS, None)
    assert wire.dns is not None


class Network:
    """A backend whose addresses connect after some seconds, or never."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds
        self.closed: list[str] = []
        self.connects: list[str] = []

    async def connect_tcp(self, host: str, port: int) -> "Stream":
        self.connects.append(host)
        try:
            await asyncio.sleep(self.seconds[host])
        except asyncio.CancelledError:
            self.closed.append(host)
            raise
        return Stream(self, host)


class Stream:
    def __init__(self, network: Network, host: str) -> None:
        self.network = network
        self.host = host

    async def aclose(self) -> None:
        self.network.closed.append(self.host)


def test_the_next_address_is_tried_after_a_slow_one_which_is_closed() -> None:
    async def main() -> None:
        network = Network(slow=60, quick=0, unused=0)
        addresses = tuple(Address(socket.AF_INET, ip) for ip in ("slow", "quick", "unused"))
        backend = ResolvingBackend(network, Resolver(1, lambda _: addresses))
        stream = await backend.connect_tcp("a.test", 80)
        assert stream.host == "quick"
        assert (network.connects, network.closed) == (["slow", "quick"], ["slow"])

    asyncio.run(main())


def test_a_cancelled_connect_leaves_no_attempt_behind() -> None:
    async def main() -> None:
        network = Network(one=60, two=60)
        addresses = tuple(Address(socket.AF_INET, ip) for ip in ("one", "two"))
        backend = ResolvingBackend(network, Resolver(1, lambda _: addresses))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await backend.connect_tcp("a.test", 80)
        assert network.closed == ["one", "two"]

    asyncio.run(main())
