"""Fan-in: a listing and how to fetch it -> checks as they finish, in batches."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Protocol

from crawler.core.expect import judge
from crawler.engine.course import Path
from crawler.engine.schedule import Scheduler
from crawler.engine.suspensions import Suspensions
from crawler.models import Check, Limits, Result, Target

if TYPE_CHECKING:
    from crawler.engine.fetch import Fetch

_BATCH = 250  # max. checks in a batch: judging and counting them blocks the loop for 0.3 ms


class Entries(Protocol):
    """The entries of a list, read lazily, and how far they have been read.

    `has_end` says whether the list is known to end; `bytes_read` counts comments and
    duplicates too.
    """

    def entries(self) -> AsyncGenerator[Target | Result, None]: ...

    def has_end(self) -> bool: ...

    def bytes_read(self) -> int: ...


class Fetching:
    """How targets are fetched: by `fast_path`, or else by `fetch`.

    `fetch_fresh` sends the hedges of `fetch`, over connections of their own. `suspensions`
    are the spans in which this process did not run, as all of them have seen them.
    """

    def __init__(
        self,
        *,
        fetch: "Fetch | None" = None,
        fetch_fresh: "Fetch | None" = None,
        fast_path: Path | None = None,
        suspensions: Suspensions | None = None,
    ) -> None:
        self.fetch = fetch
        self.fetch_fresh = fetch_fresh
        self.fast_path = fast_path
        self.suspensions = suspensions or Suspensions()


class Collector:
    """Fan-in: runs a crawl and yields its results, judged, in batches.

    A batch holds the results since the previous one. After the first of them it waits
    `gather` seconds for more: larger batches cost less per check. Once `batches` has ended
    or was closed, nothing is running.
    """

    def __init__(
        self, entries: Entries, fetching: Fetching, limits: Limits, *, gather: float = 0.0
    ) -> None:
        self.stop = asyncio.Event()
        self.limits = limits
        self.suspensions = fetching.suspensions
        self.scheduler = Scheduler(
            fetching.fetch,
            limits,
            self._accept_results,
            self.stop,
            fetch_fresh=fetching.fetch_fresh,
            fast_path=fetching.fast_path,
        )
        self._entries = entries
        self._gather = gather
        self._ready_at = min(_BATCH, limits.max)
        self._capacity = 2 * limits.max
        self._finished: list[Result] = []
        self._ended = False
        self._available = asyncio.Event()  # there is a result, or there will be no more
        self._ready = asyncio.Event()  # a batch is large enough, or the crawl is over
        self._has_room = asyncio.Event()

    async def batches(self) -> AsyncGenerator[list[Check], None]:
        """Yield all checks, then raise the exception that ended the entries, if any."""
        scheduling = asyncio.create_task(self._schedule())
        try:
            while batch := await self._next_batch():
                yield [Check(result=result, verdict=judge(result)) for result in batch]
            if exc := await scheduling:
                raise exc
        finally:
            scheduling.cancel()
            await asyncio.wait((scheduling,))

    async def _schedule(self) -> Exception | None:
        try:
            entries = self._entries
            await self.scheduler.run(
                entries.entries(), has_end=entries.has_end, bytes_read=entries.bytes_read
            )
        except Exception as exc:
            return exc
        finally:
            self._ended = True
            self._available.set()
            self._ready.set()
        return None

    async def _accept_results(self, results: Sequence[Result]) -> None:
        while len(self._finished) >= self._capacity:
            self._has_room.clear()
            await self._has_room.wait()
        self._finished.extend(results)
        self._available.set()
        if len(self._finished) >= self._ready_at:
            self._ready.set()

    async def _next_batch(self) -> list[Result]:
        """Wait for a result and return all that are queued; an empty batch is the end."""
        await self._available.wait()
        if self._gather and not self._ready.is_set():
            timer = asyncio.get_running_loop().call_later(self._gather, self._ready.set)
            await self._ready.wait()
            timer.cancel()
        batch, self._finished = self._finished[:_BATCH], self._finished[_BATCH:]
        if not self._ended:
            if not self._finished:
                self._available.clear()
            if len(self._finished) < self._ready_at:
                self._ready.clear()
        self._has_room.set()
        return batch
