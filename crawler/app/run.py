"""One pass over a list into sinks, from the first entry to the summary."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from time import perf_counter
from typing import Protocol

from crawler.app.collect import Collector, Entries
from crawler.app.conclusion import Conclusion, conclude
from crawler.core import pacing
from crawler.core.summary import NO_TOLERANCE, CrawlStats, Snapshot, Tally, Tolerance
from crawler.core.urllist import ListError
from crawler.facts import fact
from crawler.report.broadcast import Broadcast, BytesTaken
from crawler.report.sinks import Sink
from crawler.system.threads import DaemonExecutor

GATHER = 0.01  # seconds: handing a batch to a writer's thread costs as much as writing ten lines
_TICK = 0.1  # seconds between two snapshots


class Listing(Entries, Protocol):
    """Entries with the figures that progress and summary need.

    `share_read` is from 0 to 1, None if it is unknown. `duplicates` is the number of entries
    skipped because an equal URL preceded them.
    """

    def share_read(self) -> float | None: ...

    @property
    def duplicates(self) -> int: ...


@fact
class Observer:
    """Who watches a pass. Both are called from a thread, as a terminal may block.

    `show` gets a snapshot ten times a second; `warn` gets a sentence as soon as the deadline
    is out of reach.
    """

    show: Callable[[Snapshot], None] | None = None
    warn: Callable[[str], None] | None = None


class Pass:
    """Checks a list once and writes each check to every sink.

    `collector` collects the checks of `listing`; `bytes_taken` is that of `Broadcast`.
    """

    def __init__(
        self,
        listing: Listing,
        collector: Collector,
        sinks: Sequence[Sink],
        *,
        tolerance: Tolerance = NO_TOLERANCE,
        observer: Observer | None = None,
        bytes_taken: BytesTaken = lambda _name: 0,
    ) -> None:
        self.list_error: ListError | None = None
        self.fault: Exception | None = None
        self.signal: int | None = None
        self._listing = listing
        self._collector = collector
        self._outputs = Broadcast(sinks, collector.stop, bytes_taken)
        self._tolerance = tolerance
        self._observer = observer or Observer()
        self._tally = Tally()
        self._clock = perf_counter
        self._start = self._clock()
        self._elapsed = 0.0
        self._lag = 0.0

    def interrupt(self, signal: int) -> None:
        """End the pass early: nothing new starts, finished checks are written."""
        self.signal = signal
        self._collector.stop.set()

    async def collect(self) -> None:
        """Check every entry and write each check as it finishes.

        An unexpected exception is kept in `fault`, so that finished checks are still written.
        """
        observing = asyncio.create_task(self._observe())
        try:
            await self._collect()
        finally:
            observing.cancel()
            await asyncio.wait((observing,))
            exc = None if observing.cancelled() else observing.exception()
            if isinstance(exc, Exception) and not isinstance(exc, OSError):
                self.fault = self.fault or exc  # OSError: the terminal went away
        self._elapsed = self._clock() - self._start

    async def conclude(self) -> Conclusion:
        """Give every sink the summary, and return it."""
        stats = CrawlStats(
            elapsed=self._elapsed,
            lag=self._lag,
            stopped=self._collector.suspensions.total,
            duplicates=self._listing.duplicates,
            interrupted=self.signal,
            list_read=self._listing.share_read() == 1.0 and self.fault is None,
            list_failed=self.list_error is not None,
            output_failed=bool(self._outputs.failed),
            faulty=self.fault is not None,
            tolerance=self._tolerance,
        )
        summary = self._tally.summary(stats)
        return await conclude(self._outputs, summary, self.list_error, self.fault)

    async def _collect(self) -> None:
        async with aclosing(self._collector.batches()) as batches:
            try:
                async for checks in batches:
                    for check in checks:
                        self._tally.count_check(check)
                    await self._outputs.publish(checks)
            except ListError as exc:
                self.list_error = exc
            except Exception as exc:
                self.fault = exc

    async def _observe(self) -> None:
        """Every 100 ms: measure the event-loop lag, show a snapshot, warn once if too slow."""
        thread = DaemonExecutor(1, "progress", inline=True)
        loop = asyncio.get_running_loop()
        suspensions = self._collector.suspensions
        show, warn = self._observer.show, self._observer.warn
        while True:
            if show is not None:
                await loop.run_in_executor(thread, show, self._snapshot())
            if warn is not None and (warning := self._deadline_warning()):
                await loop.run_in_executor(thread, warn, warning)
                warn = None
            due, suspended = self._clock() + _TICK, suspensions.total
            await asyncio.sleep(_TICK)
            if self._collector.scheduler.in_flight:
                self._lag = max(self._lag, self._clock() - due - (suspensions.total - suspended))

    def _deadline_warning(self) -> str | None:
        deadline = self._collector.limits.deadline
        if deadline is None:
            return None
        snapshot = self._snapshot()
        return pacing.deadline_warning(
            deadline=deadline,
            elapsed=snapshot.elapsed,
            done=snapshot.done,
            total=snapshot.total,
            least=self._collector.scheduler.least_seconds(snapshot.total or 0),
        )

    def _snapshot(self) -> Snapshot:
        tally, scheduler = self._tally, self._collector.scheduler
        share = self._listing.share_read()
        return Snapshot(
            elapsed=self._clock() - self._start,
            done=tally.total,
            passed=tally.passed,
            failed=tally.failed + tally.invalid,
            in_flight=scheduler.in_flight,
            total=round(scheduler.read / share) if share else None,
            estimated=share != 1.0,
        )
