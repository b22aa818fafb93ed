"""Two requests for one URL: which answer counts, and what is no second request but a retry."""

from typing import Any

import pytest
from bench import WARM, Bench, hedging, warmed
from clocks import FakeClock, Step, error, status
from samples import Try, on, run, tries

from crawler.models import ErrorKind, Outcome, Result


async def slow(bench: Bench) -> Result:
    """Return the result of the one URL that is slow enough for a second request."""
    return (await bench.crawl(warmed(bench.clock, on("a", WARM))))[WARM]


# A second request that has not started when the first ends

NO_SLOT: dict[str, dict[str, Any]] = {
    "in all": {"max": 1},
    "of the host": {"per_host": 1},
    "for the rate": {"host_rate": 0.2},
}


@pytest.mark.parametrize("bound", NO_SLOT)
@pytest.mark.parametrize("step", [error(seconds=3), status(503, 3)], ids=["reset", "503"])
def test_a_second_request_without_a_slot_is_no_hidden_retry(step: Step, bound: str) -> None:
    async def body() -> None:
        bench = hedging({WARM: [step, status(200, 0.1)]}, **NO_SLOT[bound])
        result = await slow(bench)
        assert len(bench.web.of(WARM)) == 1
        assert (result.outcome, result.attempt.status) == (
            step.answer(on("a")).outcome,
            result.attempt.status,
        )
        assert result.attempt.status != 200
        assert (result.attempts, result.earlier, result.hedged) == (1, (), False)

    run(body())


@pytest.mark.parametrize("bound", NO_SLOT)
def test_what_follows_a_second_request_that_was_withdrawn_is_counted_as_a_retry(
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


def test_what_was_withdrawn_takes_nothing_from_the_budget() -> None:
    async def body() -> None:
        steps = {WARM: [error(seconds=3)], WARM + 1: [status(200, 60), status(200, 0.1)]}
        bench = hedging(steps, hedge_budget=0.04, per_host=1)  # one of 31 requests
        results = await bench.crawl(
            warmed(bench.clock, on("a", WARM), on("b", WARM + 1), on("b", WARM + 2))
        )
        assert not results[WARM].hedged
        assert bench.scheduler._sender._hedging._quota.hedges == len(bench.web.hedges)

    run(body())


# The first good answer


@pytest.mark.parametrize(
    "bad",
    [status(503, 1), status(429, 1), status(500, 1), error(seconds=1)],
    ids=["503", "429", "500", "reset"],
)
@pytest.mark.parametrize("which", ["first", "second"])
def test_a_failure_that_may_pass_does_not_cancel_the_other_request(which: str, bad: Step) -> None:
    async def body() -> None:
        steps = [bad, status(200, 5)] if which == "first" else [status(200, 5), bad]
        bench = hedging({WARM: steps}, retries=3)
        result = await slow(bench)
        assert len(bench.web.of(WARM)) == 2
        assert (result.attempt.status, result.attempts, result.earlier) == (200, 1, ())
        assert result.hedged

    run(body())


def test_an_answer_that_stays_bad_cancels_the_other_request() -> None:
    async def body() -> None:
        bench = hedging({WARM: [status(200, 60), status(404, 1)]})
        result = await slow(bench)
        first, second = bench.web.of(WARM)
        assert (result.attempt.status, first.end) == (404, second.end)

    run(body())


def test_two_failures_that_may_pass_are_one_attempt() -> None:
    async def body() -> None:
        steps = [status(503, 5), status(500, 1), status(200, 0.05)]
        bench = hedging({WARM: steps}, retries=1)
        result = await slow(bench)
        assert len(bench.web.of(WARM)) == 3
        assert (result.attempt.status, result.attempts) == (200, 2)
        assert tries(result) == (Try(method="GET", status=503),)

    run(body())


def test_the_pause_that_one_of_two_answers_asks_for_is_kept_while_the_other_is_waited_for() -> None:
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


def test_an_attempt_that_waits_for_its_host_is_not_slow() -> None:
    """It waits for b, which asked for a pause; its own requests take a tenth of a second."""

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
def test_a_request_that_waits_for_its_host_is_withdrawn_with_the_answer_of_the_other(
    closing: float,
) -> None:
    """All slots are free again afterwards, and nothing of it stays behind."""

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
