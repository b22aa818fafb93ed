"""One attempt by callbacks: at every moment it can be cancelled, and its time can be up."""

import asyncio

from flights import Flights
from loopback import Server, reply
from samples import run

from crawler.engine.transports.resolve import Addresses, Resolver, literal
from crawler.models import ErrorKind, Limits, Phase

NAMED = Limits(timeout=5)


def loopback(_name: str) -> Addresses:
    found = literal("127.0.0.1")
    assert found is not None
    return found


def test_an_attempt_whose_time_is_up_before_its_lookup_has_begun_is_a_timeout(
    server: Server,
) -> None:
    """A task that is cancelled before its first step never runs."""
    server.on("/ok", reply(200, b"hello"))

    async def body() -> None:
        flights = Flights(NAMED, resolver=Resolver(1, loopback))
        attempt = await flights.start(server.url("/ok", host="name.test"))
        attempt.expire()
        await flights.until_ended(1)
        error = flights.ended[0].error
        assert error is not None
        assert (error.kind, error.phase) == (ErrorKind.TIMEOUT, Phase.DNS)
        assert flights.is_idle
        flights.connector.close()

    run(body())


def test_an_attempt_can_be_cancelled_before_its_lookup_has_begun(server: Server) -> None:
    async def body() -> None:
        flights = Flights(NAMED, resolver=Resolver(1, loopback))
        attempt = await flights.start(server.url("/ok", host="name.test"))
        task = attempt.cancel()
        assert task is not None
        await asyncio.wait((task,))
        assert flights.is_idle
        assert flights.ended == []
        flights.connector.close()

    run(body())
