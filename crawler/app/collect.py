"""Fan-in: results as they finish -> judged, in batches."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from crawler.core.expect import judge
from crawler.engine.fetch import Fetch
from crawler.engine.schedule import Scheduler
from crawler.models import Check, Limits, Result, Target

Entries = AsyncGenerator[Target | Result, None]

_BATCH = 500  # checks at most that go to the sinks in one step


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
        )
        self._entries = entries
        self._has_end = has_end
        self._bytes_read = bytes_read
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
            await self.scheduler.run(
                self._entries, has_end=self._has_end, bytes_read=self._bytes_read
            )
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
