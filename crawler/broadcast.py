"""Each check to every output, each in a thread of its own, whatever becomes of the others."""

import asyncio
import errno
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from crawler.core import faults
from crawler.core.summary import Summary
from crawler.core.urllist import ListError
from crawler.models import Check
from crawler.report import Sink
from crawler.threads import DaemonExecutor

_AT_ONCE = 0.001  # seconds that the event loop stands still for writers,
_EACH = 0.000_02  # and for each check: what encoding it costs, too
_LATER = 50  # times that it does not, after one that took longer
_GRACE = 0.7  # seconds without headway that a writer is given after a signal
_Future = TypeVar("_Future", asyncio.Future[None], futures.Future[None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended. `failed_outputs` are by name; `reader_gone` is no failure.

    `fault` is the exception that nobody expected and that ended it.
    """

    summary: Summary
    list_error: ListError | None
    failed_outputs: Mapping[str, OSError]
    reader_gone: bool
    fault: Exception | None = None


class Broadcast:
    """Gives each check to all sinks and flushes each in a thread of its own.

    A sink that breaks costs the others nothing. `stuck` tells whether the output of a
    name has been waiting for so many seconds for somebody to take what is written.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        stop: asyncio.Event,
        stuck: Callable[[str, float], bool] = lambda _name, _seconds: True,
    ) -> None:
        self.broken: dict[str, OSError] = {}
        self._threads = {
            sink: DaemonExecutor(1, f"writer-{sink.name}", inline=True) for sink in sinks
        }
        self._stop = stop
        self._stuck = stuck
        self._slow = 0

    async def write(self, checks: list[Check]) -> None:
        for sink in tuple(self._threads):
            try:
                for check in checks:
                    sink.write(check)
            except Exception as exc:
                self._drop(sink, exc)
        await self._each(lambda sink: sink.flush(), len(checks))
        if self.reader_gone or (self.broken and not self._threads):
            self._stop.set()

    async def finish(self, summary: Summary) -> None:
        await self._each(lambda sink: sink.finish(summary))

    @property
    def failed(self) -> dict[str, OSError]:
        """The outputs that could not be written; a reader that went away is no failure."""
        broken = self.broken.items()
        return {name: exc for name, exc in broken if not isinstance(exc, BrokenPipeError)}

    @property
    def reader_gone(self) -> bool:
        return any(isinstance(exc, BrokenPipeError) for exc in self.broken.values())

    async def _each(self, work: Callable[[Sink], None], checks: int = 0) -> None:
        """Do the same to every sink; once `stop` is set, wait only for those that get on."""
        begun = {thread.submit(work, sink): sink for sink, thread in self._threads.items()}
        self._stand_still(begun, _AT_ONCE + checks * _EACH)
        self._take_done(begun)
        if begun:
            await self._see_through({asyncio.wrap_future(one): begun[one] for one in begun})

    def _stand_still(self, begun: Collection[futures.Future[None]], seconds: float) -> None:
        """Let writers that need but a moment have it for themselves.

        A thread that writes line by line beside the event loop takes Python's lock from
        it, and gives it back, for each line: a crawl of quick servers takes 8 % longer.
        """
        if self._slow:
            self._slow -= 1
        elif futures.wait(begun, timeout=seconds).not_done:
            self._slow = _LATER

    async def _see_through(self, writing: dict[asyncio.Future[None], Sink]) -> None:
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            while writing and not self._stop.is_set():
                any_of: set[asyncio.Future[Any]] = {*writing, stopped}
                await asyncio.wait(any_of, return_when=asyncio.FIRST_COMPLETED)
                self._take_done(writing)
        finally:
            stopped.cancel()
        while writing:
            await asyncio.wait(writing, timeout=_GRACE)
            self._take_done(writing)
            for future, sink in tuple(writing.items()):
                if self._stuck(sink.name, _GRACE / 2):
                    del writing[future]
                    self._drop(sink, OSError(errno.EAGAIN, "nobody takes it"))

    def _take_done(self, writing: dict[_Future, Sink]) -> None:
        for future, sink in tuple(writing.items()):
            if future.done():
                del writing[future]
                try:
                    future.result()
                except Exception as exc:
                    self._drop(sink, exc)

    def _drop(self, sink: Sink, exc: Exception) -> None:
        self.broken[sink.name] = exc if isinstance(exc, OSError) else OSError(faults.line(exc))
        del self._threads[sink]


async def close(
    outputs: Broadcast,
    summary: Summary,
    list_error: ListError | None = None,
    fault: Exception | None = None,
) -> Ended:
    """Give every sink the summary; return how the run ended."""
    await outputs.finish(summary)
    if outputs.failed:
        summary = replace(summary, crawl=replace(summary.crawl, output_failed=True))
    return Ended(
        summary=summary,
        list_error=list_error,
        failed_outputs=outputs.failed,
        reader_gone=outputs.reader_gone,
        fault=fault,
    )
