"""Signals -> calls: the first one ends a run gracefully, the second one at once."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def signals(first: Callable[[int], None], second: Callable[[], None]) -> Iterator[None]:
    """Call `first` with the number of the first signal; at the second, call `second` and exit.

    Handles SIGINT, SIGTERM and SIGHUP, except those ignored at the start. A terminal that
    closes may send SIGHUP several times, so SIGHUP is never taken for a second signal.
    """
    loop = asyncio.get_running_loop()
    seen = False

    def handle(number: int) -> None:
        nonlocal seen
        if seen and number in hangup:
            return
        if seen:
            second()
            os._exit(128 + number)
        seen = True
        loop.call_soon_threadsafe(first, number)

    hangup = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []  # Windows has none
    numbers = [signal.SIGINT, signal.SIGTERM, *hangup]
    before = {number: signal.getsignal(number) for number in numbers}
    taken = [number for number in numbers if before[number] is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, lambda caught, _frame: handle(caught))
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
