"""One attempt by callbacks: at every moment it can be cancelled, and its time can be up."""

import asyncio

import pytest
from flights import Flights
from loopback import Server, endless, redirect, reply, silent
from samples import run

from crawler.engine.slots import Flight
from crawler.engine.transports.resolve import Addresses, Resolver, literal
from crawler.engine.transports.settings import ConnectionSettings
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


def test_an_attempt_that_fails_at_once_ends_before_its_start_returns() -> None:
    async def body() -> None:
        flights = Flights(Limits(), settings=ConnectionSettings(block_private=True))
        await flights.start("http://127.0.0.1/")
        error = flights.ended[0].error
        assert error is not None
        assert error.kind is ErrorKind.BLOCKED
        assert flights.is_idle

    run(body())


def test_an_attempt_has_no_task_unless_it_must_wait(server: Server) -> None:
    url = server.on("/moved", redirect("/ok"))
    server.on("/ok", reply(200, b"hello"))

    async def body() -> None:
        flights = Flights(Limits())
        await flights.start(url)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await flights.until_ended(1)
        assert (flights.ended[0].status, len(flights.ended[0].redirects)) == (200, 1)
        flights.connector.close()

    run(body())


@pytest.mark.parametrize("size", [10, 11, 60_000])
def test_a_body_beyond_the_cap_that_came_whole_leaves_its_connection_open(
    server: Server, size: int
) -> None:
    url = server.on("/large", reply(200, b"x" * size))

    async def body() -> None:
        flights = Flights(Limits(max_body=10))
        first = await flights.fetch(url)
        second = await flights.fetch(url)
        assert [one.truncated for one in (first, second)] == [size > 10] * 2
        assert [one.error for one in (first, second)] == [None, None]
        flights.connector.close()

    run(body())
    # What is read at once depends on the system: a large one may have come in parts.
    assert server.connections == 1 or size == 60_000


def test_reading_stops_at_the_cap_though_the_body_goes_on(server: Server) -> None:
    url = server.on("/endless", endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65_536)))

    async def body() -> None:
        flights = Flights(Limits(max_body=100_000))
        attempt = await flights.fetch(url)
        assert attempt.truncated
        assert attempt.error is None
        assert attempt.size is not None
        assert 100_000 < attempt.size <= 100_000 + 65_536
        flights.connector.close()

    run(body())


@pytest.mark.parametrize(("path", "phase"), [("/silent", Phase.WAIT), ("/half", Phase.DOWNLOAD)])
def test_the_timeout_ends_an_attempt_in_any_phase(server: Server, path: str, phase: Phase) -> None:
    server.on("/silent", silent())
    server.on("/half", silent(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhe"))

    async def body() -> None:
        flights = Flights(Limits(timeout=0.1))
        attempt = await flights.fetch(server.url(path))
        assert attempt.error is not None
        assert (attempt.error.kind, attempt.error.phase) == (ErrorKind.TIMEOUT, phase)
        assert flights.is_idle
        flights.connector.close()

    run(body())


def test_a_redirect_waits_for_a_slot_of_its_host_without_holding_one(server: Server) -> None:
    url = server.on("/away", redirect(server.url("/ok", host="other.test")))
    server.on("/ok", reply(200, b"hello"))
    server.on("/silent", silent())

    async def body() -> None:
        flights = Flights(Limits(max=2, per_host=1), resolver=Resolver(1, loopback))
        blocking = await flights.start(server.url("/silent", host="other.test"))
        await flights.start(url)
        await flights.until_waiting(1)
        assert flights.slots.requests_in_flight == 1
        if (task := blocking.cancel()) is not None:
            await asyncio.wait((task,))
        await flights.slots.acquire()
        waiting = flights.slots.lanes.take()
        assert isinstance(waiting, Flight)
        waiting.resume()
        await flights.until_ended(1)
        assert flights.ended[0].status == 200
        assert flights.is_idle
        flights.connector.close()

    run(body())
