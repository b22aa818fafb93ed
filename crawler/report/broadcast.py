"""Each check to every output, each in a thread of its own, whatever becomes of the others."""

import asyncio
import errno
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent import futures
from time import perf_counter
from typing import Any, TypeVar

from crawler.core import faults
from crawler.core.summary import Summary
from crawler.models import Check
from crawler.report.sinks import Sink
from crawler.system.threads import DaemonExecutor

# Seconds that the event loop stands still for all writers together, encoding included. A
# response that comes meanwhile is read late, and its latency would be too long by that much.
_AT_ONCE = 0.000_9
_SLICE = 0.000_4  # seconds of that for encoding: then the loop gets its turn
_LATER = 50  # batches for which the loop does not wait for writers after slow ones
_GRACE = 0.7  # seconds without headway that a writer is given after a signal
_IN_ALL = 8.0  # seconds for all writers after a signal: `docker stop` kills after ten
_LOOK = 0.1  # seconds between two looks at the headway
BytesTaken = Callable[[str], int | None]
_Future = TypeVar("_Future", asyncio.Future[None], futures.Future[None])


class Broadcast:
    """Gives each check to all sinks and flushes each in a thread of its own.

    A sink that breaks costs the others nothing. `taken` returns how many bytes have been
    taken from the output of a name, None while its sink waits for nobody.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        stop: asyncio.Event,
        bytes_taken: BytesTaken = lambda _name: 0,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.broken: dict[str, OSError] = {}
        self._threads = {
            sink: DaemonExecutor(1, f"writer-{sink.name}", inline=True) for sink in sinks
        }
        self._stop = stop
        self._bytes_taken = bytes_taken
        self._clock = clock
        self._slow = 0
        self._give_up_at: float | None = None

    async def publish(self, checks: Iterable[Check]) -> None:
        since = await self._encode(checks)
        await self._each(lambda sink: sink.flush(), since)
        if self.reader_gone or (self.broken and not self._threads):
            self._stop.set()

    async def finish_all(self, summary: Summary) -> None:
        await self._each(lambda sink: sink.finish(summary), self._clock())

    @property
    def failed(self) -> dict[str, OSError]:
        """The outputs that could not be written; a reader that went away is no failure."""
        broken = self.broken.items()
        return {name: exc for name, exc in broken if not isinstance(exc, BrokenPipeError)}

    @property
    def reader_gone(self) -> bool:
        return any(isinstance(exc, BrokenPipeError) for exc in self.broken.values())

    async def _encode(self, checks: Iterable[Check]) -> float:
        """Let every sink encode the checks; return since when the event loop stands still.

        Not in the threads: whoever encodes there holds Python's lock, and the loop would
        wait for it at each system call.
        """
        since = self._clock()
        for check in checks:
            for sink in tuple(self._threads):
                try:
                    sink.accept(check)
                    if self._clock() - since > _SLICE:
                        since = await self._let_the_loop_turn()
                    while sink.accept_deferred():
                        if self._clock() - since > _SLICE:
                            since = await self._let_the_loop_turn()
                except Exception as exc:
                    self._drop(sink, exc)
        return since

    async def _let_the_loop_turn(self) -> float:
        await asyncio.sleep(0)
        return self._clock()

    async def _each(self, work: Callable[[Sink], None], since: float) -> None:
        """Do the same to every sink; once `stop` is set, wait only for those that get on."""
        begun = {thread.submit(work, sink): sink for sink, thread in self._threads.items()}
        self._stand_still(begun, since)
        self._take_done(begun)
        if begun:
            await self._see_through({asyncio.wrap_future(one): begun[one] for one in begun})

    def _stand_still(self, begun: Collection[futures.Future[None]], since: float) -> None:
        """Let writers that need but a moment have it for themselves.

        A thread that writes beside the event loop takes Python's lock from it, and gives it
        back, for each write: a crawl of quick servers takes 8 % longer.
        """
        left = since + _AT_ONCE - self._clock()
        if self._slow:
            self._slow -= 1
        elif futures.wait(begun, timeout=max(0.0, left)).not_done:
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
        await self._see_out(writing)

    async def _see_out(self, writing: dict[asyncio.Future[None], Sink]) -> None:
        """Wait for writers after a signal while their readers get on, however slowly.

        Who pressed Ctrl-C wants the end, but not at the price of records that a slow reader
        would have taken. So it is headway that counts, up to a limit in all.
        """
        now = self._clock()
        if self._give_up_at is None:
            self._give_up_at = now + _IN_ALL
        headway = {sink.name: (self._bytes_taken(sink.name), now) for sink in writing.values()}
        while writing:
            await asyncio.wait(writing, timeout=_LOOK)
            self._take_done(writing)
            now = self._clock()
            for future, sink in tuple(writing.items()):
                taken, (before, at) = self._bytes_taken(sink.name), headway[sink.name]
                if taken is None or taken != before:
                    headway[sink.name] = taken, now
                elif now - at >= _GRACE:
                    del writing[future]
                    self._drop(sink, OSError(errno.EAGAIN, "nobody takes it"))
                    continue
                if now >= self._give_up_at:
                    del writing[future]
                    late = f"its reader has not taken all within {_IN_ALL:.0f} s"
                    self._drop(sink, OSError(errno.EAGAIN, late))

    def _take_done(self, writing: dict[_Future, Sink]) -> None:
        for future, sink in tuple(writing.items()):
            if future.done():
                del writing[future]
                try:
                    future.result()
                except Exception as exc:
                    self._drop(sink, exc)

    def _drop(self, sink: Sink, exc: Exception) -> None:
        self.broken[sink.name] = exc if isinstance(exc, OSError) else OSError(faults.describe(exc))
        del self._threads[sink]
