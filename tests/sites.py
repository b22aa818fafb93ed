"""A server of several hosts that records requests, handlers for it, and slow scenarios."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from loopback import (
    Handler,
    Request,
    Server,
    reply,
)
from samples import run as ran_async
from shell import (
    Ended,
    crawl,
)

from crawler import Check, Expectation, Limits
from crawler import crawl as crawl_urls

T = TypeVar("T")


NEAR, FAR = "127.0.0.1", "127.0.0.2"


BLINK = 0.02
"""Seconds after which a request counts as in flight: a cancelled one is seen by then."""


class Arrival(NamedTuple):
    at: float
    host: str
    target: str


class Log:
    """Records the time and host of each request, and how many were in flight there at once."""

    def __init__(self) -> None:
        self.came: list[Arrival] = []
        self.busiest: Counter[str] = Counter()
        self._live: Counter[str] = Counter()

    def around(self, then: Handler) -> Handler:
        async def handler(
            request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            host = (request.header("host") or "").partition(":")[0]
            self.came.append(Arrival(time.monotonic(), host, request.target))
            await asyncio.sleep(BLINK)
            self._live[host] += 1
            self.busiest[host] = max(self.busiest[host], self._live[host])
            try:
                await then(request, reader, writer)
            finally:
                self._live[host] -= 1

        return handler

    def on(self, host: str) -> list[Arrival]:
        return [one for one in self.came if one.host == host]


@contextmanager
def sites(*more: str) -> Iterator[Server]:
    """Run a server that listens on more addresses of this machine, each of them a host."""
    with Server() as server:
        loop = server._loop
        assert loop is not None

        async def listen() -> list[asyncio.Server]:
            return [
                await asyncio.start_server(server._connected, host, server.port, backlog=1024)
                for host in more
            ]

        async def shut(listening: Iterable[asyncio.Server]) -> None:
            for one in listening:
                one.close()

        listening = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(shut(listening), loop).result(10)


def takes(seconds: float, then: Handler | None = None) -> Handler:
    """Return a handler that responds after `seconds`, unless the client has gone by then."""

    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with asyncio.timeout(seconds):
                await reader.read(1)
        except TimeoutError:
            await (then or reply())(request, reader, writer)
        else:
            writer.close()

    return handler


def in_turn(*handlers: Handler) -> Handler:
    """Return a handler that passes the nth request of a URL to the nth handler, or the last."""
    requests: Counter[tuple[str | None, str]] = Counter()

    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        url = request.header("host"), request.target
        requests[url] += 1
        await handlers[min(requests[url], len(handlers)) - 1](request, reader, writer)

    return handler


def concurrently(*works: Callable[[], T]) -> list[T]:
    """Run the functions concurrently; return their results."""
    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(work) for work in works]]


def timed(*args: str | Path, text: str | None = None, **options: Any) -> tuple[Ended, float]:
    start = time.monotonic()
    ended = crawl(*args, text=text, **options)
    return ended, time.monotonic() - start


def document(ended: Ended) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def in_order(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda record: record["index"])


def numbered(url: str, count: int) -> list[str]:
    return [f"{url}?{number}" for number in range(count)]


def lines(*urls: str) -> str:
    return "".join(f"{url}\n" for url in urls)


def in_library(
    urls: Sequence[str], limits: Limits, expectation: Expectation | None = None, **options: Any
) -> list[Check]:
    """Return the checks of a crawl in the order of the list."""

    async def body() -> list[Check]:
        found = crawl_urls(urls, limits=limits, expectation=expectation, **options)
        return [check async for check in found]

    return sorted(ran_async(body()), key=lambda check: check.result.target.index)


Scenario = Callable[[Path], Any]
Seen = Callable[[Scenario], Any]


class Scenarios:
    """Scenarios of a test file that take seconds in which this machine is idle."""

    def __init__(self) -> None:
        self._scenarios: list[Scenario] = []

    def __call__(self, scenario: Scenario) -> Scenario:
        self._scenarios.append(scenario)
        return scenario

    def results(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
        """Run all scenarios, four at a time; yield the function that returns the result of one."""
        with ThreadPoolExecutor(4) as pool:
            futures = {
                scenario: pool.submit(scenario, tmp_path_factory.mktemp("scenario"))
                for scenario in self._scenarios
            }
            yield lambda scenario: futures[scenario].result()
