"""What is asked again, when, and beside what: the engine's policies, by a clock of our own."""

import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from time import perf_counter
from typing import Any

import pytest
from bench import WARM, Bench, Entry, hedging, many, warmed
from clocks import FakeClock, Script, Step, Web, error, quiet, scripted, status
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import NOON, Try, invalid, listed, on, responded, run, steady, target, tries

from crawler.engine.schedule import Scheduler
from crawler.models import Attempt, ErrorKind, Expectation, Limits, Outcome, Result, Target

MAY_PASS = {
    *(ErrorKind.DNS_TEMPORARY, ErrorKind.CONNECT_REFUSED, ErrorKind.UNREACHABLE),
    *(ErrorKind.RESET, ErrorKind.DISCONNECTED, ErrorKind.TIMEOUT),
}
STATUSES = {408, 425, 429, 500, 502, 503, 504}
KEY = {kind.value: error(kind) for kind in ErrorKind if kind is not ErrorKind.INVALID_URL}
KEY |= {
    f"{code}": status(code) for code in (*sorted(STATUSES), 400, 401, 403, 404, 405, 410, 501, 505)
}
"""A step for every kind of error and many a bad status, by its name."""


def passes_perhaps(name: str) -> bool:
    return name in {str(code) for code in STATUSES} | {kind.value for kind in MAY_PASS}


def alone(script: Script | Sequence[Step], of: Target | None = None, **limits: Any) -> Result:
    """Return what becomes of a single target."""

    async def body() -> Result:
        known = script if callable(script) else scripted({0: script})
        return (await Bench(known, **limits).crawl([of or on("a")]))[0]

    return run(body())


def at_once(web: Web, host: str, when: float) -> int:
    """Return how many requests of a host were under way at a time."""
    asked = [one for one in web.asked if one.target.host == host and one.at <= when]
    return sum(one.end is None or one.end > when for one in asked)


# Retries


@pytest.mark.parametrize("name", KEY)
def test_what_may_pass_is_asked_again_and_nothing_else(name: str) -> None:
    result = alone([KEY[name], status(200)])
    assert result.attempts == (2 if passes_perhaps(name) else 1)
    assert (result.attempt.status == 200) is passes_perhaps(name)


def test_a_success_is_not_asked_again() -> None:
    assert alone([status(200)], retries=3).attempts == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_no_more_retries_are_made_than_were_asked_for(retries: int) -> None:
    result = alone([error()], retries=retries)
    assert result.outcome is Outcome.ERROR
    assert result.attempts == retries + 1
    assert len(result.earlier) == retries


@pytest.mark.parametrize(
    ("method", "attempts"),
    [("GET", 2), ("HEAD", 2), ("OPTIONS", 2), ("PUT", 2), ("DELETE", 2), ("POST", 1), ("PATCH", 1)],
)
def test_only_what_is_idempotent_is_asked_again(method: str, attempts: int) -> None:
    assert alone([status(503)], target(method=method)).attempts == attempts


def test_a_status_that_is_accepted_is_not_asked_again() -> None:
    accepting = target(expectation=Expectation(accept=((200, 299), (503, 503))))
    result = alone([status(503), status(200)], accepting)
    assert (result.attempt.status, result.attempts) == (503, 1)


@pytest.mark.parametrize("code", [403, 429, 503, 999])
def test_a_bot_wall_is_not_provoked_again(code: int) -> None:
    result = alone([status(code, blocked_by="cloudflare"), status(200)], confirm_after=1.0)
    assert (result.attempt.status, result.attempts, result.flaky) == (code, 1, False)


@pytest.mark.parametrize(
    ("chance", "times"),
    [
        (1.0, [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5]),
        (0.5, [0, 0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 30.75, 45.75]),
        (0.0, [0] * 9),
    ],
    ids=["all of it", "half of it", "none of it"],
)
def test_the_back_off_doubles_up_to_its_cap_and_chance_says_how_much_of_it(
    chance: float, times: list[float]
) -> None:
    async def body() -> None:
        clock = FakeClock(chance)
        bench = Bench(scripted({0: [error(seconds=0)]}), clock=clock, retries=8)
        await bench.crawl([on("a")])
        assert bench.web.times(0) == pytest.approx(times)

    run(body())


def test_the_back_off_starts_at_the_end_of_the_attempt() -> None:
    async def body() -> None:
        bench = Bench(scripted({0: [error(seconds=7)]}), clock=FakeClock(1.0), backoff=2.0)
        await bench.crawl([on("a")])
        assert bench.web.times(0) == [0, 9]

    run(body())


@pytest.mark.parametrize("host", ["a", "b"], ids=["same host", "another host"])
def test_a_retry_waits_without_a_slot_and_without_a_place_of_its_host(host: str) -> None:
    async def body() -> None:
        script = scripted({0: [error(), status()]}, status(seconds=1))
        bench = Bench(script, clock=FakeClock(1.0), backoff=20, max=1, per_host=1)
        results = await bench.crawl([on("a"), *many(10, host, first=1)])
        assert max(bench.at[index] for index in range(1, 11)) == pytest.approx(10.1)
        assert bench.at[0] == pytest.approx(20.2)
        assert results[0].attempts == 2

    run(body())


def test_a_retry_does_not_start_where_there_is_no_place() -> None:
    async def body() -> None:
        script = scripted({0: [error(), status()], 1: [status(seconds=50)]})
        bench = Bench(script, clock=FakeClock(1.0), backoff=1, per_host=1)
        await bench.crawl(many(2))
        assert bench.web.times(0) == [0, pytest.approx(50.1)]

    run(body())


def test_the_failures_before_stay_in_the_record() -> None:
    result = alone([error(ErrorKind.TIMEOUT), status(502), status(200, 3)], retries=5)
    assert (result.attempt.status, result.attempts, result.attempt.latency) == (200, 3, 3)
    assert tries(result) == (
        Try(method="GET", kind=ErrorKind.TIMEOUT),
        Try(method="GET", status=502),
    )
    assert (result.flaky, result.hedged) == (False, False)


def test_the_last_failure_is_the_result_and_the_others_are_told() -> None:
    result = alone([status(500), error(ErrorKind.RESET)])
    assert result.attempt.error is not None
    assert result.attempt.error.kind is ErrorKind.RESET
    assert tries(result) == (Try(method="GET", status=500),)


def test_queue_and_timestamp_are_those_of_the_first_attempt() -> None:
    async def body() -> None:
        script = scripted({0: [status(seconds=3)], 1: [error(seconds=2), status()]})
        bench = Bench(script, clock=FakeClock(1.0), backoff=7, max=1)
        result = (await bench.crawl(many(2)))[1]
        assert bench.web.times(1) == [0, 9]
        assert (result.queue, result.timestamp) == pytest.approx((3, NOON + 3))

    run(body())


@pytest.mark.parametrize("name", ["reset", "503"])
def test_a_stop_leaves_what_waits_for_its_retry_with_its_failure(name: str) -> None:
    async def body() -> None:
        bench = Bench(scripted({0: [KEY[name]]}), clock=FakeClock(1.0), retries=5, backoff=10)
        crawl = bench.start([on("a")])
        await bench.clock.advance(15)  # asked at 0 and at 10.1
        bench.stop.set()
        result = (await bench.finish(crawl))[0]
        expected = KEY[name].answer(on("a"))
        assert (result.outcome, result.attempt.status, result.attempt.error) == (
            expected.outcome,
            expected.attempt.status,
            expected.attempt.error,
        )
        assert (result.attempts, len(result.earlier)) == (2, 1)
        assert result.timestamp == NOON

    run(body())


def test_a_stop_within_a_retry_leaves_the_failure_before_it() -> None:
    async def body() -> None:
        script = scripted({0: [status(503), status(200, 100)]})
        bench = Bench(script, clock=FakeClock(0.0))
        crawl = bench.start([on("a")])
        await bench.clock.advance(10)
        assert len(bench.web.asked) == 2
        bench.stop.set()
        result = (await bench.finish(crawl))[0]
        assert (result.attempt.status, result.attempts, result.earlier) == (503, 1, ())

    run(body())


# Retry-After


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("retries", [0, 1])
def test_a_host_that_asks_to_be_left_alone_is_and_the_others_finish(
    code: int, retries: int
) -> None:
    async def body() -> None:
        script = scripted({0: [status(code, retry_after=20.0), status()]})
        bench = Bench(script, clock=FakeClock(0.0), per_host=1, max=2, retries=retries)
        results = await bench.crawl([*many(10, "a"), *many(10, "b", first=10)])
        asked = [one.at for one in bench.web.asked if one.target.host == "a"]
        assert asked[0] == 0
        assert asked[1] == pytest.approx(20.1)
        assert len(asked) == 10 + retries
        assert max(bench.at[index] for index in range(10, 20)) < 1.5
        assert max(bench.at.values()) < 22
        assert [result.attempts for result in results.values() if result.attempts != 1] == (
            [2] * retries
        )

    run(body())


def test_a_host_that_is_left_alone_takes_no_slot() -> None:
    async def body() -> None:
        script = scripted({0: [status(429, retry_after=20.0), status()]})
        bench = Bench(script, clock=FakeClock(0.0), max=1)
        await bench.crawl([*many(10, "a"), *many(5, "b", first=10)])
        assert max(bench.at[index] for index in range(10, 15)) < 5

    run(body())


def test_two_hosts_are_left_alone_each_for_its_own_time() -> None:
    async def body() -> None:
        steps = {0: [status(429, retry_after=20.0)], 1: [status(503, retry_after=5.0)]}
        bench = Bench(scripted(steps), clock=FakeClock(0.0), per_host=1, retries=0)
        await bench.crawl([on("a", 0), on("b", 1), on("a", 2), on("b", 3)])
        assert [bench.web.of(index)[0].at for index in (2, 3)] == pytest.approx([20.1, 5.1])

    run(body())


def test_the_longer_of_two_demands_counts() -> None:
    async def body() -> None:
        steps = {
            0: [status(429, 0.1, retry_after=30.0)],
            1: [status(429, 0.2, retry_after=1.0)],
        }
        bench = Bench(scripted(steps), clock=FakeClock(0.0), per_host=2, retries=0)
        await bench.crawl(many(3))
        assert bench.web.of(2)[0].at == pytest.approx(30.1)

    run(body())


@pytest.mark.parametrize(
    ("asks", "backoff", "chance", "least", "most"),
    [
        (10.0, 0.5, 0.0, 10, 10),
        (10.0, 0.5, 1.0, 10.01, 15),
        (1.0, 8.0, 1.0, 8, 12),
        (0.0, 8.0, 1.0, 8, 12),
        (59.0, 0.5, 1.0, 59.01, 60),
        (60.0, 0.5, 1.0, 60, 60),
    ],
    ids=["exactly", "and some more", "back-off is longer", "nothing", "near the cap", "the cap"],
)
def test_a_host_is_left_alone_as_long_as_it_asks_and_chance_adds_some_up_to_the_cap(
    asks: float, backoff: float, chance: float, least: float, most: float
) -> None:
    async def body() -> None:
        script = scripted({0: [status(429, 0, retry_after=asks), status()]})
        clock = FakeClock(chance)
        bench = Bench(script, clock=clock, backoff=backoff, max_wait=60, per_host=1)
        await bench.crawl(many(2))
        assert least <= bench.web.times(0)[1] <= most + 0.2  # behind the one before it
        assert least <= bench.web.of(1)[0].at <= most + 0.2

    run(body())


def test_a_wait_longer_than_the_longest_is_reported_at_once() -> None:
    async def body() -> None:
        script = scripted({0: [status(429, retry_after=61.0)]})
        bench = Bench(script, per_host=1, retries=3, max_wait=60, confirm_after=5.0)
        results = await bench.crawl(many(3))
        assert (results[0].attempt.status, results[0].attempts) == (429, 1)
        assert results[0].attempt.retry_after == 61
        assert bench.at[0] == pytest.approx(0.1)
        assert bench.clock.now < 1

    run(body())


def test_a_deadline_does_not_wait_for_a_host_that_is_left_alone() -> None:
    async def body() -> None:
        script = scripted({0: [status(429, retry_after=50.0)]})
        bench = Bench(script, per_host=1, deadline=3.0)
        results = await bench.crawl(many(3))
        assert bench.clock.now == 3
        assert (results[0].outcome, results[0].attempt.status) == (Outcome.RESPONDED, 429)
        assert [results[index].outcome for index in (1, 2)] == [Outcome.UNREACHED] * 2

    run(body())


# Places of a host that pushes back


@pytest.mark.parametrize("code", [429, 503])
def test_a_host_that_pushes_back_gets_half_and_recovers_while_others_keep_all(code: int) -> None:
    async def body() -> None:
        steps = {0: [status(code, 0.5)]}
        bench = Bench(scripted(steps, status(seconds=1)), max=100, per_host=8, retries=0)
        entries = [*many(200, "a"), *many(200, "b", first=200)]
        await bench.crawl(entries)
        when = [1.05 + second for second in range(40)]
        halved = [at_once(bench.web, "a", time) for time in when]
        assert at_once(bench.web, "a", 0.2) == 8
        assert max(halved[:1]) <= 4
        assert halved[0] < 8
        growing = halved[: halved.index(8) + 1]
        assert growing == sorted(growing)
        assert all(after - before <= 2 for before, after in pairwise(growing))
        assert [at_once(bench.web, "b", time) for time in when[:20]] == [8] * 20

    run(body())


def test_no_host_is_asked_by_less_than_one_at_a_time() -> None:
    async def body() -> None:
        bench = Bench(scripted({}, status(429)), per_host=8, retries=0)
        results = await bench.crawl(many(50))
        assert len(results) == 50
        assert at_once(bench.web, "a", bench.web.asked[-1].at) == 1

    run(body())


# The deadline


def test_at_the_deadline_nothing_starts_and_what_is_under_way_is_called_off() -> None:
    async def body() -> None:
        bench = Bench(scripted({}, status(seconds=1)), max=2, deadline=2.5)
        results = await bench.crawl(many(100))
        assert bench.clock.now == 2.5
        assert [one.at for one in bench.web.asked] == [0, 0, 1, 1, 2, 2]
        assert [one.answered for one in bench.web.asked] == [True] * 4 + [False] * 2
        expected = [Outcome.RESPONDED] * 4 + [Outcome.UNREACHED] * 96
        assert [results[index].outcome for index in range(100)] == expected
        assert results[5] == Result(target=on("a", 5), outcome=Outcome.UNREACHED)

    run(body())


def test_the_deadline_reads_the_list_to_its_end() -> None:
    async def body() -> None:
        entries: list[Entry] = [*many(1000)]
        for index in range(3, 1000, 7):
            entries[index] = invalid(target(index, url="ftp://a/", host=""))
        bench = Bench(scripted({}, status(seconds=1)), max=2, window=10, deadline=1.5)
        results = await bench.crawl(entries)
        assert len(results) == 1000
        for index in range(4, 1000):
            bad = isinstance(entries[index], Result)
            assert results[index].outcome is (Outcome.INVALID if bad else Outcome.UNREACHED)

    run(body())


def test_a_list_that_comes_slowly_is_read_on_after_the_deadline() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            for one in many(400):
                await bench.clock.sleep(0.01)
                yield one

        bench = Bench(scripted({}), deadline=1.1)
        results = await bench.crawl(entries())
        assert bench.clock.now == pytest.approx(4)
        assert len(results) == 400
        assert max(one.at for one in bench.web.asked) <= 1.1

    run(body())


def test_what_is_read_after_the_deadline_is_given_away_at_once_and_not_kept() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            for one in many(500):
                yield one
                late = bench.clock.now >= 1 and one.index > 20
                kept.append(bench.scheduler.read - len(bench.results) if late else 0)

        kept: list[int] = []
        bench = Bench(scripted({}, status(seconds=9)), max=2, window=10, deadline=1.0)
        assert len(await bench.crawl(entries())) == 500
        assert max(kept) <= 3

    run(body())


async def overrun(bench: Bench, crawl: asyncio.Task[None]) -> float:
    """Let a crawl end whose list or output stands still; return the seconds it really took.

    How long that is waited for is no policy: it may be by either clock.
    """
    start = perf_counter()
    while not crawl.done() and perf_counter() - start < 5:
        if bench.clock.next is None:
            await asyncio.wait((crawl,), timeout=0.05)
        else:
            await bench.clock.advance(bench.clock.next - bench.clock.now)
    return perf_counter() - start


def test_a_list_that_stalls_is_not_waited_for_after_the_deadline() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            for one in many(60):
                yield one
            await asyncio.Event().wait()

        bench = Bench(scripted({}, status(seconds=9)), deadline=5.0)
        crawl = bench.start(entries())
        assert await overrun(bench, crawl) < 3
        assert bench.clock.now <= 7
        results = await bench.finish(crawl)
        assert [result.outcome for result in results.values()] == [Outcome.UNREACHED] * 60

    run(body())


def test_an_output_that_is_slow_is_no_list_that_stalls() -> None:
    async def body() -> None:
        async def emit(result: Result) -> None:
            if not results:
                await asyncio.sleep(1.2)  # longer than a list is waited for
            results.append(result)

        results: list[Result] = []
        clock = FakeClock()
        limits = Limits(max=1, deadline=1.0, window=5)
        web = Web(clock, scripted({}, status(seconds=9)))
        scheduler = Scheduler(web, limits, emit, asyncio.Event(), clock=clock)
        crawl = asyncio.create_task(scheduler.run(listed(many(200))))
        await clock.advance(1.0)
        await crawl
        assert sorted(result.target.index for result in results) == list(range(200))

    run(body())


def test_a_stop_ends_the_reading_that_a_deadline_began() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            for one in many(1000):
                await bench.clock.sleep(0.01)
                yield one

        bench = Bench(scripted({}), deadline=1.1)
        crawl = bench.start(entries())
        await bench.clock.advance(3.005)
        assert not crawl.done()
        bench.stop.set()
        assert len(await bench.finish(crawl)) == 300
        assert bench.clock.now == 3.005

    run(body())


@pytest.mark.parametrize("name", ["timeout", "503"])
def test_what_failed_before_the_deadline_keeps_its_failure(name: str) -> None:
    async def body() -> None:
        script = scripted({0: [KEY[name]], 1: [status(seconds=99)]})
        bench = Bench(script, clock=FakeClock(1.0), backoff=20, deadline=3.0)
        results = await bench.crawl(many(2))
        assert results[0].outcome is KEY[name].answer(on("a")).outcome
        assert (results[0].attempts, results[0].earlier) == (1, ())
        assert results[1].outcome is Outcome.UNREACHED

    run(body())


def test_a_crawl_that_is_through_does_not_wait_for_its_deadline() -> None:
    async def body() -> None:
        bench = Bench(scripted({}), deadline=100.0)
        await bench.crawl(many(5))
        assert bench.clock.now < 1
        assert bench.clock.next is None

    run(body())


def test_a_list_that_breaks_after_the_deadline_raises_too() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            yield on("a")
            await bench.clock.sleep(3)
            raise LookupError("line 2")

        bench = Bench(scripted({}, status(seconds=9)), deadline=2.9)
        crawl = bench.start(entries())
        with pytest.raises(LookupError, match="line 2"):
            await bench.clock.finish(crawl)
        assert [result.outcome for result in bench.results] == [Outcome.UNREACHED]

    run(body())


# The second opinion


def test_a_second_opinion_is_asked_for_once_the_list_is_through() -> None:
    async def body() -> None:
        script = scripted({0: [error(), status(204)], 2: [status(seconds=30)]})
        bench = Bench(script, retries=0, confirm_after=5.0)
        results = await bench.crawl(many(3))
        assert bench.web.times(0) == [0, 35]
        assert (results[0].attempt.status, results[0].flaky, results[0].attempts) == (204, True, 2)
        assert tries(results[0]) == (Try(method="GET", kind=ErrorKind.RESET),)
        assert (results[0].queue, results[0].timestamp) == (0, NOON)
        assert [results[index].flaky for index in (1, 2)] == [False, False]
        assert [len(bench.web.of(index)) for index in range(3)] == [2, 1, 1]

    run(body())


def test_a_list_that_is_still_coming_is_not_through() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            yield on("a", 0)
            await bench.clock.sleep(60)
            yield on("a", 1)

        bench = Bench(scripted({0: [error(), status()]}), retries=0, confirm_after=5.0)
        await bench.crawl(entries())
        assert bench.web.times(0) == [0, pytest.approx(65.1)]

    run(body())


@pytest.mark.parametrize("name", KEY)
def test_only_what_may_pass_gets_a_second_opinion(name: str) -> None:
    result = alone([KEY[name], status(200)], retries=0, confirm_after=5.0)
    assert (result.flaky, result.attempts) == ((True, 2) if passes_perhaps(name) else (False, 1))


def test_what_would_not_be_asked_again_is_reported_before_the_others_are() -> None:
    async def body() -> None:
        script = scripted({0: [status(404)], 1: [error()]})
        bench = Bench(script, retries=0, confirm_after=5.0)
        await bench.crawl(many(2))
        assert bench.at == pytest.approx({0: 0.1, 1: 5.2})

    run(body())


@pytest.mark.parametrize(
    "of",
    [target(method="POST"), target(expectation=Expectation(accept=((503, 503),)))],
    ids=["POST", "accepted"],
)
def test_what_is_no_failure_or_not_idempotent_gets_no_second_opinion(of: Target) -> None:
    result = alone([status(503), status(200)], of, retries=0, confirm_after=5.0)
    assert (result.attempt.status, result.attempts, result.flaky) == (503, 1, False)


@pytest.mark.parametrize("again", ["timeout", "503", "404"])
def test_a_failure_that_is_confirmed_is_not_flaky_and_not_asked_a_third_time(again: str) -> None:
    result = alone([error(), KEY[again]], retries=0, confirm_after=5.0)
    expected = KEY[again].answer(on("a"))
    assert (result.outcome, result.attempt.status) == (expected.outcome, expected.attempt.status)
    assert (result.flaky, result.attempts) == (False, 2)
    assert tries(result) == (Try(method="GET", kind=ErrorKind.RESET),)


def test_the_status_of_a_second_opinion_must_be_an_accepted_one_for_flaky() -> None:
    picky = target(expectation=Expectation(accept=((204, 204),)))
    result = alone([error(), status(200)], picky, retries=0, confirm_after=5.0)
    assert (result.attempt.status, result.flaky) == (200, False)


def test_retries_come_before_the_second_opinion_and_all_are_told() -> None:
    result = alone([error(), status(502), status(200)], retries=1, confirm_after=5.0)
    assert (result.attempts, result.flaky) == (3, True)
    assert tries(result) == (
        Try(method="GET", kind=ErrorKind.RESET),
        Try(method="GET", status=502),
    )


def test_what_a_retry_has_put_right_is_not_flaky() -> None:
    result = alone([error(), status(200)], retries=1, confirm_after=5.0)
    assert (result.attempts, result.flaky) == (2, False)


def test_second_opinions_are_asked_for_one_at_a_time_on_each_host() -> None:
    async def body() -> None:
        script = scripted({}, error(seconds=1))
        bench = Bench(script, max=100, per_host=10, retries=0, confirm_after=5.0)
        await bench.crawl([*many(10, "a"), *many(3, "b", first=10)])
        assert at_once(bench.web, "a", 0.5) == 10
        assert [at_once(bench.web, "a", 6.5 + second) for second in range(11)] == [1] * 10 + [0]
        assert [at_once(bench.web, "b", 6.5 + second) for second in range(4)] == [1] * 3 + [0]

    run(body())


def test_without_failures_nothing_is_waited_for() -> None:
    async def body() -> None:
        bench = Bench(scripted({}), confirm_after=5.0)
        await bench.crawl(many(3))
        assert bench.clock.now < 1

    run(body())


def test_second_opinions_may_be_wanted_at_once() -> None:
    result = alone([error(), status()], retries=0, confirm_after=0.0)
    assert (result.flaky, result.attempts) == (True, 2)


@pytest.mark.parametrize("how", ["stop", "deadline"])
@pytest.mark.parametrize("when", [4.0, 6.5], ids=["before it", "meanwhile"])
def test_an_end_before_the_second_opinion_leaves_the_failure(how: str, when: float) -> None:
    async def body() -> None:
        script = scripted({0: [error(), status(503), status(200, 60)], 1: [status(404)]})
        limits: dict[str, Any] = {"deadline": when} if how == "deadline" else {}
        clock = FakeClock(0.0)
        bench = Bench(script, clock=clock, retries=1, confirm_after=5.0, **limits)
        crawl = bench.start(many(2))
        await bench.clock.advance(when)
        bench.stop.set()
        results = await bench.finish(crawl)
        assert (results[0].attempt.status, results[0].attempts, results[0].flaky) == (503, 2, False)
        assert tries(results[0]) == (Try(method="GET", kind=ErrorKind.RESET),)
        assert results[0].timestamp == NOON
        assert results[1].attempt.status == 404
        assert bench.clock.now == when

    run(body())


def test_a_second_opinion_respects_what_the_host_asked() -> None:
    async def body() -> None:
        script = scripted({0: [status(429, 0, retry_after=30.0), status()]})
        bench = Bench(script, clock=FakeClock(0.0), retries=0, confirm_after=5.0)
        result = (await bench.crawl([on("a")]))[0]
        assert bench.web.times(0) == [0, 30]
        assert result.flaky

    run(body())


# Second requests for slow ones


def test_the_first_of_two_answers_wins_and_the_other_request_is_called_off() -> None:
    async def body() -> None:
        bench = hedging({WARM: [status(200, 60), status(201, 1)]})
        result = (await bench.crawl(warmed(bench.clock, on("a", WARM))))[WARM]
        first, second = bench.web.of(WARM)
        assert (first.fresh, second.fresh) == (False, True)
        assert second.at - first.at == pytest.approx(0.1, rel=0.05)
        assert second.end is not None
        assert first.end == second.end == second.at + 1
        assert (first.answered, second.answered) == (False, True)
        assert (result.attempt.status, result.attempt.latency, result.hedged, result.attempts) == (
            201,
            1,
            True,
            1,
        )
        assert tries(result) == ()

    run(body())


def test_where_the_first_request_is_answered_first_the_second_is_called_off() -> None:
    async def body() -> None:
        bench = hedging({WARM: [status(200, 2), status(201, 60)]})
        result = (await bench.crawl(warmed(bench.clock, on("a", WARM))))[WARM]
        first, second = bench.web.of(WARM)
        assert first.end == second.end == first.at + 2
        assert (first.answered, second.answered) == (True, False)
        assert (result.attempt.status, result.attempt.latency, result.hedged, result.attempts) == (
            200,
            2,
            True,
            1,
        )

    run(body())


def test_hedged_is_what_a_second_request_was_sent_for_and_nothing_else() -> None:
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


def test_a_response_that_came_while_the_process_was_stopped_needs_no_second_request() -> None:
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
def test_only_get_and_head_are_sent_twice(method: str, hedged: bool) -> None:
    async def body() -> None:
        bench = hedging({WARM: [status(200, 9)]})
        slow = target(WARM, method=method)
        result = (await bench.crawl(warmed(bench.clock, slow)))[WARM]
        assert (result.hedged, len(bench.web.hedges)) == (hedged, int(hedged))

    run(body())


@pytest.mark.parametrize(
    "fields", [{"hedge_budget": 0.0}, {"fresh": False}], ids=["no budget", "no fetch"]
)
def test_without_a_budget_or_a_fetch_for_it_nothing_is_sent_twice(fields: dict[str, Any]) -> None:
    async def body() -> None:
        bench = hedging({WARM: [status(200, 9)]}, **fields)
        results = await bench.crawl(warmed(bench.clock, on("a", WARM)))
        assert not any(result.hedged for result in results.values())
        assert len(bench.web.asked) == WARM + 1

    run(body())


@pytest.mark.parametrize(("count", "hedges"), [(19, 0), (20, 1)])
def test_twenty_answers_are_needed_to_know_what_is_slow(count: int, hedges: int) -> None:
    async def body() -> None:
        bench = hedging({count: [status(200, 9)]})
        await bench.crawl(warmed(bench.clock, on("a", count), count=count))
        assert len(bench.web.hedges) == hedges

    run(body())


def test_what_waits_already_when_it_becomes_known_what_is_slow_is_hedged_too() -> None:
    async def body() -> None:
        bench = hedging({0: [status(200, 60), status(200, 1)]})
        result = (await bench.crawl(many(WARM)))[0]
        first, second = bench.web.of(0)
        assert second.at - first.at < 0.3
        assert result.hedged

    run(body())


def test_slow_is_what_takes_longer_than_the_95th_percentile() -> None:
    async def body() -> None:
        steps: dict[int, Iterable[Step]] = {
            index: [status(200, (index + 1) / 10)] for index in range(100)
        }
        bench = hedging(steps | {100: [status(200, 60)]}, max=1000, per_host=1000)
        # All are asked at once: what is known while they come would make some of them slow.
        await bench.crawl(warmed(bench.clock, on("a", 100), count=100))
        first, second, *_ = bench.web.of(100)
        assert 9.0 <= second.at - first.at <= 10.0

    run(body())


def test_a_host_is_measured_by_all_hosts_until_twenty_answers_of_its_own() -> None:
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


@pytest.mark.parametrize(
    "steps",
    [
        [error(seconds=2), status(200, 5)],
        [status(200, 5), error(seconds=2)],
    ],
    ids=["of the first", "of the second"],
)
def test_an_error_of_one_request_waits_for_the_other(steps: list[Step]) -> None:
    async def body() -> None:
        bench = hedging({WARM: steps}, retries=1)
        result = (await bench.crawl(warmed(bench.clock, on("a", WARM))))[WARM]
        assert len(bench.web.of(WARM)) == 2
        assert (result.attempt.status, result.attempts, result.earlier) == (200, 1, ())
        assert result.hedged

    run(body())


def test_two_errors_are_one_failure() -> None:
    async def body() -> None:
        steps = [error(seconds=2), error(ErrorKind.TIMEOUT, seconds=5), status(200, 0)]
        bench = hedging({WARM: steps}, retries=1)
        result = (await bench.crawl(warmed(bench.clock, on("a", WARM))))[WARM]
        assert len(bench.web.of(WARM)) == 3
        assert (result.attempt.status, result.attempts, len(result.earlier)) == (200, 2, 1)

    run(body())


def test_a_stop_while_the_second_request_is_waited_for_leaves_the_error_of_the_first() -> None:
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
def test_a_second_request_waits_for_a_place_and_is_not_sent_when_the_answer_comes_before(
    bound: str,
) -> None:
    async def body() -> None:
        bench = hedging({WARM: [status(200, 9)]}, **{bound: 1})
        results = await bench.crawl(warmed(bench.clock, on("a", WARM)))
        assert [one.index for one in bench.web.asked].count(WARM) == 1
        assert not results[WARM].hedged

    run(body())


HARD: dict[str, tuple[dict[str, Any], list[Step]]] = {
    "final": ({}, [status(200, 60), status(200, 1)]),
    "retried": ({"retries": 1}, [status(200, 60), status(500, 1), status()]),
    "put off": ({"confirm_after": 900.0}, [status(200, 60), status(500, 1), status()]),
    "HEAD refused": ({"head_first": True}, [status(200, 60), status(405, 1), status()]),
    "error, retried": ({"retries": 1}, [error(seconds=5), error(seconds=2), status()]),
}
"""What two requests for the same can lead to: limits, and the steps of those requests."""


@pytest.mark.parametrize("closing", [0.0, 0.5], ids=["at once", "slowly"])
@pytest.mark.parametrize("end", HARD)
def test_all_slots_and_places_are_free_again_after_two_requests_for_the_same(
    end: str, closing: float
) -> None:
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
        assert at_once(bench.web, "a", last) == 6
        assert [results[one.index].attempt.status for one in slow] == [200] * 3

    run(body())


def test_a_failure_does_not_wait_for_a_request_that_was_called_off_and_still_ends() -> None:
    async def body() -> None:
        steps = [status(200, 60), status(405, 1), error(seconds=0), status(200, 0.05)]
        head = target(WARM, method="HEAD")
        bench = hedging({WARM: steps}, closing=0.5, head_first=True, retries=1)
        result = (await bench.crawl(warmed(bench.clock, head)))[WARM]
        assert [one.target.method for one in bench.web.of(WARM)] == ["HEAD", "HEAD", "GET", "GET"]
        assert (result.attempt.status, result.attempts) == (200, 3)

    run(body())


@pytest.mark.parametrize("end", ["answer", "fault"])
def test_a_request_that_ends_otherwise_than_called_off_gives_no_second_result(end: str) -> None:
    async def body() -> None:
        async def stubborn(of: Target, _gate: object = None) -> Attempt:
            try:
                return await bench.web(of)
            except asyncio.CancelledError:  # as where closing a connection fails
                if end == "fault":
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
def test_nothing_is_to_come_after_the_end(how: str) -> None:
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


class Name(str):
    """A host name of which one can know whether it is still in use."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("answer", ["reset", "404"])
def test_hedging_remembers_no_url_that_is_finished(answer: str) -> None:
    async def body() -> None:
        async def emit(result: Result) -> None:
            """The result is nobody's any more."""

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
            return KEY[answer].answer(of).attempt

        limits = Limits(max=2, window=5, hedge_budget=0.02, retries=0)
        scheduler = Scheduler(fetch, limits, emit, asyncio.Event(), fetch_fresh=fetch)
        await scheduler.run(entries())
        assert left[0] < 100

    run(body())


def test_a_small_window_is_not_blocked_by_a_second_request_that_was_not_sent() -> None:
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


latencies = st.lists(
    st.one_of(st.floats(0.01, 0.5), st.floats(0.01, 60)), min_size=40, max_size=120
)


@settings(steady, max_examples=50)
@given(
    latencies,
    latencies,
    st.sampled_from([0.01, 0.02, 0.1, 0.5, 1.0]),
    st.integers(2, 20),
    st.integers(1, 20),
    st.integers(1, 3),
)
def test_hedges_never_exceed_their_budget_nor_the_places(
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
        for number, one in enumerate(bench.web.asked, 1):
            hedges += one.fresh
            assert hedges <= budget * number or not one.fresh
        assert all(len(bench.web.of(index)) <= 2 for index in range(len(first)))
        hedged = {result.target.index for result in bench.results if result.hedged}
        assert hedged == {one.index for one in bench.web.hedges}
        assert bench.clock.next is None

    run(body())


def test_a_slow_site_is_not_doubled() -> None:
    async def body() -> None:
        steps: dict[int, Iterable[Step]] = {
            index: [status(200, 5)] for index in range(WARM, WARM + 400)
        }
        bench = hedging(steps, hedge_budget=0.02)
        await bench.crawl(warmed(bench.clock, *many(400, "a", first=WARM)))
        assert 1 <= len(bench.web.hedges) <= 0.02 * len(bench.web.asked)

    run(body())


# HEAD first


def by_method(**steps: Sequence[Step]) -> Script:
    """Return the script that takes the steps of each method one by one, the last one for ever."""
    taken: Counter[str] = Counter()

    def script(of: Target, before: int) -> Step:
        some = steps[of.method]
        taken[of.method] += 1
        return some[min(taken[of.method], len(some)) - 1]

    return script


HEAD = target(method="HEAD")


@pytest.mark.parametrize("name", [name for name in KEY if name != "429"])
def test_get_is_asked_where_head_is_refused_or_useless_and_nowhere_else(name: str) -> None:
    script = by_method(HEAD=[KEY[name]], GET=[status(200)])
    result = alone(script, HEAD, head_first=True, retries=0)
    refused = name in {"405", "501", "403", "404", "reset", "disconnected"}
    assert result.target.method == ("GET" if refused else "HEAD")
    if not refused:
        assert (result.attempts, result.earlier) == (1, ())
        return
    kind, code = (None, int(name)) if name.isdigit() else (ErrorKind(name), None)
    assert tries(result) == (Try(method="HEAD", kind=kind, status=code),)
    assert (result.attempt.status, result.attempts, result.flaky) == (200, 2, False)


def test_an_answer_to_head_that_is_good_is_enough() -> None:
    result = alone(by_method(HEAD=[status(204)]), HEAD, head_first=True)
    assert (result.attempt.status, result.target.method, result.attempts) == (204, "HEAD", 1)


def test_head_alone_is_not_followed_by_get() -> None:
    result = alone(by_method(HEAD=[status(405)]), HEAD)
    assert (result.attempt.status, result.target.method, result.attempts) == (405, "HEAD", 1)


def test_a_refusal_that_is_accepted_is_an_answer() -> None:
    accepting = replace(HEAD, expectation=Expectation(accept=((404, 404),)))
    result = alone(by_method(HEAD=[status(404)]), accepting, head_first=True)
    assert (result.attempt.status, result.target.method, result.attempts) == (404, "HEAD", 1)


def test_get_after_head_is_no_retry() -> None:
    script = by_method(HEAD=[status(405)], GET=[status(503), status(200)])
    result = alone(script, HEAD, head_first=True, retries=1)
    assert (result.attempt.status, result.attempts) == (200, 3)
    assert tries(result) == (
        Try(method="HEAD", status=405),
        Try(method="GET", status=503),
    )


def test_what_may_pass_is_asked_with_head_again() -> None:
    script = by_method(HEAD=[status(503), status(404)], GET=[status(200)])
    result = alone(script, HEAD, head_first=True, retries=1)
    assert [one.method for one in result.earlier] == ["HEAD", "HEAD"]
    assert (result.attempt.status, result.target.method) == (200, "GET")


def test_the_failure_of_get_is_the_result() -> None:
    script = by_method(HEAD=[status(404)], GET=[status(404)])
    result = alone(script, HEAD, head_first=True)
    assert (result.attempt.status, result.target.method, result.attempts) == (404, "GET", 2)


def test_get_follows_at_once_and_before_what_waits() -> None:
    async def body() -> None:
        steps = {0: [status(405), status(200)]}
        bench = Bench(scripted(steps), clock=FakeClock(1.0), max=1, head_first=True)
        await bench.crawl([HEAD, *many(5, "host.example", first=1)])
        assert [one.index for one in bench.web.asked[:3]] == [0, 0, 1]
        assert bench.web.times(0) == [0, pytest.approx(0.1)]

    run(body())


def test_a_second_opinion_after_head_asks_with_get() -> None:
    script = by_method(HEAD=[status(405)], GET=[error(), status(200)])
    result = alone(script, HEAD, head_first=True, retries=0, confirm_after=5.0)
    assert [one.method for one in result.earlier] == ["HEAD", "GET"]
    assert (result.attempt.status, result.flaky) == (200, True)


@pytest.mark.parametrize("name", ["405", "404", "reset"])
def test_a_refused_head_alone_says_nothing_about_the_url(name: str) -> None:
    async def body() -> None:
        script = by_method(HEAD=[KEY[name]], GET=[status(200, 60)])
        bench = Bench(script, head_first=True)
        crawl = bench.start([HEAD])
        await bench.clock.advance(10)
        assert [one.target.method for one in bench.web.asked] == ["HEAD", "GET"]
        bench.stop.set()
        assert (await bench.finish(crawl))[0].outcome is Outcome.UNREACHED

    run(body())


# Conservation

steps = st.builds(
    lambda make, seconds, hosts: replace(make(seconds), hosts=hosts),
    st.sampled_from(
        [
            *(lambda seconds: status(200, seconds),) * 4,
            lambda seconds: status(404, seconds),
            lambda seconds: status(405, seconds),
            lambda seconds: status(503, seconds),
            lambda seconds: status(429, seconds, retry_after=3.0),
            lambda seconds: status(503, seconds, retry_after=500.0),
            lambda seconds: status(403, seconds, blocked_by="cloudflare"),
            lambda seconds: error(ErrorKind.RESET, seconds),
            lambda seconds: error(ErrorKind.TIMEOUT, seconds),
            lambda seconds: error(ErrorKind.DNS_NOT_FOUND, seconds),
        ]
    ),
    st.sampled_from([0.0, 0.05, 0.1, 0.1, 0.1, 1.0, 8.0]),
    st.sampled_from([(), (), (), ("a",), ("b", "a"), ("c",), ("b", "b", "c")]),
)
limits = st.fixed_dictionaries(
    {
        "max": st.integers(1, 8),
        "per_host": st.integers(1, 8),
        "retries": st.integers(0, 3),
        "backoff": st.sampled_from([0.0, 0.5]),
        "rate": st.sampled_from([None, None, 20.0]),
        "host_rate": st.sampled_from([None, None, 5.0]),
        "confirm_after": st.sampled_from([None, 0.0, 5.0]),
        "deadline": st.sampled_from([None, None, None, 0.05, 1.0, 7.0]),
        "hedge_budget": st.sampled_from([0.0, 0.1, 1.0]),
        "head_first": st.booleans(),
        "window": st.sampled_from([1, 3, 5000]),
    }
)


def consistent(result: Result, bench: Bench) -> bool:
    """Whether a record tells what was seen of its target, and nothing else."""
    asked = bench.web.of(result.target.index)
    if result.outcome is Outcome.INVALID:
        return asked == []
    if result.outcome is Outcome.UNREACHED:
        return result == Result(target=result.target, outcome=Outcome.UNREACHED)
    return (
        result.attempts == len(result.earlier) + 1
        and result.attempts <= len(asked)
        and result.timestamp == pytest.approx(NOON + asked[0].at, abs=1e-3)
        and (any(one.fresh for one in asked) or not result.hedged)
        and (result.attempts > 1 or not result.flaky)
    )


@steady
@given(
    st.lists(
        st.tuples(
            st.sampled_from("aaab-"),
            st.sampled_from(["GET", "GET", "HEAD", "POST"]),
            st.lists(steps, min_size=1, max_size=4),
            st.sampled_from([0.0, 0.0, 0.0, 0.3]),
        ),
        max_size=40,
    ),
    limits,
    st.sampled_from([None, None, 0.0, 0.05, 0.1, 0.5, 2.0, 9.0]),
    st.sampled_from([0.0, 0.0, 0.05]),
    st.sampled_from([0.0, 0.5]),
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
)
def test_each_target_gives_one_record_whatever_happens(
    plan: list[tuple[str, str, list[Step], float]],
    bounds: dict[str, Any],
    stop: float | None,
    taken: float,
    closing: float,
    chances: list[float],
) -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            for one in many(22, "a"):  # enough to know what is slow
                yield one
            for index, (host, method, _, pause) in enumerate(plan, 22):
                if pause:
                    await bench.clock.sleep(pause)
                of = target(index, url=f"https://{host}/{index}", method=method)
                yield invalid(of) if host == "-" else of

        script = scripted({index: some for index, (_, _, some, _) in enumerate(plan, 22)})
        clock = FakeClock(*chances)
        bench = Bench(script, clock=clock, taken=taken, closing=closing, **bounds)
        crawl = bench.start(entries())
        if stop is not None:
            await clock.advance(stop)
            bench.stop.set()
        results = await bench.finish(crawl)
        assert stop is not None or len(results) == 22 + len(plan)
        wrong = [result for result in results.values() if not consistent(result, bench)]
        assert wrong == []
        if stop is None and bounds["deadline"] is None:
            assert not any(result.outcome is Outcome.UNREACHED for result in results.values())

    run(body())


@steady
@given(
    st.lists(st.lists(steps, min_size=1, max_size=4), min_size=1, max_size=12),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from([0.0, 0.5]),
)
def test_whatever_happened_all_slots_are_free_again(
    plan: list[list[Step]], most: int, retries: int, head_first: bool, closing: float
) -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            slow = [replace(on("a", WARM + index), method="HEAD") for index in range(len(plan))]
            async for one in warmed(bench.clock, *slow):
                yield one
            await bench.clock.sleep(10_000)
            for index in last:
                yield on(f"host{index}", index)

        last = range(WARM + len(plan), WARM + len(plan) + most)
        script = {WARM + index: some for index, some in enumerate(plan)}
        bounds = {"max": most, "retries": retries, "head_first": head_first}
        bench = hedging(script, closing=closing, **bounds)
        await bench.crawl(entries())
        assert len({bench.web.of(index)[0].at for index in last}) == 1

    run(body())


EVENTFUL: dict[int, Sequence[Step]] = {
    3: [error(), status(503), status()],
    7: [status(429, retry_after=2.0), status()],
    12: [status(404)],
    WARM: [status(200, 60), status(503, 1), status(200, 60), status(503), status(200)],
    WARM + 1: [error(seconds=1), error(seconds=3), status()],
    WARM + 2: [status(405), status()],
    WARM + 3: [status(200, hosts=("b", "a", "a"))],
    WARM + 4: [status(503, retry_after=3.0, hosts=("b",)), status(200, 60, hosts=("b", "b"))],
}


async def stopped_at(number: int) -> bool:
    """Check a crawl that is stopped after so many events; return whether it was."""
    clock = FakeClock(0.5)
    bench = hedging(EVENTFUL, clock=clock, retries=1, confirm_after=5.0, head_first=True, max=6)
    rest = [replace(on("a", WARM + index), method="HEAD") for index in range(5)]
    crawl = bench.start(warmed(clock, *rest, pause=20.0))
    await quiet()
    for _ in range(number):
        if crawl.done() or clock.next is None:
            break
        await clock.advance(clock.next - clock.now)
    early = not crawl.done()
    bench.stop.set()
    results = await bench.finish(crawl)
    assert [one for one in results.values() if not consistent(one, bench)] == []
    for result in results.values():
        answered = any(one.answered for one in bench.web.of(result.target.index))
        assert answered or result.outcome is Outcome.UNREACHED
    return early


def test_a_stop_at_any_event_loses_nothing() -> None:
    async def body() -> None:
        number = 0
        while await stopped_at(number):
            number += 1
        assert number > 20

    run(body())
