"""The seconds that each of many attempts may take, watched by one timer for all of them.

All have the same number, so that they run out in the order in which they began. A timer
for each costs 4 µs more, a thirtieth of all that an attempt costs.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from crawler.engine.suspensions import Suspensions

_INTERVAL = 0.05  # seconds between two looks at the clock while an attempt is in flight


class AttemptTimeouts:
    """Gives every attempt the same number of seconds, by a clock that stops with the process.

    A process that is stopped for 10 s (Ctrl-Z, a frozen container) finds all its timers
    expired when it goes on, and would cancel requests whose responses have long been there.
    So the timer comes at least every 50 ms, and what it is late by, without that this
    process was at work, goes to `suspensions` and to each attempt that was in flight.
    """

    def __init__(self, seconds: float, suspensions: Suspensions | None = None) -> None:
        self.suspensions = suspensions or Suspensions()
        self._seconds = seconds
        self._started: dict[asyncio.Timeout, float] = {}  # when, in that order
        self._resumed: dict[asyncio.Timeout, tuple[float, float]] = {}  # when, and seconds left
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0  # when the timer is due,
        self._worked = 0.0  # and the processor time when it was set

    def start(self, bound: asyncio.Timeout) -> None:
        """Let the seconds of an entered `asyncio.timeout(None)` run from now on."""
        now = self._started[bound] = time.perf_counter()
        if self._timer is None:
            self._set_timer(now)

    def stop(self, bound: asyncio.Timeout) -> None:
        """Watch an attempt no longer; one that ran out before, or never began, is no matter."""
        if self._started.pop(bound, None) is None:
            self._resumed.pop(bound, None)
        if self._timer is not None and not self._started and not self._resumed:
            self._timer.cancel()
            self._timer = None

    @contextmanager
    def paused(self, bound: asyncio.Timeout) -> Iterator[None]:
        """Stop the clock of an attempt for the duration; the rest of its seconds is kept."""
        now = time.perf_counter()
        begun, left = self._resumed.pop(bound, (self._started.pop(bound, None), self._seconds))
        if begun is not None:
            left -= now - begun - self.suspensions.seconds_between(begun, now)
        try:
            yield
        finally:
            if begun is not None:
                now = time.perf_counter()
                self._resumed[bound] = now, left
                if self._timer is None:
                    self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        first = next(iter(self._started.values()), math.inf) + self._seconds
        due = min((begun + left for begun, left in self._resumed.values()), default=math.inf)
        self._next = max(now, min(now + _INTERVAL, first, due))
        self._worked = time.process_time()
        self._timer = asyncio.get_running_loop().call_later(self._next - now, self._check)

    def _check(self) -> None:
        """Note how late this is called, and end the attempts whose seconds have passed."""
        self._timer = None
        now = time.perf_counter()
        self.suspensions.record(self._next, now, time.process_time() - self._worked)
        while self._started:
            bound, begun = next(iter(self._started.items()))
            if not self._expired(now, begun, self._seconds):
                break
            del self._started[bound]
            _expire(bound)
        for bound, (begun, left) in tuple(self._resumed.items()):
            if self._expired(now, begun, left):
                del self._resumed[bound]
                _expire(bound)
        if self._started or self._resumed:
            self._set_timer(now)

    def _expired(self, now: float, begun: float, seconds: float) -> bool:
        return (
            now - begun >= seconds
            and now - begun - self.suspensions.seconds_between(begun, now) >= seconds
        )


def _expire(bound: asyncio.Timeout) -> None:
    bound.reschedule(asyncio.get_running_loop().time())
