"""What the process owes its system: signals turned into calls, and enough file descriptors."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_RESERVE = 32  # descriptors for standard streams, lists, outputs, the event loop, look-ups


@contextmanager
def signals(first: Callable[[int], None], second: Callable[[], None]) -> Iterator[None]:
    """Call `first` with the number of the first SIGINT or SIGTERM; on another one exit at once.

    `second` runs before that exit. A signal that was ignored at the start stays so.
    """
    loop = asyncio.get_running_loop()
    seen = False

    def handle(number: int) -> None:
        nonlocal seen
        if seen:
            second()
            os._exit(128 + number)
        seen = True
        loop.call_soon_threadsafe(first, number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.getsignal(number) for number in numbers}
    taken = [number for number in numbers if before[number] is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, lambda caught, _frame: handle(caught))
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


def affordable(concurrency: int) -> int:
    """Return how many connections may be open at once, at most `concurrency`.

    Raises the soft limit of open files first, where the system has one.
    """
    try:
        import resource
    except ImportError:  # not a Unix
        return concurrency
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * concurrency + _RESERVE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # macOS caps it below the hard limit it names
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return concurrency
    return max(1, min(concurrency, (soft - _RESERVE) // 2))
