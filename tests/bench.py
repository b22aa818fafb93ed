"""A script and limits -> a crawl by a fake clock, whose results end in a list."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any

from clocks import FakeClock, Script, Step, Web, error, quiet, scripted, status
from samples import listed, on, run

from crawler.engine.schedule import Scheduler
from crawler.models import ErrorKind, Limits, Result, Target

Entry = Target | Result
WARM = 30
"""Requests that have their response before the ones that a hedging test is about."""


class Bench:
    """A crawl by a fake clock, over a scripted web; its results end in a list.

    Emitting a result takes `taken` seconds.
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

    async def _emit(self, results: Sequence[Result]) -> None:
        for result in results:
            if self._taken:
                await self.clock.sleep(self._taken)
            self.results.append(result)
            self.at[result.target.index] = self.clock.now

    def start(self, entries: Iterable[Entry] | AsyncGenerator[Entry, None]) -> asyncio.Task[None]:
        if not isinstance(entries, AsyncGenerator):
            entries = listed(entries)
        return asyncio.create_task(self.scheduler.run(entries))

    async def finish(self, crawl: asyncio.Task[None]) -> dict[int, Result]:
        """Return the results by index, after checking that each entry read has one."""
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
    """Return a bench on which each response takes 0.1 s except those of `steps`."""
    known: dict[str, Any] = {"hedge_budget": 1.0, "retries": 0, "max": 50, "per_host": 50}
    return Bench(scripted(steps), **(known | fields))


TRANSIENT_KINDS = {
    *(ErrorKind.DNS_TEMPORARY, ErrorKind.CONNECT_REFUSED, ErrorKind.UNREACHABLE),
    *(ErrorKind.RESET, ErrorKind.DISCONNECTED, ErrorKind.TIMEOUT),
}


TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}


KEY = {kind.value: error(kind) for kind in ErrorKind if kind is not ErrorKind.INVALID_URL}


KEY |= {
    f"{code}": status(code)
    for code in (*sorted(TRANSIENT_STATUSES), 400, 401, 403, 404, 405, 410, 501, 505)
}
"""A step for every error kind and many failing statuses, by name."""


def is_transient(name: str) -> bool:
    return name in {str(code) for code in TRANSIENT_STATUSES} | {
        kind.value for kind in TRANSIENT_KINDS
    }


def alone(script: Script | Sequence[Step], of: Target | None = None, **limits: Any) -> Result:
    """Return the result of a single target."""

    async def body() -> Result:
        known = script if callable(script) else scripted({0: script})
        return (await Bench(known, **limits).crawl([of or on("a")]))[0]

    return run(body())


def in_flight_at(web: Web, host: str, when: float) -> int:
    """Return how many requests of a host were in flight at a time."""
    started = [one for one in web.requests if one.target.host == host and one.at <= when]
    return sum(one.end is None or one.end > when for one in started)
