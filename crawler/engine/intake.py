"""Entries of a list -> visits in the lanes, read ahead up to a window."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from crawler.engine.clock import Clock
from crawler.engine.slots import Slots
from crawler.engine.visit import Visit
from crawler.models import Limits, Result, Target

Emit = Callable[[Sequence[Result]], Awaitable[None]]
Entries = AsyncGenerator[Target | Result, None]
_AT_A_TIME = 50  # entries read before other tasks run
_NEAR = 500  # entries read ahead as long as some of them may start
_TRICKLE = 1_000  # bytes per interval; a list that gives no more makes no progress
_LINE = 20  # bytes that an entry is assumed to have if they are not counted
_ENDLESS = 5.0  # seconds for which a list that may be endless is read past the deadline
_STALLED = 1.0  # seconds without progress after which reading ends


class Pending:
    """All entries read but not emitted, by index: each of them is owed a record.

    Whether the run is over depends on this alone; lanes and tasks only say what happens next.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._owed: dict[int, Visit | Result] = {}
        self._finished: list[Result] = []

    def __len__(self) -> int:
        return len(self._owed)

    def register(self, visit: Visit) -> None:
        self._owed[visit.target.index] = visit

    def finish(self, result: Result) -> None:
        """Keep a final result until `emit_finished`."""
        self._owed[result.target.index] = result
        self._finished.append(result)

    @property
    def has_finished(self) -> bool:
        """Whether there are results that were kept."""
        return bool(self._finished)

    async def emit_finished(self) -> None:
        """Emit the results that were kept."""
        while self._finished:
            results, self._finished = self._finished, []
            await self._emit(results)
            for result in results:
                del self._owed[result.target.index]

    async def emit(self, result: Result) -> None:
        """Emit a final result; it stays owed until `emit` returns, which it may never do."""
        self._owed[result.target.index] = result
        await self._emit((result,))
        del self._owed[result.target.index]

    async def emit_all(self) -> None:
        """Emit a result for everything owed, finished or not, in input order."""
        for _, owed in sorted(self._owed.items()):
            await self.emit(owed if isinstance(owed, Result) else owed.unfinished())


class Intake:
    """Reads a list for a scheduler. `read` counts entries; `ended` is true after the last one.

    It reads no further ahead than it must: what waits behind thousands of others has left the
    processor's caches when its turn comes. Whenever nothing of what was read may start, it
    looks twice as far ahead, up to `limits.window`.
    """

    def __init__(self, slots: Slots, pending: Pending, limits: Limits, clock: Clock) -> None:
        self.read = 0
        self.ended = False
        self._lanes = slots.lanes
        self._pending = pending
        self._window = limits.window
        self._ahead = min(limits.window, max(_NEAR, 2 * limits.max))
        self._clock = clock
        self._resumed = asyncio.Event()
        self._closed = False  # entries are still read, but not requested
        self._emitting = False  # a slow sink may block here: the list has not stalled then

    def resume(self) -> None:
        """Read on: the lanes hold fewer entries now."""
        self._resumed.set()

    def look_further(self) -> None:
        """Read further ahead: nothing that was read may start."""
        if len(self._lanes) >= self._ahead < self._window:
            self._ahead = min(self._window, 2 * self._ahead)
            self._resumed.set()

    def close(self) -> None:
        """Start nothing more: waiting entries and those still read are emitted as they are."""
        self._closed = True
        self._resumed.set()

    async def run(self, entries: Entries) -> Exception | None:
        """Read all entries; return the exception that ended the list, if any."""
        try:
            async with aclosing(entries):
                async for entry in entries:
                    self.read += 1
                    if isinstance(entry, Result):
                        await self._emit_unrequested(entry)
                    else:
                        visit = Visit(entry, self._clock.time())
                        self._pending.register(visit)
                        self._lanes.enqueue(visit)
                    while len(self._lanes) >= self._ahead and not self._closed:
                        self._resumed.clear()
                        await self._resumed.wait()
                    if self._closed:
                        await self._emit_waiting()
                    if self.read % _AT_A_TIME == 0:
                        await asyncio.sleep(0)
        except Exception as exc:
            return exc
        finally:
            self.ended = True
            self._lanes.notify()
        return None

    async def finish_reading(
        self,
        reading: asyncio.Task[Exception | None],
        stopped: asyncio.Task[bool],
        has_end: Callable[[], bool],
        bytes_read: Callable[[], int] | None,
    ) -> None:
        """Let the list be read to its end, unless it stalls or may be endless."""
        bytes_read = bytes_read or (lambda: self.read * _LINE)
        before = -_TRICKLE - 1
        start = self._clock.time()
        while self._emitting or bytes_read() - before > _TRICKLE:
            endless = not has_end() and self._clock.time() - start > _ENDLESS
            if reading.done() or stopped.done() or endless:
                return
            before = bytes_read()
            await asyncio.wait(
                (reading, stopped), timeout=_STALLED, return_when=asyncio.FIRST_COMPLETED
            )

    async def _emit_waiting(self) -> None:
        """Emit all entries that wait; those that a stop prevents stay owed."""
        for entry in self._lanes.clear():
            if isinstance(entry, Visit):
                await self._emit_unrequested(entry.unfinished())

    async def _emit_unrequested(self, result: Result) -> None:
        self._emitting = True
        await self._pending.emit(result)
        self._emitting = False
