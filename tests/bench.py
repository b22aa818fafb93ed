"""A script and limits in, a crawl by a clock of its own out, whose results end in a list."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

from clocks import FakeClock, Script, Step, Web, quiet, scripted
from samples import listed, on

from crawler.engine.schedule import Scheduler
from crawler.models import Limits, Result, Target

Entry = Target | Result
WARM = 30
"""How many requests are answered before those that a test of slow ones is about."""


class Bench:
    """A crawl by a clock of its own, over a scripted web; its results end in a list.

    Giving a result away takes `taken` seconds.
    """

    def __init__(
        self,
        script: Script,
        *,
        clock: FakeClock | None = None,
        closing: float = 0.0,
        taken: float = 0.0,
        fresh: bool = True,
        **limits: Any,
    ) -> None:
        self.clock = clock or FakeClock()
        self.web = Web(self.clock, script, closing)
        self.results: list[Result] = []
        self.at: dict[int, float] = {}
        self.stop = asyncio.Event()
        self.limits = Limits(**limits)
        self.scheduler = Scheduler(
            self.web,
            self.limits,
            self._emit,
            self.stop,
            fetch_fresh=self.web.fresh if fresh else None,
            clock=self.clock,
        )
        self._taken = taken

    async def _emit(self, result: Result) -> None:
        if self._taken:
            await self.clock.sleep(self._taken)
        self.results.append(result)
        self.at[result.target.index] = self.clock.now

    def start(self, entries: Iterable[Entry] | AsyncGenerator[Entry, None]) -> asyncio.Task[None]:
        if not isinstance(entries, AsyncGenerator):
            entries = listed(entries)
        return asyncio.create_task(self.scheduler.run(entries))

    async def finish(self, crawl: asyncio.Task[None]) -> dict[int, Result]:
        """Return the results by index, once it is sure that each entry read has one."""
        await self.clock.finish(crawl)
        await quiet()
        found = Counter(result.target.index for result in self.results)
        assert found == Counter(range(self.scheduler.read))
        assert self.scheduler.in_flight == 0
        assert self.web.most <= self.limits.max
        assert self.web.most_on_a_host <= self.limits.per_host
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return {result.target.index: result for result in self.results}

    async def crawl(
        self, entries: Iterable[Entry] | AsyncGenerator[Entry, None]
    ) -> dict[int, Result]:
        return await self.finish(self.start(entries))


def many(count: int, host: str = "a", first: int = 0) -> list[Target]:
    return [on(host, index) for index in range(first, first + count)]


async def warmed(
    clock: FakeClock, *rest: Target, count: int = WARM, pause: float = 100.0
) -> AsyncGenerator[Entry, None]:
    """Yield targets on the host "a", and after a while the others."""
    for one in many(count):
        yield one
    await clock.sleep(pause)
    for one in rest:
        yield one


def hedging(steps: Mapping[int, Iterable[Step]], **fields: Any) -> Bench:
    """Return a bench on which each answer takes 0.1 s but what `steps` says."""
    known: dict[str, Any] = {"hedge_budget": 1.0, "retries": 0, "max": 50, "per_host": 50}
    return Bench(scripted(steps), **(known | fields))
