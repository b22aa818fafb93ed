"""When a request is hedged, and how many of them."""

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

import pytest
from bench import KEY, WARM, Bench, Entry, hedging, many, warmed
from clocks import Step, status
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import on, run, steady, target

from crawler.engine.schedule import Scheduler
from crawler.models import Attempt, Limits, Result, Target


def test_a_response_received_while_the_process_was_suspended_is_not_hedged() -> None:
    async def body() -> None:
        def script(of: Target, _before: int) -> Step:
            if of.index == WARM:
                bench.clock.call_at(bench.clock.now + 0.05, stop)
            return status(200, 0.15 if of.index == WARM else 0.1)

        def stop() -> None:
            bench.clock.now += 10

        bench = Bench(script, hedge_budget=1.0, retries=0, max=50, per_host=50)
        result = (await bench.crawl(warmed(bench.clock, on("a", WARM))))[WARM]
        assert (result.attempt.status, result.hedged, bench.web.hedges) == (200, False, [])

    run(body())


@pytest.mark.parametrize(
    ("method", "hedged"),
    [("GET", True), ("HEAD", True), ("OPTIONS", False), ("PUT", False), ("POST", False)],
)
def test_only_get_and_head_are_hedged(method: str, hedged: bool) -> None:
    async def body() -> None:
        bench = hedging({WARM: [status(200, 9)]})
        slow = target(WARM, method=method)
        result = (await bench.crawl(warmed(bench.clock, slow)))[WARM]
        assert (result.hedged, len(bench.web.hedges)) == (hedged, int(hedged))

    run(body())


@pytest.mark.parametrize(
    "fields", [{"hedge_budget": 0.0}, {"fresh": False}], ids=["no budget", "no fetch"]
)
def test_without_a_quota_or_a_fetch_for_hedges_nothing_is_hedged(fields: dict[str, Any]) -> None:
    async def body() -> None:
        bench = hedging({WARM: [status(200, 9)]}, **fields)
        results = await bench.crawl(warmed(bench.clock, on("a", WARM)))
        assert not any(result.hedged for result in results.values())
        assert len(bench.web.requests) == WARM + 1

    run(body())


@pytest.mark.parametrize(("count", "hedges"), [(19, 0), (20, 1)])
def test_twenty_responses_are_needed_before_a_request_counts_as_slow(
    count: int, hedges: int
) -> None:
    async def body() -> None:
        bench = hedging({count: [status(200, 9)]})
        await bench.crawl(warmed(bench.clock, on("a", count), count=count))
        assert len(bench.web.hedges) == hedges

    run(body())


def test_requests_in_flight_are_hedged_once_a_percentile_is_known() -> None:
    async def body() -> None:
        bench = hedging({0: [status(200, 60), status(200, 1)]})
        result = (await bench.crawl(many(WARM)))[0]
        first, second = bench.web.of(0)
        assert second.at - first.at < 0.3
        assert result.hedged

    run(body())


def test_a_request_slower_than_the_95th_percentile_is_hedged() -> None:
    async def body() -> None:
        steps: dict[int, Iterable[Step]] = {
            index: [status(200, (index + 1) / 10)] for index in range(100)
        }
        bench = hedging(steps | {100: [status(200, 60)]}, max=1000, per_host=1000)
        # All start at once: a percentile of the first responses would make the others slow.
        await bench.crawl(warmed(bench.clock, on("a", 100), count=100))
        first, second, *_ = bench.web.of(100)
        assert 9.0 <= second.at - first.at <= 10.0

    run(body())


def test_the_percentile_of_all_hosts_applies_until_a_host_has_twenty_responses() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            for one in many(WARM):
                yield one
            await bench.clock.sleep(100)
            yield on("b", WARM)
            await bench.clock.sleep(100)
            for one in many(40, "b", first=WARM + 1):
                yield one
                await bench.clock.sleep(100)
            yield on("b", WARM + 41)

        slow: list[Step] = [status(200, 60)]
        ordinary: list[Step] = [status(200, 3)]
        steps: dict[int, Iterable[Step]] = {WARM: slow, WARM + 41: slow}
        steps |= dict.fromkeys(range(WARM + 1, WARM + 41), ordinary)
        bench = hedging(steps)
        await bench.crawl(entries())
        waits = [bench.web.times(index)[1] for index in (WARM, WARM + 41)]
        assert waits == [pytest.approx(0.1, rel=0.05), pytest.approx(3, rel=0.05)]

    run(body())


class Name(str):
    """A host name that shows whether it is still in use."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("outcome", ["reset", "404"])
def test_hedging_keeps_no_finished_visit_alive(outcome: str) -> None:
    async def body() -> None:
        async def emit(results: Sequence[Result]) -> None:
            """Drop the results."""

        async def entries() -> AsyncGenerator[Entry, None]:
            for index in range(500):
                host = Name("a")
                alive.append(weakref.ref(host))
                one = target(index, host=host)
                del host
                yield one
                del one
            gc.collect()
            left.append(sum(ref() is not None for ref in alive))

        alive: list[weakref.ref[Name]] = []
        left: list[int] = []

        async def fetch(of: Target, _gate: object = None) -> Attempt:
            await asyncio.sleep(0)
            return KEY[outcome].respond(of).attempt

        limits = Limits(max=2, window=5, hedge_budget=0.02, retries=0)
        scheduler = Scheduler(fetch, limits, emit, asyncio.Event(), fetch_fresh=fetch)
        await scheduler.run(entries())
        assert left[0] < 100

    run(body())


def test_a_withdrawn_hedge_leaves_room_in_a_small_window() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            for one in many(WARM):
                yield one
            await bench.clock.sleep(100)
            yield on("a", WARM)
            await bench.clock.sleep(1)
            for one in many(20, "b", first=WARM + 1):
                yield one

        bench = hedging({WARM: [status(200, 9)]}, per_host=1, window=1)
        assert len(await bench.crawl(entries())) == WARM + 21

    run(body())


LATENCIES = st.lists(
    st.one_of(st.floats(0.01, 0.5), st.floats(0.01, 60)), min_size=40, max_size=120
)


@settings(steady, max_examples=50)
@given(
    LATENCIES,
    LATENCIES,
    st.sampled_from([0.01, 0.02, 0.1, 0.5, 1.0]),
    st.integers(2, 20),
    st.integers(1, 20),
    st.integers(1, 3),
)
def test_hedges_never_exceed_their_quota_or_the_slots(
    first: list[float],
    second: list[float],
    budget: float,
    limit: int,
    per_host: int,
    hosts: int,
) -> None:
    async def body() -> None:
        def script(of: Target, before: int) -> Step:
            seconds = (second if before else first)[of.index % len(second if before else first)]
            return status(200, seconds)

        bench = Bench(script, max=limit, per_host=per_host, hedge_budget=budget, retries=0)
        await bench.crawl(on(f"host{index % hosts}", index) for index in range(len(first)))
        hedges = 0
        for number, one in enumerate(bench.web.requests, 1):
            hedges += one.fresh
            assert hedges <= budget * number or not one.fresh
        assert all(len(bench.web.of(index)) <= 2 for index in range(len(first)))
        hedged = {result.target.index for result in bench.results if result.hedged}
        assert hedged == {one.index for one in bench.web.hedges}
        assert bench.clock.next is None

    run(body())


def test_the_load_of_a_slow_site_is_not_doubled() -> None:
    async def body() -> None:
        steps: dict[int, Iterable[Step]] = {
            index: [status(200, 5)] for index in range(WARM, WARM + 400)
        }
        bench = hedging(steps, hedge_budget=0.02)
        await bench.crawl(warmed(bench.clock, *many(400, "a", first=WARM)))
        assert 1 <= len(bench.web.hedges) <= 0.02 * len(bench.web.requests)

    run(body())
