"""Settings -> open sources and outputs, or the reason why the run cannot start."""

import asyncio
import sys
import threading
from collections.abc import Sequence

from crawler.app.interruption import Interruption
from crawler.app.settings import Settings
from crawler.core.urllist import ListError
from crawler.inputs.sources import Source, open_source
from crawler.report.outputs import Output, OutputError, open_outputs
from crawler.system.threads import DaemonExecutor

_GRACE = 0.5  # seconds that the outputs have to open after a signal


class StartError(Exception):
    """The run cannot start: a list cannot be read, or an output cannot be opened."""


def sources(settings: Settings) -> list[Source]:
    """Open every target. Raises StartError."""
    if settings.targets.count("-") > 1:
        raise StartError("standard input (-) can be read only once")
    stdin = None if sys.stdin is None else sys.stdin.fileno()
    try:
        return [open_source(target, stdin, settings.masked) for target in settings.targets]
    except ListError as exc:
        raise StartError(str(exc)) from exc


async def outputs(
    opened: list[Output],
    settings: Settings,
    sources: Sequence[Source],
    interruption: Interruption,
) -> None:
    """Open every output and append it to `opened`. Raises StartError.

    Opening a FIFO blocks until it has a reader, so it happens in a thread, and a signal ends
    the wait.
    """
    given_up, signalled = threading.Event(), asyncio.Event()
    interruption.add_handler(lambda _number: given_up.set())
    interruption.add_handler(lambda _number: signalled.set())
    thread = DaemonExecutor(1, "outputs", inline=True)
    opening = asyncio.wrap_future(
        thread.submit(open_outputs, opened, settings.outputs, sources, given_up)
    )
    thread.shutdown()
    waiting = asyncio.ensure_future(signalled.wait())
    await asyncio.wait((opening, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await asyncio.wait((opening,), timeout=_GRACE)  # it may be stuck in a dead mount
    if opening.done() and (exc := opening.exception()) and interruption.signal is None:
        raise StartError(str(exc)) if isinstance(exc, OutputError) else exc
