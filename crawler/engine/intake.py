"""Entries of a list -> visits in the lanes, read ahead up to a window."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from crawler.engine.clock import Clock
from crawler.engine.flight import Slots
from crawler.engine.visit import Visit
from crawler.models import Limits, Result, Target

Emit = Callable[[Result], Awaitable[None]]
Entries = AsyncGenerator[Target | Result, None]
_AT_A_TIME = 50  # entries read before other tasks get their turn
_TRICKLE = 1_000  # bytes of a list per interval that are no progress: it may be endless
_LINE = 20  # bytes, about, that an entry stands for if nobody counts them
_ENDLESS = 5.0  # seconds that a list of unknown length is read on after the deadline
_STALLED = 1.0  # seconds without progress after which a list is read no further


class Pending:
    """All that was read and is not emitted, by index: for each a record is still owed.

    This alone says whether a run is over; lanes and tasks only say what happens next.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._owed: dict[int, Visit | Result] = {}

    def __len__(self) -> int:
        return len(self._owed)

    def register(self, visit: Visit) -> None:
        self._owed[visit.target.index] = visit

    async def emit(self, result: Result) -> None:
        """Emit a final result; it stays owed until `emit` has taken it, which it may never."""
        self._owed[result.target.index] = result
        await self._emit(result)
        del self._owed[result.target.index]

    async def emit_all(self) -> None:
        """Emit what is owed as it stands, in the order of the list."""
        for _, owed in sorted(self._owed.items()):
            await self.emit(owed if isinstance(owed, Result) else owed.unfinished())


class Intake:
    """Reads a list for a scheduler. `read` counts entries, `ended` says that there are no more."""

    def __init__(
        self,
        slots: Slots,
        pending: Pending,
        limits: Limits,
        has_end: Callable[[], bool],
        bytes_read: Callable[[], int] | None,
        clock: Clock,
    ) -> None:
        self.read = 0
        self.ended = False
        self._lanes = slots.lanes
        self._pending = pending
        self._window = limits.window
        self._has_end = has_end
        self._bytes_read = bytes_read or (lambda: self.read * _LINE)
        self._clock = clock
        self._room = asyncio.Event()
        self._closed = False  # what is still read is not requested any more
        self._emitting = False  # a slow sink may block here: that is no stall of the list

    def resume(self) -> None:
        """Read on, as the lanes hold fewer entries now."""
        self._room.set()

    def close(self) -> None:
        """Request nothing more: what waits, and what is still read, becomes a record."""
        self._closed = True
        self._room.set()

    async def run(self, entries: Entries) -> Exception | None:
        """Read all entries; return the exception that ended the list, if one did."""
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
                    while len(self._lanes) >= self._window and not self._closed:
                        self._room.clear()
                        await self._room.wait()
                    if self._closed:
                        await self._emit_queued()
                    if self.read % _AT_A_TIME == 0:
                        await asyncio.sleep(0)
        except Exception as exc:
            return exc
        finally:
            self.ended = True
            self._lanes.notify()
        return None

    async def finish_reading(
        self, reading: asyncio.Task[Exception | None], stopped: asyncio.Task[bool]
    ) -> None:
        """Let the list be read to its end, unless it stalls or may have none."""
        read = -_TRICKLE - 1
        begun = self._clock.time()
        while self._emitting or self._bytes_read() - read > _TRICKLE:
            endless = not self._has_end() and self._clock.time() - begun > _ENDLESS
            if reading.done() or stopped.done() or endless:
                return
            read = self._bytes_read()
            await asyncio.wait(
                (reading, stopped), timeout=_STALLED, return_when=asyncio.FIRST_COMPLETED
            )

    async def _emit_queued(self) -> None:
        """Emit all that waits; what a stop keeps this from stays owed."""
        for entry in self._lanes.clear():
            if isinstance(entry, Visit):
                await self._emit_unrequested(entry.unfinished())

    async def _emit_unrequested(self, result: Result) -> None:
        self._emitting = True
        await self._pending.emit(result)
        self._emitting = False
