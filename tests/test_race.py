"""A request and its hedge: which of them counts, and what is a retry instead."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Any

import pytest
from bench import WARM, Bench, Entry, hedging, in_flight_at, many, warmed
from clocks import FakeClock, Step, error, status
from samples import Try, on, responded, run, target, tries

from crawler.engine.schedule import Scheduler
from crawler.models import Attempt, ErrorKind, Outcome, Result, Target


async def slow(bench: Bench) -> Result:
    """Return the result of the only URL that is slow enough for a hedge."""
    return (await bench.crawl(warmed(bench.clock, on("a", WARM))))[WARM]


# A hedge that has not started when the first request ends

NO_SLOT: dict[str, dict[str, Any]] = {
    "in all": {"max": 1},
    "of the host": {"per_host": 1},
    "for the rate": {"host_rate": 0.2},
}


@pytest.mark.parametrize("bound", NO_SLOT)
@pytest.mark.parametrize("step", [error(seconds=3), status(503, 3)], ids=["reset", "503"])
def test_a_hedge_without_a_slot_is_not_a_hidden_retry(step: Step, bound: str) -> None:
    async def body() -> None:
        bench = hedging({WARM: [step, status(200, 0.1)]}, **NO_SLOT[bound])
        result = await slow(bench)
        assert len(bench.web.of(WARM)) == 1
        assert (result.outcome, result.attempt.status) == (
            step.respond(on("a")).outcome,
            result.attempt.status,
        )
        assert result.attempt.status != 200
        assert (result.attempts, result.earlier, result.hedged) == (1, (), False)

    run(body())


@pytest.mark.parametrize("bound", NO_SLOT)
def test_a_request_after_a_withdrawn_hedge_counts_as_a_retry(
    bound: str,
) -> None:
    async def body() -> None:
        steps = [error(seconds=3), status(200, 0.1)]
        bench = hedging({WARM: steps}, retries=1, **NO_SLOT[bound])
        result = await slow(bench)
        assert [one.fresh for one in bench.web.of(WARM)] == [False, False]
        assert (result.attempt.status, result.attempts, result.hedged) == (200, 2, False)
        assert tries(result) == (Try(method="GET", kind=ErrorKind.RESET),)

    run(body())


def test_a_withdrawn_hedge_does_not_use_the_quota() -> None:
    async def body() -> None:
        steps = {WARM: [error(seconds=3)], WARM + 1: [status(200, 60), status(200, 0.1)]}
        bench = hedging(steps, hedge_budget=0.04, per_host=1)  # one of 31 requests
        results = await bench.crawl(
            warmed(bench.clock, on("a", WARM), on("b", WARM + 1), on("b", WARM + 2))
        )
        assert not results[WARM].hedged
        sender = bench.scheduler._sender
        assert sender is not None
        assert sender._hedging._quota.hedges == len(bench.web.hedges)

    run(body())


# The first good response


@pytest.mark.parametrize(
    "bad",
    [status(503, 1), status(429, 1), status(500, 1), error(seconds=1)],
    ids=["503", "429", "500", "reset"],
)
@pytest.mark.parametrize("which", ["first", "second"])
def test_a_transient_failure_does_not_cancel_the_other_request(which: str, bad: Step) -> None:
    async def body() -> None:
        steps = [bad, status(200, 5)] if which == "first" else [status(200, 5), bad]
        bench = hedging({WARM: steps}, retries=3)
        result = await slow(bench)
        assert len(bench.web.of(WARM)) == 2
        assert (result.attempt.status, result.attempts, result.earlier) == (200, 1, ())
        assert result.hedged

    run(body())


def test_a_permanent_failure_cancels_the_other_request() -> None:
    async def body() -> None:
        bench = hedging({WARM: [status(200, 60), status(404, 1)]})
        result = await slow(bench)
        first, second = bench.web.of(WARM)
        assert (result.attempt.status, first.end) == (404, second.end)

    run(body())


def test_transient_failures_of_both_requests_are_one_attempt() -> None:
    async def body() -> None:
        steps = [status(503, 5), status(500, 1), status(200, 0.05)]
        bench = hedging({WARM: steps}, retries=1)
        result = await slow(bench)
        assert len(bench.web.of(WARM)) == 3
        assert (result.attempt.status, result.attempts) == (200, 2)
        assert tries(result) == (Try(method="GET", status=503),)

    run(body())


def test_a_retry_after_is_honoured_while_the_other_request_is_awaited() -> None:
    async def body() -> None:
        steps = {WARM: [status(200, 30), status(503, 1, retry_after=9.0)]}
        bench = hedging(steps, clock=FakeClock(0.0), max_wait=60.0)

        async def entries() -> Any:
            async for one in warmed(bench.clock, on("a", WARM)):
                yield one
            await bench.clock.sleep(2)
            yield on("a", WARM + 1)

        results = await bench.crawl(entries())
        paused = bench.web.of(WARM)[1].end
        assert paused is not None
        assert bench.web.of(WARM + 1)[0].at >= paused + 9
        assert [results[index].attempt.status for index in (WARM, WARM + 1)] == [200, 200]

    run(body())


# Redirects


def test_an_attempt_that_waits_for_its_host_is_not_hedged() -> None:
    """It waits for the Retry-After of b; its own requests take a tenth of a second."""

    async def body() -> None:
        steps = {
            WARM: [status(429, 0.02, retry_after=20.0)],
            WARM + 1: [status(200, 0.05, hosts=("b",))],
        }
        bench = hedging(steps, clock=FakeClock(0.0))
        await bench.crawl(warmed(bench.clock, on("b", WARM), on("a", WARM + 1)))
        assert bench.web.hedges == []
        assert bench.at[WARM + 1] > 120

    run(body())


@pytest.mark.parametrize("closing", [0.0, 0.5])
def test_a_request_that_waits_for_its_host_is_withdrawn_after_the_response_to_the_other(
    closing: float,
) -> None:
    """All slots are free again afterwards, and nothing is left over."""

    async def body() -> None:
        steps = {
            WARM: [status(200, 5), status(200, 0.05, hosts=("b",))],
            WARM + 1: [status(429, 0.02, retry_after=50.0)],
        }
        bench = hedging(steps, clock=FakeClock(0.0), max=4, per_host=4, closing=closing)

        async def entries() -> Any:
            async for one in warmed(bench.clock, on("b", WARM + 1), on("a", WARM)):
                yield one
            await bench.clock.sleep(20)
            for index in range(4):
                yield on("a", WARM + 2 + index)

        results = await bench.crawl(entries())
        last = {bench.web.of(WARM + 2 + index)[0].at for index in range(4)}
        assert len(last) == 1
        assert results[WARM].outcome is Outcome.RESPONDED
        assert [host for host, at in bench.web.sent if host == "b"] == ["b"]
        assert len(bench.scheduler._lanes) == 0

    run(body())


# Two requests in flight


def test_the_first_of_two_responses_wins_and_the_other_request_is_cancelled() -> None:
    async def body() -> None:
        bench = hedging({WARM: [status(200, 60), status(201, 1)]})
        result = (await bench.crawl(warmed(bench.clock, on("a", WARM))))[WARM]
        first, second = bench.web.of(WARM)
        assert (first.fresh, second.fresh) == (False, True)
        assert second.at - first.at == pytest.approx(0.1, rel=0.05)
        assert second.end is not None
        assert first.end == second.end == second.at + 1
        assert (first.responded_to, second.responded_to) == (False, True)
        assert (result.attempt.status, result.attempt.latency, result.hedged, result.attempts) == (
            201,
            1,
            True,
            1,
        )
        assert tries(result) == ()

    run(body())


def test_a_response_to_the_first_request_cancels_the_hedge() -> None:
    async def body() -> None:
        bench = hedging({WARM: [status(200, 2), status(201, 60)]})
        result = (await bench.crawl(warmed(bench.clock, on("a", WARM))))[WARM]
        first, second = bench.web.of(WARM)
        assert first.end == second.end == first.at + 2
        assert (first.responded_to, second.responded_to) == (True, False)
        assert (result.attempt.status, result.attempt.latency, result.hedged, result.attempts) == (
            200,
            2,
            True,
            1,
        )

    run(body())


def test_exactly_the_hedged_visits_are_recorded_as_hedged() -> None:
    async def body() -> None:
        slow = [on("a", WARM + 2 * index) for index in range(5)]
        fast = [on("a", WARM + 2 * index + 1) for index in range(5)]
        rest = sorted([*slow, *fast], key=lambda one: one.index)
        steps = {one.index: [status(200, 0.05)] for one in fast}
        bench = hedging(steps | {one.index: [status(200, 9)] for one in slow})
        results = await bench.crawl(warmed(bench.clock, *rest))
        hedged = {index for index, result in results.items() if result.hedged}
        assert hedged == {one.index for one in slow} == {one.index for one in bench.web.hedges}

    run(body())


@pytest.mark.parametrize(
    "steps",
    [
        [error(seconds=2), status(200, 5)],
        [status(200, 5), error(seconds=2)],
    ],
    ids=["of the first", "of the second"],
)
def test_after_an_error_of_one_request_the_other_is_awaited(steps: list[Step]) -> None:
    async def body() -> None:
        bench = hedging({WARM: steps}, retries=1)
        result = (await bench.crawl(warmed(bench.clock, on("a", WARM))))[WARM]
        assert len(bench.web.of(WARM)) == 2
        assert (result.attempt.status, result.attempts, result.earlier) == (200, 1, ())
        assert result.hedged

    run(body())


def test_errors_of_both_requests_are_one_failure() -> None:
    async def body() -> None:
        steps = [error(seconds=2), error(ErrorKind.TIMEOUT, seconds=5), status(200, 0)]
        bench = hedging({WARM: steps}, retries=1)
        result = (await bench.crawl(warmed(bench.clock, on("a", WARM))))[WARM]
        assert len(bench.web.of(WARM)) == 3
        assert (result.attempt.status, result.attempts, len(result.earlier)) == (200, 2, 1)

    run(body())


def test_a_stop_while_the_hedge_is_awaited_keeps_the_error_of_the_first_request() -> None:
    async def body() -> None:
        steps = [status(503, 0.05), error(seconds=2), status(200, 60)]
        bench = hedging({WARM: steps}, retries=1, clock=FakeClock(0.0))
        crawl = bench.start(warmed(bench.clock, on("a", WARM)))
        await bench.clock.advance(110)
        bench.stop.set()
        result = (await bench.finish(crawl))[WARM]
        assert len(bench.web.of(WARM)) == 3
        assert result.attempt.error is not None
        assert result.attempts == 2
        assert tries(result) == (Try(method="GET", status=503),)
        assert result.hedged

    run(body())


@pytest.mark.parametrize("bound", ["max", "per_host"])
def test_a_hedge_waits_for_a_slot_and_is_not_sent_after_the_response(
    bound: str,
) -> None:
    async def body() -> None:
        bench = hedging({WARM: [status(200, 9)]}, **{bound: 1})
        results = await bench.crawl(warmed(bench.clock, on("a", WARM)))
        assert [one.index for one in bench.web.requests].count(WARM) == 1
        assert not results[WARM].hedged

    run(body())


HARD: dict[str, tuple[dict[str, Any], list[Step]]] = {
    "final": ({}, [status(200, 60), status(200, 1)]),
    "retried": ({"retries": 1}, [status(200, 60), status(500, 1), status()]),
    "deferred": ({"confirm_after": 900.0}, [status(200, 60), status(500, 1), status()]),
    "HEAD refused": ({"head_first": True}, [status(200, 60), status(405, 1), status()]),
    "error, retried": ({"retries": 1}, [error(seconds=5), error(seconds=2), status()]),
}
"""How a race may end: limits, and the steps of its two requests."""


@pytest.mark.parametrize("closing", [0.0, 0.5], ids=["at once", "slowly"])
@pytest.mark.parametrize("end", HARD)
def test_all_slots_are_free_again_after_a_race(end: str, closing: float) -> None:
    async def body() -> None:
        limits, steps = HARD[end]
        slow = [target(WARM + index, url=f"https://a/{index}", method="HEAD") for index in range(3)]

        async def entries() -> AsyncGenerator[Entry, None]:
            async for one in warmed(bench.clock, *slow):
                yield one
            await bench.clock.sleep(200)
            for one in many(6, "a", first=WARM + 3):
                yield one

        script: dict[int, Iterable[Step]] = {one.index: steps for one in slow}
        script |= {WARM + 3 + index: [status(200, 0.05)] for index in range(6)}
        bench = hedging(script, closing=closing, max=6, per_host=6, **limits)
        results = await bench.crawl(entries())
        assert len(bench.web.hedges) >= 3
        last = bench.web.of(WARM + 8)[0].at
        assert last == bench.web.of(WARM + 3)[0].at
        assert in_flight_at(bench.web, "a", last) == 6
        assert [results[one.index].attempt.status for one in slow] == [200] * 3

    run(body())


def test_a_result_does_not_wait_for_a_cancelled_request_to_end() -> None:
    async def body() -> None:
        steps = [status(200, 60), status(405, 1), error(seconds=0), status(200, 0.05)]
        head = target(WARM, method="HEAD")
        bench = hedging({WARM: steps}, closing=0.5, head_first=True, retries=1)
        result = (await bench.crawl(warmed(bench.clock, head)))[WARM]
        assert [one.target.method for one in bench.web.of(WARM)] == ["HEAD", "HEAD", "GET", "GET"]
        assert (result.attempt.status, result.attempts) == (200, 3)

    run(body())


@pytest.mark.parametrize("end", ["response", "exception"])
def test_a_cancelled_request_that_ends_otherwise_gives_no_second_result(end: str) -> None:
    async def body() -> None:
        async def stubborn(of: Target, _gate: object = None) -> Attempt:
            try:
                return await bench.web(of)
            except asyncio.CancelledError:  # e.g. closing a connection fails
                if end == "exception":
                    raise OSError("closing failed") from None
                return responded(of, status=500).attempt

        bench = hedging({WARM: [status(200, 60), status(201, 1)]})
        bench.scheduler = Scheduler(
            stubborn,
            bench.limits,
            bench._emit,
            bench.stop,
            fetch_fresh=bench.web.fresh,
            clock=bench.clock,
        )
        results = await bench.crawl(warmed(bench.clock, on("a", WARM), on("a", WARM + 1)))
        assert [results[index].attempt.status for index in (WARM, WARM + 1)] == [201, 200]

    run(body())


@pytest.mark.parametrize("how", ["stop", "deadline"])
def test_no_timer_is_left_after_the_end(how: str) -> None:
    async def body() -> None:
        limits: dict[str, Any] = {"deadline": 100.05} if how == "deadline" else {}
        bench = hedging({WARM: [status(200, 60)]}, **limits)
        crawl = bench.start(warmed(bench.clock, on("a", WARM)))
        await bench.clock.advance(100.05)
        bench.stop.set()
        results = await bench.finish(crawl)
        assert results[WARM].outcome is Outcome.UNREACHED
        assert bench.clock.next is None

    run(body())
