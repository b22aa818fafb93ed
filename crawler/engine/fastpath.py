"""Attempts on targets by callbacks: no task, no coroutine and no httpx object for a URL.

The same connections, exchanges, redirects and records as over `Fetcher` and the transport, at
a fraction of the cost. Only what must be awaited gets a task: a name that is not in the cache, a
choice of addresses, the first SSL context, a redirect or resend that may not start yet.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from crawler.engine.course import Course, Ended
from crawler.engine.headers import Header
from crawler.engine.plainattempt import PlainAttempt
from crawler.engine.slots import Flight
from crawler.engine.suspensions import Suspensions
from crawler.engine.transports.connector import Connector
from crawler.models import Limits, Target


class FastPath:
    """Sends the requests of attempts over the connections of `connector`, without a proxy.

    The other arguments are those of `Fetcher`.
    """

    def __init__(
        self,
        connector: Connector,
        limits: Limits,
        headers: Sequence[Header] = (),
        *,
        suspensions: Suspensions | None = None,
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], float] = time.time,
    ) -> None:
        suspensions = suspensions or Suspensions()
        self._course = Course(connector, limits, headers, suspensions, clock, now)

    def start(self, target: Target, flight: Flight, ended: Ended) -> None:
        """Start an attempt; `ended` may be called before this returns."""
        PlainAttempt(self._course, target, flight, ended).start()

    async def cancel(self) -> None:
        """Cancel all attempts: their `ended` is not called any more."""
        attempts = tuple(self._course.in_flight)
        tasks = [task for attempt in attempts if (task := attempt.cancel())]
        if tasks:
            await asyncio.wait(tasks)
