"""Time and chance for the schedule, so that tests can pass in their own."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """Monotonic seconds, calls at a time to come, and random numbers from 0 to 1."""

    def time(self) -> float: ...

    def call_at(self, when: float, call: Callable[[], None]) -> Timer: ...

    def chance(self) -> float: ...


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    time = staticmethod(time.perf_counter)  # uvloop's own ticks in milliseconds
    chance = staticmethod(random.random)

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(max(0.0, when - self.time()), call)
