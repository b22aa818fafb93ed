"""The process: its event loop and memory, signals turned into calls, enough file descriptors."""

import asyncio
import gc
import importlib.util
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from crawler.core import faults

_COLLECT_AFTER = 10_000  # new objects, against 700 by default: costs 2 MB and saves 5 to 10 %
_RESERVE = 32  # descriptors for standard streams, lists, outputs, the event loop, look-ups


def run_on_a_loop(
    work: Coroutine[Any, Any, int],
    say: Callable[[str], None],
    engine: str,
    *,
    verbose: bool = False,
) -> int:
    """Run on uvloop where it is installed, else on asyncio's own loop.

    `say` gets what a loop complains of, one line each. With `verbose` it is told what is
    used, and tracebacks are shown.
    """
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])
    factory: Any = None
    if importlib.util.find_spec("uvloop") is not None and _can_start_a_thread():
        import uvloop

        # Older ones may close a descriptor twice when a connection attempt is cancelled.
        version: str = vars(uvloop)["__version__"]
        if tuple(map(int, version.split(".")[:2])) >= (0, 23):
            factory = uvloop.new_event_loop
    if verbose:
        say(f"engine {engine}, event loop {'asyncio' if factory is None else 'uvloop'}")
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.get_loop().set_exception_handler(partial(_complain, say, verbose))
        return runner.run(work)


def _can_start_a_thread() -> bool:
    """Whether the system allows one more: without any, uvloop aborts the process (libuv)."""
    try:
        threading.Thread(target=int, daemon=True).start()
    except (RuntimeError, MemoryError):
        return False
    return True


def _complain(
    say: Callable[[str], None],
    verbose: bool,
    loop: asyncio.AbstractEventLoop,
    context: dict[str, Any],
) -> None:
    """Pass on what a loop complains of, but for connections that broke while they were closed.

    What they were for has its record.
    """
    if str(context.get("message")).startswith("Fatal error on "):
        return
    if verbose:
        loop.default_exception_handler(context)
        return
    exc = context.get("exception")
    say(f"internal error: {context.get('message')}" if exc is None else faults.line(exc))


@contextmanager
def signals(first: Callable[[int], None], second: Callable[[], None]) -> Iterator[None]:
    """Call `first` with the number of the first signal to end; on another one exit at once.

    `second` runs before that exit. The signals are SIGINT, SIGTERM and SIGHUP; one that was
    ignored at the start stays so. A terminal that closes may send SIGHUP more than once: as
    a second signal it is no wish to end sooner.
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
