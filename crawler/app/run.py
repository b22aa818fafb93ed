"""Entries, fetch, judge and sinks joined into one crawl: the road that both doors use."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from time import perf_counter

from crawler.app.collect import Collector, Entries
from crawler.core import pacing
from crawler.core.summary import Tally
from crawler.core.urllist import ListError
from crawler.engine.fetch import Fetch
from crawler.engine.suspensions import Suspensions
from crawler.models import CrawlStats, Limits, Snapshot
from crawler.report.broadcast import Broadcast, Ended, Taken, close
from crawler.report.sinks import Sink
from crawler.system.threads import DaemonExecutor

ShareRead = Callable[[], float | None]

_GATHER = 0.01  # seconds: one hand-over to a thread costs as much as writing ten lines
_TICK = 0.1  # seconds between two looks at the progress


class Run:
    """One crawl of a list into sinks, from the first line to the summary."""

    def __init__(
        self,
        entries: Entries,
        fetch: Fetch,
        limits: Limits,
        sinks: Sequence[Sink],
        *,
        share_read: ShareRead,
        bytes_read: Callable[[], int] | None = None,
        duplicates: Callable[[], int],
        fetch_fresh: Fetch | None = None,
        suspensions: Suspensions | None = None,
        tolerated: float = 0,
        watch: Callable[[Snapshot], None] | None = None,
        warn: Callable[[str], None] | None = None,
        taken: Taken = lambda _name: 0,
    ) -> None:
        self.list_error: ListError | None = None
        self.fault: Exception | None = None
        self.signal: int | None = None
        self._limits = limits
        self._collector = Collector(
            entries,
            fetch,
            limits,
            fetch_fresh=fetch_fresh,
            has_end=lambda: share_read() is not None,
            bytes_read=bytes_read,
            gather=_GATHER,
        )
        self._outputs = Broadcast(sinks, self._collector.stop, taken)
        self._share_read = share_read
        self._duplicates = duplicates
        self._tolerated = tolerated
        self._watch = watch
        self._warn = warn
        self._tally = Tally()
        self._clock = perf_counter
        self._start = self._clock()
        self._elapsed = 0.0
        self._lag = 0.0
        self._suspensions = suspensions or Suspensions()

    def interrupt(self, signal: int) -> None:
        """End the crawl early: nothing new starts, what is finished is written."""
        self.signal = signal
        self._collector.stop.set()

    async def collect(self) -> None:
        """Crawl, writing each check to every sink as it comes.

        What nobody expected is kept in `fault`: what is finished can be written all the same.
        """
        watching = asyncio.create_task(self._look())
        try:
            await self._collect()
        finally:
            watching.cancel()
            await asyncio.wait((watching,))
            broken = None if watching.cancelled() else watching.exception()
            if isinstance(broken, Exception) and not isinstance(broken, OSError):
                self.fault = self.fault or broken  # OSError: the terminal went away
        self._elapsed = self._clock() - self._start

    async def finish(self) -> Ended:
        """Give every sink the summary, and return it."""
        stats = CrawlStats(
            elapsed=self._elapsed,
            lag=self._lag,
            stopped=self._suspensions.total,
            duplicates=self._duplicates(),
            interrupted=self.signal,
            list_read=self._share_read() == 1.0 and self.fault is None,
            list_failed=self.list_error is not None,
            output_failed=bool(self._outputs.failed),
            faulty=self.fault is not None,
            tolerated=self._tolerated if isinstance(self._tolerated, int) else 0,
            tolerated_share=self._tolerated if isinstance(self._tolerated, float) else 0.0,
        )
        summary = self._tally.summary(stats)
        return await close(self._outputs, summary, self.list_error, self.fault)

    async def _collect(self) -> None:
        async with aclosing(self._collector.batches()) as batches:
            try:
                async for checks in batches:
                    for check in checks:
                        self._tally.count_check(check)
                    await self._outputs.write(checks)
            except ListError as exc:
                self.list_error = exc
            except Exception as exc:
                self.fault = exc

    async def _look(self) -> None:
        """Ten times a second see how late the loop is, and show the progress.

        That is shown from a thread: a terminal may block. Once it shows that the crawl will
        not make its deadline, say so.
        """
        thread = DaemonExecutor(1, "progress", inline=True)
        loop = asyncio.get_running_loop()
        while True:
            if self._watch is not None:
                await loop.run_in_executor(thread, self._watch, self._progress())
            if self._warn is not None and (told := self._too_slow()):
                await loop.run_in_executor(thread, self._warn, told)
                self._warn = None
            due, stopped = self._clock() + _TICK, self._suspensions.total
            await asyncio.sleep(_TICK)
            if self._collector.scheduler.in_flight:
                self._lag = max(
                    self._lag, self._clock() - due - (self._suspensions.total - stopped)
                )

    def _too_slow(self) -> str | None:
        if self._limits.deadline is None:
            return None
        progress = self._progress()
        return pacing.deadline_warning(
            deadline=self._limits.deadline,
            elapsed=progress.elapsed,
            done=progress.done,
            total=progress.total,
            least=self._collector.scheduler.least_seconds(progress.total or 0),
        )

    def _progress(self) -> Snapshot:
        tally, scheduler, share = self._tally, self._collector.scheduler, self._share_read()
        return Snapshot(
            elapsed=self._clock() - self._start,
            done=tally.total,
            passed=tally.passed,
            failed=tally.failed + tally.invalid,
            in_flight=scheduler.in_flight,
            total=round(scheduler.read / share) if share else None,
            estimated=share != 1.0,
        )
