"""What the attempts of a run on the fast path share."""

import time

import pytest
from flights import Flights
from loopback import Server, reply
from samples import run

from crawler.engine.course import Course
from crawler.engine.suspensions import Suspensions
from crawler.engine.transports.connector import Connector
from crawler.engine.transports.settings import ConnectionSettings
from crawler.models import Limits


def test_a_header_that_cannot_be_sent_is_refused_before_any_request() -> None:
    connector = Connector(ConnectionSettings())
    with pytest.raises(ValueError, match="line end"):
        Course(
            connector,
            Limits(),
            [("X", "a\r\nb")],
            Suspensions(),
            time.perf_counter,
            time.time,
        )


def test_all_attempts_share_connections_headers_and_the_list_of_those_in_flight(
    server: Server,
) -> None:
    url = server.on("/ok", reply(200, b"hello"))

    async def body() -> None:
        flights = Flights(Limits(), headers=[("X-One", "1")])
        attempts = [await flights.start(url) for _ in range(3)]
        assert flights.course.in_flight == set(attempts)
        await flights.until_ended(3)
        assert flights.course.in_flight == set()
        await flights.fetch(url)
        assert flights.is_idle
        flights.connector.close()

    run(body())
    assert [one.header("x-one") for one in server.requests] == ["1"] * 4
    assert server.connections == 3
