"""Simulated latencies through the scheduler -> its makespan, and waits with and without hedges.

Latencies are lognormal, and one request in a hundred is a straggler. A latency belongs to a
position in the order of requests, not to a URL: the n-th request takes the n-th latency. So
no choice of the scheduler makes the work longer or shorter, and it can be compared with a
greedy scheduler without overhead that is given the same latencies.

If a straggler comes last, any scheduler that does not know it beforehand misses the lower
bound. So the makespan is compared with that bound on loads that have no straggler in the last
third, and the same share of stragglers in all. On loads with stragglers anywhere, on which
waits are measured, it is compared with the greedy scheduler.
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
BUDGET = 0.02  # the default of `--hedge-budget`
_EXPECTATION = Expectation()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The latencies of requests in order, in seconds; `hedge_latencies` are those of hedges."""

    concurrency: int
    hosts: int
    latencies: Sequence[float]
    hedge_latencies: Sequence[float]

    @property
    def shape(self) -> str:
        """The concurrency and the number of hosts, as text."""
        return f"{self.concurrency:,} at once, {self.hosts} host{'s' * (self.hosts > 1)}"

    @property
    def bound(self) -> float:
        """The lower bound of the makespan in seconds."""
        return max(sum(self.latencies) / self.concurrency, max(self.latencies))

    @property
    def greedy(self) -> float:
        """The makespan in seconds if each request starts as soon as a slot is free."""
        free = [0.0] * self.concurrency
        end = 0.0
        for latency in self.latencies:
            done = free[0] + latency
            heapreplace(free, done)
            end = max(end, done)
        return end


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """The results for one load: seconds, sorted waits of all URLs, and numbers of requests.

    A wait lasts from the first request for a URL to its result. `cpu_wait` is how long this
    process was runnable while others used the cores, None off Linux.
    """

    load: Load
    makespan: float
    cpu: float
    cpu_wait: float | None
    waits: Sequence[float]
    requests: int
    hedges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulations:
    """Loads with early stragglers only, and with stragglers anywhere, without and with hedges.

    `straggler` is the latency of a straggler in seconds.
    """

    straggler: float
    early: Sequence[Simulation]
    anywhere: Sequence[tuple[Simulation, Simulation]]


def run(
    seconds: float,
    straggler: float,
    *,
    concurrencies: Sequence[int] = CONCURRENCIES,
    seed: int = 1,
) -> Simulations:
    """Run loads of about `seconds` each, on many hosts and once on one.

    The same `seed` makes the same loads.
    """
    shapes = [(concurrency, HOSTS) for concurrency in concurrencies]
    shapes.append((sorted(concurrencies)[len(concurrencies) // 2], 1))
    early: list[Simulation] = []
    anywhere: list[tuple[Simulation, Simulation]] = []
    for concurrency, hosts in shapes:
        chance = Random(seed)  # noqa: S311 - nothing secret
        count = round(seconds * concurrency / _mean(straggler))
        hedge_latencies = latencies(count, straggler, chance)
        first = latencies(count, straggler, chance, within=2 / 3)
        load = Load(
            concurrency=concurrency, hosts=hosts, latencies=first, hedge_latencies=hedge_latencies
        )
        early.append(_run_load(load, "no late straggler"))
        first = latencies(count, straggler, chance)
        load = Load(
            concurrency=concurrency, hosts=hosts, latencies=first, hedge_latencies=hedge_latencies
        )
        anywhere.append((_run_load(load, "no hedges"), _run_load(load, "hedges", BUDGET)))
    return Simulations(straggler=straggler, early=early, anywhere=anywhere)


def latencies(count: int, straggler: float, chance: Random, *, within: float = 1.0) -> list[float]:
    """Return `count` latencies in seconds; stragglers are in the first part, `within`, only."""
    drawn = [chance.lognormvariate(math.log(MEDIAN), SIGMA) for _ in range(count)]
    for index in chance.sample(range(int(count * within)), round(count * STRAGGLERS)):
        drawn[index] = straggler
    return drawn


def _mean(straggler: float) -> float:
    return (1 - STRAGGLERS) * MEDIAN * math.exp(SIGMA**2 / 2) + STRAGGLERS * straggler


def _run_load(load: Load, name: str, budget: float = 0.0) -> Simulation:
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if event_loop() == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        simulation = runner.run(_simulate(load, budget))
    figure = f"{simulation.makespan:.2f} s, lower bound {load.bound:.2f} s"
    print(f"pacing, {load.shape}, {name}: {figure}", file=sys.stderr, flush=True)
    return simulation


async def _simulate(load: Load, budget: float) -> Simulation:
    first, hedge_latencies = iter(load.latencies), iter(load.hedge_latencies)
    begun: dict[int, float] = {}
    waits: list[float] = []
    sent = [0, 0]

    async def respond(target: Target, latency: float) -> Attempt:
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
        return await respond(target, next(first))

    async def fetch_fresh(target: Target, _gate: object = None) -> Attempt:
        sent[1] += 1
        return await respond(target, next(hedge_latencies))

    async def emit(results: Sequence[Result]) -> None:
        now = time.perf_counter()
        waits.extend(now - begun.pop(result.target.index) for result in results)

    limits = Limits(max=load.concurrency, per_host=load.concurrency, retries=0, hedge_budget=budget)
    fresh = fetch_fresh if budget else None
    scheduler = Scheduler(fetch, limits, emit, asyncio.Event(), fetch_fresh=fresh)
    cpu_wait, cpu, start = _cpu_wait(), time.process_time(), time.perf_counter()
    await scheduler.run(_entries(targets(len(load.latencies), load.hosts)))
    makespan, cpu = time.perf_counter() - start, time.process_time() - cpu
    cpu_wait_after = _cpu_wait()
    return Simulation(
        load=load,
        makespan=makespan,
        cpu=cpu,
        cpu_wait=None if cpu_wait is None or cpu_wait_after is None else cpu_wait_after - cpu_wait,
        waits=sorted(waits),
        requests=sum(sent),
        hedges=sent[1],
    )


def targets(count: int, hosts: int) -> Iterator[Target]:
    """Yield targets on `hosts` hosts in random order."""
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


def _cpu_wait() -> float | None:
    """Return the seconds that this process's main thread has waited for a core."""
    try:
        return int(Path("/proc/self/schedstat").read_text("ascii").split()[1]) / 1e9
    except OSError:
        return None


async def _entries(entries: Iterator[Target]) -> AsyncGenerator[Target | Result, None]:
    for entry in entries:
        yield entry
