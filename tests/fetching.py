"""One target fetched over a transport: the real ones, and scripted ones."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import httpx
import pytest
from samples import result_of

from crawler import (
    Limits,
    Result,
    Target,
)
from crawler.core.urllist import UrlList
from crawler.engine.fetch import Fetcher
from crawler.engine.transports import open_transport
from crawler.engine.transports.settings import ConnectionSettings, Engine

WITHIN = 30.0  # seconds; far more than any of these fetches needs


PATIENT = Limits(timeout=WITHIN)


HASTY = Limits(timeout=0.1)


NATIVE_IS_EXTRA = pytest.mark.skipif(
    find_spec("pyreqwest") is None, reason="pyreqwest is missing: the extra fast has it"
)


BOTH = pytest.mark.parametrize("engine", [Engine.DIRECT, Engine.HTTPX])


@dataclass(slots=True)
class Clock:
    """A clock that stands still unless it is stepped."""

    now: float

    def __call__(self) -> float:
        return self.now

    def step(self, seconds: float) -> float:
        self.now += seconds
        return self.now


class Body(httpx.AsyncByteStream):
    """A body that is slow, fails or stalls after its chunks, and records whether it was closed."""

    def __init__(
        self,
        *chunks: bytes,
        error: Exception | None = None,
        stalls: bool = False,
        clock: Clock | None = None,
        takes: float = 0.0,
    ) -> None:
        self.closed = False
        self.reached = asyncio.Event()
        self._chunks = chunks
        self._error = error
        self._stalls = stalls
        self._clock = clock
        self._takes = takes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._clock is not None:
            self._clock.step(self._takes)
        for chunk in self._chunks:
            yield chunk
        self.reached.set()
        if self._stalls:
            await asyncio.sleep(WITHIN)
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        self.closed = True


def responding(*responses: httpx.Response) -> httpx.MockTransport:
    """Return a transport that gives these responses, one after the other."""
    left = iter(responses)

    async def respond(request: httpx.Request) -> httpx.Response:
        return next(left)

    return httpx.MockTransport(respond)


def target(url: str, method: str = "GET") -> Target:
    entry = UrlList(method=method).parse_entry(url)
    assert isinstance(entry, Target), entry
    return entry


def fetched(
    url: str,
    *,
    limits: Limits = PATIENT,
    headers: Sequence[tuple[str, str]] = (),
    method: str = "GET",
    transport: httpx.AsyncBaseTransport | None = None,
    connecting: ConnectionSettings | None = None,
    clock: Callable[[], float] = time.perf_counter,
    now: Callable[[], float] = time.time,
) -> Result:
    """Fetch one URL over `transport`, or over the one that the options in `connecting` call for."""

    async def run() -> Result:
        async with transport or open_transport(connecting or ConnectionSettings()) as wire:
            fetch = Fetcher(wire, limits, headers, clock=clock, now=now)
            return result_of(target(url, method), await fetch(target(url, method)))

    return asyncio.run(run())


def all_fetched(urls: Sequence[str]) -> list[Result]:
    """Fetch the URLs one after the other over one transport."""

    async def run() -> list[Result]:
        async with open_transport(ConnectionSettings()) as wire:
            fetch = Fetcher(wire, PATIENT)
            return [result_of(target(url), await fetch(target(url))) for url in urls]

    return asyncio.run(run())


def detail(result: Result) -> str:
    assert result.attempt.error is not None
    return result.attempt.error.detail
