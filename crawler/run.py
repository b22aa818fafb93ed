"""Entries, fetch, judge and sinks joined into one crawl: the road that both doors use."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from time import perf_counter

from crawler.broadcast import Broadcast, Ended, Taken, close
from crawler.core import pacing
from crawler.core.expect import judge
from crawler.core.summary import Tally
from crawler.core.urllist import ListError
from crawler.engine.fetch import Fetch
from crawler.engine.schedule import Scheduler
from crawler.engine.stops import Stops
from crawler.models import Check, Crawl, Limits, Progress, Result, Target
from crawler.report import Sink
from crawler.threads import DaemonExecutor

Entries = AsyncGenerator[Target | Result, None]
ShareRead = Callable[[], float | None]

_BATCH = 500  # checks at most that go to the sinks in one step
_GATHER = 0.01  # seconds: one hand-over to a thread costs as much as writing ten lines
_TICK = 0.1  # seconds between two looks at the progress


class Collector:
    """Fan-in: runs a crawl and yields what it finished, judged, in batches.

    A batch holds what has come since the last one was asked for; once its first result is
    there, more are waited for during `gather` seconds, which makes each of them cheaper.
    Nothing runs any more once `batches` has ended or was closed.
    """

    def __init__(
        self,
        entries: Entries,
        fetch: Fetch,
        limits: Limits,
        *,
        fetch_fresh: Fetch | None = None,
        has_end: Callable[[], bool] = lambda: True,
        bytes_read: Callable[[], int] | None = None,
        gather: float = 0.0,
    ) -> None:
        self.stop = asyncio.Event()
        self.scheduler = Scheduler(
            fetch,
            limits,
            self._take,
            self.stop,
            fetch_fresh=fetch_fresh,
            has_end=has_end,
            bytes_read=bytes_read,
        )
        self._entries = entries
        self._gather = gather
        self._enough = min(_BATCH, limits.max)
        self._most = 2 * limits.max
        self._finished: list[Result] = []
        self._over = False
        self._some = asyncio.Event()  # a result is there, or no more will come
        self._full = asyncio.Event()  # waiting for more would be no use
        self._room = asyncio.Event()

    async def batches(self) -> AsyncGenerator[list[Check], None]:
        """Yield all checks; raises what the entries raised, after the last one."""
        work = asyncio.create_task(self._work())
        try:
            while batch := await self._next():
                yield [Check(result=result, verdict=judge(result)) for result in batch]
            if broken := await work:
                raise broken
        finally:
            work.cancel()
            await asyncio.wait((work,))

    async def _work(self) -> Exception | None:
        try:
            await self.scheduler.run(self._entries)
        except Exception as exc:
            return exc
        finally:
            self._over = True
            self._some.set()
            self._full.set()
        return None

    async def _take(self, result: Result) -> None:
        while len(self._finished) >= self._most:
            self._room.clear()
            await self._room.wait()
        self._finished.append(result)
        self._some.set()
        if len(self._finished) >= self._enough:
            self._full.set()

    async def _next(self) -> list[Result]:
        """Return what is there, waiting for the first; nothing means the end."""
        await self._some.wait()
        if self._gather and not self._full.is_set():
            timer = asyncio.get_running_loop().call_later(self._gather, self._full.set)
            await self._full.wait()
            timer.cancel()
        batch, self._finished = self._finished[:_BATCH], self._finished[_BATCH:]
        if not self._over:
            if not self._finished:
                self._some.clear()
            if len(self._finished) < self._enough:
                self._full.clear()
        self._room.set()
        return batch


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
        stops: Stops | None = None,
        tolerated: float = 0,
        watch: Callable[[Progress], None] | None = None,
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
        self._stops = stops or Stops()

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
        crawl = Crawl(
            elapsed=self._elapsed,
            lag=self._lag,
            stopped=self._stops.total,
            duplicates=self._duplicates(),
            interrupted=self.signal,
            list_read=self._share_read() == 1.0 and self.fault is None,
            list_failed=self.list_error is not None,
            output_failed=bool(self._outputs.failed),
            faulty=self.fault is not None,
            tolerated=self._tolerated if isinstance(self._tolerated, int) else 0,
            tolerated_share=self._tolerated if isinstance(self._tolerated, float) else 0.0,
        )
        summary = self._tally.summary(crawl)
        return await close(self._outputs, summary, self.list_error, self.fault)

    async def _collect(self) -> None:
        async with aclosing(self._collector.batches()) as batches:
            try:
                async for checks in batches:
                    for check in checks:
                        self._tally.add(check)
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
            due, stopped = self._clock() + _TICK, self._stops.total
            await asyncio.sleep(_TICK)
            if self._collector.scheduler.in_flight:
                self._lag = max(self._lag, self._clock() - due - (self._stops.total - stopped))

    def _too_slow(self) -> str | None:
        if self._limits.deadline is None:
            return None
        progress = self._progress()
        return pacing.too_slow(
            deadline=self._limits.deadline,
            elapsed=progress.elapsed,
            done=progress.done,
            total=progress.total,
            least=self._collector.scheduler.least_seconds(progress.total or 0),
        )

    def _progress(self) -> Progress:
        tally, scheduler, share = self._tally, self._collector.scheduler, self._share_read()
        return Progress(
            elapsed=self._clock() - self._start,
            done=tally.total,
            passed=tally.passed,
            failed=tally.failed + tally.invalid,
            in_flight=scheduler.in_flight,
            total=round(scheduler.read / share) if share else None,
            estimated=share != 1.0,
        )
