"""Checks -> every sink, each with its own writer thread; a broken one affects no other."""

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

# A response that arrives while the event loop is blocked is read late, and its latency comes
# out too long by that much: so this is the limit for encoding and writing together, in seconds.
_BLOCK_LIMIT = 0.000_9
_ENCODE_LIMIT = 0.000_4  # seconds of that for encoding before the loop gets a turn
_SKIPPED_BLOCKS = 50  # batches for which the loop does not block after a slow one
_STALL_LIMIT = 0.7  # seconds without progress after which a writer is abandoned, once stopped
_STOP_LIMIT = 8.0  # seconds for all writers once stopped: `docker stop` kills after ten
_POLL = 0.1  # seconds between two checks for progress
BytesTaken = Callable[[str], int | None]
_Future = TypeVar("_Future", asyncio.Future[None], futures.Future[None])


class Broadcast:
    """Gives every check to every sink, and flushes each sink in a thread of its own.

    A sink that fails is dropped. `bytes_taken` returns how many bytes the reader of the named
    output has taken, or None while no write is waiting for it.
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
        self._blocks_to_skip = 0
        self._stop_deadline: float | None = None

    async def publish(self, checks: Iterable[Check]) -> None:
        """Give the checks to every sink, and return when all have written them.

        Sets `stop` if a reader has closed its pipe, or if no sink is left.
        """
        blocked_since = await self._encode(checks)
        await self._run_all(lambda sink: sink.flush(), blocked_since)
        if self.reader_gone or (self.broken and not self._threads):
            self._stop.set()

    async def finish_all(self, summary: Summary) -> None:
        """Give the summary to every sink, and return when all have ended."""
        await self._run_all(lambda sink: sink.finish(summary), self._clock())

    @property
    def failed(self) -> dict[str, OSError]:
        """The outputs that could not be written; a reader that closed its pipe is not a failure."""
        broken = self.broken.items()
        return {name: exc for name, exc in broken if not isinstance(exc, BrokenPipeError)}

    @property
    def reader_gone(self) -> bool:
        """Whether a reader has closed its pipe."""
        return any(isinstance(exc, BrokenPipeError) for exc in self.broken.values())

    async def _encode(self, checks: Iterable[Check]) -> float:
        """Let every sink encode the checks; return since when the event loop has been blocked.

        Not in the threads: encoding holds the GIL there, and the loop would wait for it at
        each system call.
        """
        blocked_since = self._clock()
        sinks = tuple(self._threads)
        for check in checks:
            for sink in sinks:
                try:
                    sink.accept(check)
                    if self._clock() - blocked_since > _ENCODE_LIMIT:
                        blocked_since = await self._yield_to_loop()
                    while sink.accept_deferred():
                        if self._clock() - blocked_since > _ENCODE_LIMIT:
                            blocked_since = await self._yield_to_loop()
                except Exception as exc:
                    self._drop(sink, exc)
                    sinks = tuple(self._threads)
        return blocked_since

    async def _yield_to_loop(self) -> float:
        await asyncio.sleep(0)
        return self._clock()

    async def _run_all(self, work: Callable[[Sink], None], blocked_since: float) -> None:
        """Do `work` for every sink in its thread, and wait for all of them.

        Once `stop` is set, sinks that make no progress are abandoned.
        """
        writing = {thread.submit(work, sink): sink for sink, thread in self._threads.items()}
        self._block_briefly(writing, blocked_since)
        self._remove_done(writing)
        if writing:
            await self._wait({asyncio.wrap_future(future): writing[future] for future in writing})

    def _block_briefly(
        self, writing: Collection[futures.Future[None]], blocked_since: float
    ) -> None:
        """Block the event loop for writers that finish within a moment.

        A thread that writes while the loop runs takes the GIL from it and gives it back for
        each write: with fast servers the run takes 8 % longer.
        """
        left = blocked_since + _BLOCK_LIMIT - self._clock()
        if self._blocks_to_skip:
            self._blocks_to_skip -= 1
        elif futures.wait(writing, timeout=max(0.0, left)).not_done:
            self._blocks_to_skip = _SKIPPED_BLOCKS

    async def _wait(self, writing: dict[asyncio.Future[None], Sink]) -> None:
        """Wait for all writers, or until `stop` is set and then for those that progress."""
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            while writing and not self._stop.is_set():
                pending: set[asyncio.Future[Any]] = {*writing, stopped}
                await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                self._remove_done(writing)
        finally:
            stopped.cancel()
        await self._wait_after_stop(writing)

    async def _wait_after_stop(self, writing: dict[asyncio.Future[None], Sink]) -> None:
        """Wait for writers whose readers make progress, however slow.

        After Ctrl-C the run should end soon, but not at the cost of records that a slow
        reader would still have taken. So progress decides, within one limit for all batches.
        """
        now = self._clock()
        if self._stop_deadline is None:
            self._stop_deadline = now + _STOP_LIMIT
        progress = {sink.name: (self._bytes_taken(sink.name), now) for sink in writing.values()}
        while writing:
            await asyncio.wait(writing, timeout=_POLL)
            self._remove_done(writing)
            now = self._clock()
            for future, sink in tuple(writing.items()):
                taken, (before, since) = self._bytes_taken(sink.name), progress[sink.name]
                if taken is None or taken != before:
                    progress[sink.name] = taken, now
                elif now - since >= _STALL_LIMIT:
                    del writing[future]
                    self._drop(sink, OSError(errno.EAGAIN, "the reader stopped reading"))
                    continue
                if now >= self._stop_deadline:
                    del writing[future]
                    reason = f"the reader did not read all of it within {_STOP_LIMIT:.0f} s"
                    self._drop(sink, OSError(errno.EAGAIN, reason))

    def _remove_done(self, writing: dict[_Future, Sink]) -> None:
        """Remove the writers that are done; drop the sinks that failed."""
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
