"""The seconds that each of many attempts may take, watched by one timer for all of them.

All have the same number, so that they run out in the order in which they began. A timer
for each costs 4 µs more, a thirtieth of all that an attempt costs.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """Gives every attempt the same number of seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[asyncio.Timeout, float] = {}  # in the order in which they run out
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, bound: asyncio.Timeout) -> None:
        """Let the seconds of an entered `asyncio.timeout(None)` run from now on."""
        loop = asyncio.get_running_loop()
        due = self._due[bound] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(due, self._expire, loop)

    def end(self, bound: asyncio.Timeout) -> None:
        """Watch an attempt no longer; one that ran out before, or never began, is no matter."""
        self._due.pop(bound, None)
        if not self._due and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @contextmanager
    def paused(self, bound: asyncio.Timeout) -> Iterator[None]:
        """Stop the clock of an attempt meanwhile; the rest of its seconds gets its own timer."""
        loop = asyncio.get_running_loop()
        due = self._due.pop(bound, None) or bound.when()
        left = None if due is None else due - loop.time()
        bound.reschedule(None)
        try:
            yield
        finally:
            bound.reschedule(None if left is None else loop.time() + left)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._due:
            bound, due = next(iter(self._due.items()))
            if due > now:
                self._timer = loop.call_at(due, self._expire, loop)
                return
            del self._due[bound]
            bound.reschedule(now)
