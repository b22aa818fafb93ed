"""Time and chance for the schedule, replaceable in tests."""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """Monotonic seconds, calls at a given time, and random numbers from 0 to 1."""

    def time(self) -> float: ...

    def call_at(self, when: float, call: Callable[[], None]) -> Timer: ...

    def chance(self) -> float: ...


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    time = staticmethod(time.perf_counter)  # the loop's own ticks in milliseconds with uvloop

    def chance(self) -> float:
        return int.from_bytes(os.urandom(4), "big") / 2**32  # `random` is slow to import

    def call_at(self, when: float, call: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(max(0.0, when - self.time()), call)
