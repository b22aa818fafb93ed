"""Simulated latencies through the scheduler -> its makespan, and waits with and without hedges.

Latencies are lognormal, and one in a hundred is a straggler. They belong to the order of
asking, not to URLs: whatever the scheduler does next takes what the next one takes, so that
no choice of its own makes the work longer or shorter, and it can be held against a greedy
scheduler without any cost of its own that is given the same latencies.

A straggler that happens to come last makes every scheduler miss the lower bound that does
not know it beforehand. So the makespan that is held against that bound is one where no
straggler comes in the last third of the list; the share of stragglers is the same. Where
they come anywhere, which is where waits are looked at, the greedy one is the measure.
"""

import asyncio
import math
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from pathlib import Path
from random import Random

from benchmarks.clients import event_loop
from crawler.engine.schedule import Scheduler
from crawler.models import Attempt, Expectation, Limits, Result, Target

CONCURRENCIES = (10, 100, 1_000)
HOSTS = 300
MEDIAN = 0.1  # seconds
SIGMA = 0.5  # of the logarithm: p95 is 2.3 times the median, p99 3.2 times
STRAGGLERS = 0.01  # share of the requests
BUDGET = 0.02  # of `--hedge-budget`, as it is by default
_EXPECTATION = Expectation()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests in the order of asking, by their latencies in seconds; `again` for second ones."""

    concurrency: int
    hosts: int
    latencies: Sequence[float]
    again: Sequence[float]

    @property
    def shape(self) -> str:
        """Concurrency and hosts in words."""
        return f"{self.concurrency:,} at once, {self.hosts} host{'s' * (self.hosts > 1)}"

    @property
    def bound(self) -> float:
        """Seconds that no scheduler can be quicker than."""
        return max(sum(self.latencies) / self.concurrency, max(self.latencies))

    @property
    def greedy(self) -> float:
        """Seconds that it takes to start each one in turn as soon as a place is free."""
        free = [0.0] * self.concurrency
        end = 0.0
        for latency in self.latencies:
            done = free[0] + latency
            heapreplace(free, done)
            end = max(end, done)
        return end


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    """What came of a load: seconds, what all URLs waited in order of size, and what was sent.

    A wait is as the user has it: from the first request for a URL to its result. `kept` is
    how long this process could have run but other ones had the cores, None off Linux.
    """

    load: Load
    makespan: float
    cpu: float
    kept: float | None
    waits: Sequence[float]
    requests: int
    hedges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """Loads without late stragglers; loads with stragglers anywhere, without and with hedges."""

    straggler: float
    even: Sequence[Paced]
    anywhere: Sequence[tuple[Paced, Paced]]


def play(
    seconds: float,
    straggler: float,
    *,
    concurrencies: Sequence[int] = CONCURRENCIES,
    seed: int = 1,
) -> Played:
    """Run loads of about so many seconds each, on many hosts and once on one.

    The same `seed` makes the same loads.
    """
    shapes = [(concurrency, HOSTS) for concurrency in concurrencies]
    shapes.append((sorted(concurrencies)[len(concurrencies) // 2], 1))
    even: list[Paced] = []
    anywhere: list[tuple[Paced, Paced]] = []
    for concurrency, hosts in shapes:
        chance = Random(seed)  # noqa: S311 - nothing secret
        count = round(seconds * concurrency / _mean(straggler))
        again = latencies(count, straggler, chance)
        early = latencies(count, straggler, chance, within=2 / 3)
        load = Load(concurrency=concurrency, hosts=hosts, latencies=early, again=again)
        even.append(_run(load, "no late straggler"))
        late = latencies(count, straggler, chance)
        load = Load(concurrency=concurrency, hosts=hosts, latencies=late, again=again)
        anywhere.append((_run(load, "no hedges"), _run(load, "hedges", BUDGET)))
    return Played(straggler=straggler, even=even, anywhere=anywhere)


def latencies(count: int, straggler: float, chance: Random, *, within: float = 1.0) -> list[float]:
    """Return seconds for so many requests; stragglers are among the first part of them only."""
    drawn = [chance.lognormvariate(math.log(MEDIAN), SIGMA) for _ in range(count)]
    for place in chance.sample(range(int(count * within)), round(count * STRAGGLERS)):
        drawn[place] = straggler
    return drawn


def _mean(straggler: float) -> float:
    return (1 - STRAGGLERS) * MEDIAN * math.exp(SIGMA**2 / 2) + STRAGGLERS * straggler


def _run(load: Load, name: str, budget: float = 0.0) -> Paced:
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if event_loop() == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        paced = runner.run(_paced(load, budget))
    told = f"{paced.makespan:.2f} s for {load.bound:.2f} s at least"
    line = f"pacing, {load.shape}, {name}: {told}"
    print(line, file=sys.stderr, flush=True)
    return paced


async def _paced(load: Load, budget: float) -> Paced:
    first, again = iter(load.latencies), iter(load.again)
    begun: dict[int, float] = {}
    waits: list[float] = []
    sent = [0, 0]

    async def answer(target: Target, latency: float) -> Attempt:
        start = time.perf_counter()
        await asyncio.sleep(latency)
        taken = time.perf_counter() - start
        return Attempt(
            status=200,
            size=0,
            latency=taken,
            ttfb=taken,
            final_url=target.url,
        )

    async def fetch(target: Target, _gate: object = None) -> Attempt:
        sent[0] += 1
        begun[target.index] = time.perf_counter()
        return await answer(target, next(first))

    async def fetch_fresh(target: Target, _gate: object = None) -> Attempt:
        sent[1] += 1
        return await answer(target, next(again))

    async def emit(result: Result) -> None:
        waits.append(time.perf_counter() - begun.pop(result.target.index))

    limits = Limits(max=load.concurrency, per_host=load.concurrency, retries=0, hedge_budget=budget)
    fresh = fetch_fresh if budget else None
    scheduler = Scheduler(fetch, limits, emit, asyncio.Event(), fetch_fresh=fresh)
    kept, cpu, start = _kept(), time.process_time(), time.perf_counter()
    await scheduler.run(_listed(targets(len(load.latencies), load.hosts)))
    makespan, cpu = time.perf_counter() - start, time.process_time() - cpu
    kept_since = _kept()
    return Paced(
        load=load,
        makespan=makespan,
        cpu=cpu,
        kept=None if kept is None or kept_since is None else kept_since - kept,
        waits=sorted(waits),
        requests=sum(sent),
        hedges=sent[1],
    )


def targets(count: int, hosts: int) -> Iterator[Target]:
    """Yield targets on hosts in no order."""
    chance = Random(count)  # noqa: S311 - nothing secret
    for index in range(count):
        host = f"host{chance.randrange(hosts)}.example"
        url = f"https://{host}/{index}"
        yield Target(
            index=index,
            source="pacing",
            line=index + 1,
            input=url,
            url=url,
            host=host,
            expectation=_EXPECTATION,
            method="GET",
        )


def _kept() -> float | None:
    """Return the seconds for which this process's first thread has waited for a core."""
    try:
        return int(Path("/proc/self/schedstat").read_text("ascii").split()[1]) / 1e9
    except OSError:
        return None


async def _listed(entries: Iterator[Target]) -> AsyncGenerator[Target | Result, None]:
    for entry in entries:
        yield entry
