"""Attempts by callbacks: whenever they are cancelled, nothing is lost and nothing is left."""

import asyncio
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from flights import Flights
from hostile_cases import head
from loops import POLLERS, Loop
from rawserver import End, RawServer, Script
from scenes import OK, look_up, moved, sends

from crawler.app import assemble
from crawler.core.urllist import UrlList
from crawler.engine.fastpath import FastPath
from crawler.engine.transports.connector import Connector
from crawler.engine.transports.resolve import Resolver
from crawler.engine.transports.settings import ConnectionSettings
from crawler.inputs.iterables import IterableReader
from crawler.models import Check, Limits, Outcome

EACH_LOOP = pytest.mark.parametrize("loop", POLLERS)
LIMITS = Limits(max=100, per_host=3, timeout=20, retries=0)
SCRIPTS = {
    "/ok": sends(OK),
    "/silent": sends(),
    "/stalls": sends(head("Content-Length: 9") + b"he"),
    "/parts": Script((OK[:20], OK[20:]), gap=0.003),
    "/moved": sends(moved("/ok")),
    "/away": sends(moved("http://other.test:PORT/ok")),
    "/far": sends(moved("http://one.test:PORT/away")),
    "/lost": sends(OK, then=sends(end=End.CLOSE)),
}
URLS = [
    *("http://127.0.0.1:PORT/ok", "http://h3.test:PORT/silent", "http://one.test:PORT/stalls"),
    *("http://one.test:PORT/away", "http://first-refuses.test:PORT/parts"),
    *("http://none.test/", "http://stuck.test/", "http://127.0.0.1:REFUSING/"),
    *(f"http://other.test:PORT/silent?{number}" for number in range(3)),
    *("http://h1.test:PORT/far", "http://h1.test:PORT/moved", "http://h2.test:PORT/lost"),
    "https://localhost:TLS/",
]
"""On other.test there is no free slot, so a redirect to it waits for its turn."""


@pytest.fixture
def hushed() -> Iterator[int]:
    """A port that accepts, and says nothing: a TLS handshake lasts."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield listener.getsockname()[1]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def listed(server: RawServer, tls_port: int) -> list[str]:
    return [server.url(url).replace("TLS", f"{tls_port}") for url in URLS]


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@EACH_LOOP
def test_cancelling_at_any_moment_leaves_nothing(loop: Loop, hushed: int) -> None:
    async def body(urls: list[str], turns: int) -> int:
        loop_reports: list[dict[str, Any]] = []
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda _, context: loop_reports.append(context))
        before = descriptors()
        flights = Flights(LIMITS, resolver=Resolver(8, look_up), make_poller=loop.poller)
        path = FastPath(flights.connector, LIMITS)
        for url in urls:
            await flights.start_over(path, url)
        for _ in range(turns):
            await asyncio.sleep(0.000_5)
        ended = len(flights.ended)
        await path.cancel()
        assert len(flights.ended) == ended
        assert flights.is_idle
        assert asyncio.all_tasks() == {asyncio.current_task()}
        flights.connector.close()
        await asyncio.sleep(0)
        assert len(flights.ended) == ended
        for _ in range(1_000):  # the server's ends of the connections close a little later
            if descriptors() <= before:
                break
            await asyncio.sleep(0.002)
        assert descriptors() <= before
        assert loop_reports == []
        return ended

    with RawServer(SCRIPTS) as server:
        urls = listed(server, hushed)
        ended = [loop.run(body(urls, turns)) for turns in (*range(25), 40, 80)]
    assert ended[0] < ended[-1] < len(URLS)  # from nearly all to few


@pytest.mark.parametrize("ending", ["stop", "deadline"])
@EACH_LOOP
def test_a_run_that_is_ended_at_any_moment_has_a_record_of_each_url(
    loop: Loop, hushed: int, ending: str
) -> None:
    async def body(urls: list[str], moment: float) -> Counter[Outcome]:
        limits = Limits(
            max=30,
            per_host=2,
            timeout=20,
            retries=1,
            backoff=0.01,
            deadline=max(moment, 1e-6) if ending == "deadline" else None,
        )
        connector = Connector(ConnectionSettings(), Resolver(8, look_up), make_poller=loop.poller)
        entries = IterableReader(urls, UrlList(repeat=True))
        collector = assemble.collector(entries, connector, limits)
        if ending == "stop":
            asyncio.get_running_loop().call_later(moment, collector.stop.set)
        checks: list[Check] = []
        async with asyncio.timeout(10):
            async for batch in collector.batches():
                checks += batch
        assert sorted(one.result.target.index for one in checks) == list(range(len(urls)))
        assert collector.scheduler.in_flight == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        connector.close()
        return Counter(one.result.outcome for one in checks)

    with RawServer(SCRIPTS) as server:
        urls = listed(server, hushed) * 3
        outcomes = [loop.run(body(urls, 0.002 * step)) for step in range(25)]
    assert outcomes[0][Outcome.UNREACHED] > outcomes[-1][Outcome.UNREACHED] > 0
    assert outcomes[-1][Outcome.RESPONDED] > 0
