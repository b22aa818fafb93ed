"""Attempts on the fast path, each with the slots of a visit, and what became of them."""

import asyncio
import time
from collections.abc import Sequence

from fetching import target

from crawler.engine.clock import SystemClock
from crawler.engine.course import Course
from crawler.engine.fastpath import FastPath
from crawler.engine.headers import Header
from crawler.engine.plainattempt import PlainAttempt
from crawler.engine.slots import Flight, Slots
from crawler.engine.suspensions import Suspensions
from crawler.engine.transports.connector import Connector, MakePoller
from crawler.engine.transports.http1.poller import best_poller
from crawler.engine.transports.resolve import Resolver
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.visit import Visit
from crawler.models import Attempt, Limits


class Flights:
    """Starts attempts over one connector; `ended` holds the facts of those that ended, in order.

    Slots are taken as the scheduler takes them, and belong to an attempt until it has ended.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        settings: ConnectionSettings | None = None,
        resolver: Resolver | None = None,
        headers: Sequence[Header] = (),
        make_poller: MakePoller = best_poller,
    ) -> None:
        self.ended: list[Attempt] = []
        self.slots = Slots(limits, SystemClock())
        self.connector = Connector(
            settings or ConnectionSettings(), resolver, make_poller=make_poller
        )
        self.course = Course(
            self.connector, limits, headers, Suspensions(), time.perf_counter, time.time
        )
        self._change = asyncio.Event()

    async def start(self, url: str, method: str = "GET") -> PlainAttempt:
        """Start an attempt; what it does at once is done when this returns."""
        flight = await self._flight(url, method)
        attempt = PlainAttempt(self.course, flight.visit.target, flight, self.record)
        attempt.start()
        return attempt

    async def start_over(self, path: FastPath, url: str) -> None:
        """Start an attempt over a path, which has a course of its own."""
        flight = await self._flight(url, "GET")
        path.start(flight.visit.target, flight, self.record)

    async def fetch(self, url: str, method: str = "GET") -> Attempt:
        """Make an attempt; return its facts."""
        await self.start(url, method)
        await self.until_ended(len(self.ended) + len(self.course.in_flight))
        return self.ended[-1]

    async def until_ended(self, count: int) -> None:
        """Wait until `count` attempts have ended."""
        async with asyncio.timeout(10):
            while len(self.ended) < count:
                await self._change.wait()
                self._change.clear()

    async def until_waiting(self, count: int) -> None:
        """Wait until `count` attempts wait in the lanes for their turn."""
        async with asyncio.timeout(10):
            while len(self.slots.lanes) < count:
                await self.slots.lanes.changed()

    @property
    def is_idle(self) -> bool:
        """Whether no attempt is in flight, and none holds anything."""
        return not (self.course.in_flight or self.slots.requests_in_flight or self.slots.lanes)

    async def _flight(self, url: str, method: str) -> Flight:
        visit = Visit(target(url, method), 0.0)
        self.slots.lanes.enqueue(visit)
        await self.slots.acquire()
        assert self.slots.lanes.take() is visit
        return Flight(self.slots, visit)

    def record(self, flight: Flight, attempt: Attempt) -> None:
        """Keep the facts of an attempt that has ended, and release its slots."""
        self.ended.append(attempt)
        flight.release_host()
        if flight.holds_slots:
            self.slots.release()
        self._change.set()
