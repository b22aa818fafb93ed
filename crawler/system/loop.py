"""The process: its event loop and memory, signals turned into calls, enough file descriptors."""

import asyncio
import gc
import importlib.util
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from crawler.core import faults

_COLLECT_AFTER = 10_000  # new objects, against 700 by default: costs 2 MB and saves 5 to 10 %


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
    say(f"internal error: {context.get('message')}" if exc is None else faults.describe(exc))
