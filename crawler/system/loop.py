"""The event loop of the process: which one, what it runs, what it reports."""

import asyncio
import gc
import importlib.util
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from crawler.core import faults

Factory = Callable[[], asyncio.AbstractEventLoop]
_COLLECT_AFTER = 10_000  # new objects, not 700: costs 2 MB and saves 5 to 10 % of the time


def choose() -> tuple[str, Factory | None]:
    """Return name and factory of the fastest event loop: uvloop if it is installed and works."""
    if sys.platform == "win32":  # the default there cannot watch sockets of our own
        return "asyncio", asyncio.SelectorEventLoop
    if importlib.util.find_spec("uvloop") is not None and _can_start_a_thread():
        import uvloop

        # Older versions may close a descriptor twice when a connection attempt is cancelled.
        version: str = vars(uvloop)["__version__"]
        if tuple(map(int, version.split(".")[:2])) >= (0, 23):
            return "uvloop", uvloop.new_event_loop
    return "asyncio", None


def run(
    work: Coroutine[Any, Any, int],
    factory: Factory | None,
    notify: Callable[[str], None],
    *,
    verbose: bool = False,
) -> int:
    """Run `work` and return its value. `notify` gets the loop's own errors, one line each.

    With `verbose` they are logged by asyncio, with tracebacks. If garbage was not collected
    during the start, it is from here on.
    """
    gc.set_threshold(_COLLECT_AFTER, *gc.get_threshold()[1:])
    if not gc.isenabled():
        gc.freeze()  # what was imported stays: looking through it would take 7 ms at once
        gc.enable()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.get_loop().set_exception_handler(partial(_report, notify, verbose))
        return runner.run(work)


def _can_start_a_thread() -> bool:
    """Whether the system allows one more thread: uvloop (libuv) aborts the process without it."""
    try:
        threading.Thread(target=int, daemon=True).start()
    except (RuntimeError, MemoryError):
        return False
    return True


def _report(
    notify: Callable[[str], None],
    verbose: bool,
    loop: asyncio.AbstractEventLoop,
    context: dict[str, Any],
) -> None:
    """Event-loop exception handler that ignores errors from connections being closed.

    Their URLs have a record already.
    """
    if str(context.get("message")).startswith("Fatal error on "):
        return
    if verbose:
        loop.default_exception_handler(context)
        return
    exc = context.get("exception")
    notify(f"internal error: {context.get('message')}" if exc is None else faults.describe(exc))
