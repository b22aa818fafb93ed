"""Redirects and re-sent requests wait for their host as first requests do, by a fake clock."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from bench import Bench
from clocks import FakeClock, Step, error, quiet, scripted, status
from hypothesis import given
from hypothesis import strategies as st
from loopback import Request, Server, reply
from samples import hops, listed, on, responded, run, steady

from crawler import crawl
from crawler.engine.schedule import Scheduler
from crawler.engine.transports.wire import Gate
from crawler.models import Attempt, ErrorKind, Limits, Outcome, Result, Target


def times(bench: Bench, host: str) -> list[float]:
    return [at for to, at in bench.web.sent if to == host]


# Pauses, rates and slots of the host that a redirect leads to


def test_a_redirect_waits_for_the_retry_after_of_the_host_it_leads_to() -> None:
    """Of 60 URLs on a that redirect to b, only those in flight reach it in the pause."""

    async def body() -> None:
        def script(of: Target, before: int) -> Step:
            if of.index == 0:
                return status(429, 0, retry_after=3.0)
            return status(seconds=0.1, hosts=("b",))

        first = on("b", 0)
        bench = Bench(script, clock=FakeClock(0.0), retries=0)
        crawl = bench.start([first, *(on("a", index) for index in range(1, 61))])
        results = await bench.finish(crawl)
        assert times(bench, "b")[0] == 0
        assert min(times(bench, "b")[1:]) >= 3.0
        assert {result.attempt.status for index, result in results.items() if index} == {200}

    run(body())


@pytest.mark.parametrize("host", ["a", "b"], ids=["same host", "another host"])
@pytest.mark.parametrize("kind", ["rate", "host_rate"])
def test_redirects_wait_for_the_rates_and_count_against_them(kind: str, host: str) -> None:
    async def body() -> None:
        limits: dict[str, Any] = {kind: 4.0}
        step = status(seconds=0.1, hosts=(host,) * 3)
        bench = Bench(scripted({}, step), clock=FakeClock(0.0), **limits)
        await bench.crawl([on("a", index) for index in range(5)])
        of_all = sorted(at for _, at in bench.web.sent)
        for seen in (of_all,) if kind == "rate" else (times(bench, "a"), times(bench, "b")):
            for number, at in enumerate(sorted(seen)):
                assert at >= number / 4.0 - 0.05
        assert len(of_all) == 20

    run(body())


@pytest.mark.parametrize(
    "limits", [{"max": 3}, {"per_host": 2}, {"max": 2, "per_host": 1}], ids=str
)
def test_the_bounds_on_requests_in_flight_hold_over_redirects(limits: dict[str, Any]) -> None:
    """`Bench.finish` compares what the fake web saw with the limits."""

    async def body() -> None:
        def script(of: Target, before: int) -> Step:
            return status(seconds=1 + of.index % 3, hosts=("b", "a", "b"))

        bench = Bench(script, **limits)
        await bench.crawl([on("ab"[index % 2], index) for index in range(20)])
        assert bench.web.most == min(limits.get("max", 10), 2 * limits.get("per_host", 10))

    run(body())


@pytest.mark.parametrize("most", [1, 2, 3])
def test_hosts_that_redirect_to_each_other_never_deadlock(most: int) -> None:
    async def body() -> None:
        def script(of: Target, before: int) -> Step:
            other = "b" if of.host == "a" else "a"
            return status(seconds=1, hosts=(other, of.host, other))

        bench = Bench(script, max=most, per_host=1)
        results = await bench.crawl([on("ab"[index % 2], index) for index in range(10)])
        assert {result.attempt.status for result in results.values()} == {200}
        assert bench.clock.now == pytest.approx(40 / min(most, 2), abs=2)

    run(body())


def test_an_attempt_that_waits_for_its_host_occupies_no_slot() -> None:
    async def body() -> None:
        script = scripted(
            {0: [status(429, 0, retry_after=50.0)], 1: [status(hosts=("b",))]}, status(seconds=1)
        )
        bench = Bench(script, clock=FakeClock(0.0), max=1, per_host=1, retries=0)
        crawl = bench.start([on("b", 0), on("a", 1), *(on("a", index) for index in range(2, 12))])
        await bench.clock.advance(11)
        assert len(bench.results) == 11
        assert bench.scheduler.in_flight == 0
        results = await bench.finish(crawl)
        assert results[1].attempt.status == 200
        assert bench.at[1] == pytest.approx(50.1)

    run(body())


def test_an_attempt_in_progress_goes_before_visits_that_have_not_started() -> None:
    async def body() -> None:
        script = scripted({5: [status(hosts=("a",))]}, status(seconds=1))
        bench = Bench(script, clock=FakeClock(0.0), max=2, per_host=1)
        await bench.crawl([on("b", 5), *(on("a", index) for index in range(5))])
        assert bench.at[5] < bench.at[2]

    run(body())


def test_throttling_behind_a_redirect_takes_slots_from_the_host_that_throttled() -> None:
    async def body() -> None:
        def script(of: Target, before: int) -> Step:
            if of.index < 8:
                return replace(status(503, 1, hosts=("b",)))
            return status(seconds=1)

        last = [on("a", index) for index in range(8, 40)] + [
            on("b", index) for index in range(40, 80)
        ]
        bench = Bench(script, max=50, per_host=8, retries=0)
        crawl = bench.start([*(on("a", index) for index in range(8)), *last])
        await bench.clock.advance(2.5)
        assert bench.web.live == {"a": 8, "b": 4}
        await bench.finish(crawl)

    run(body())


def test_redirects_give_a_host_that_throttled_its_slots_back() -> None:
    async def body() -> None:
        def script(of: Target, before: int) -> Step:
            return status(503, 1) if of.index < 4 else status(seconds=1, hosts=(f"c{of.index}",))

        bench = Bench(script, max=50, per_host=4, retries=0)
        crawl = bench.start([on("a", index) for index in range(60)])
        await bench.clock.advance(1.5)
        assert bench.web.live["a"] == 2
        await bench.clock.advance(8)
        assert bench.web.live["a"] == 4
        await bench.finish(crawl)

    run(body())


# A request sent again


def test_a_resend_waits_for_the_pause_and_the_rate_of_its_host_and_goes_first() -> None:
    """0 gets a Retry-After of 9 s at 1.5 s; then 1 is resent, and 2 is sent."""

    async def body() -> None:
        clock = FakeClock(0.0)
        sent: list[tuple[int, float]] = []
        results: list[Result] = []

        async def fetch(of: Target, gate: Gate | None = None) -> Attempt:
            sent.append((of.index, clock.now))
            await clock.sleep(1 if of.index else 1.5)
            if of.index == 0:
                return responded(of, status=429, retry_after=9.0).attempt
            assert gate is not None
            if of.index == 1 and not gate.try_resend():
                await gate.wait_for_turn()
                sent.append((of.index, clock.now))
            return responded(of).attempt

        async def emit(finished: Sequence[Result]) -> None:
            results.extend(finished)

        limits = Limits(retries=0, host_rate=1.0)
        scheduler = Scheduler(fetch, limits, emit, asyncio.Event(), clock=clock)
        entries = listed([on("a", index) for index in range(3)])
        await clock.finish(asyncio.create_task(scheduler.run(entries)))
        assert [index for index, _ in sent] == [0, 1, 1, 2]
        assert [at for _, at in sent] == pytest.approx([0, 1, 10.5, 11.5], abs=0.06)
        assert len(results) == 3

    run(body())


# On the wire

NEAR, FAR = "127.0.0.1", "localhost"


def checked(urls: list[str], **limits: Any) -> list[Result]:
    async def body() -> list[Result]:
        return [check.result async for check in crawl(urls, limits=Limits(**limits))]

    return run(body())


def test_the_pause_of_a_host_behind_redirects_is_not_latency(
    server: Server,
) -> None:
    """Nor does it count against the timeout, which is shorter."""
    came: list[float] = []

    async def page(request: Request, reader: Any, writer: Any) -> None:
        came.append(time.monotonic())
        busy = reply(429, b"", "Retry-After: 1")
        await (busy if len(came) == 1 else reply())(request, reader, writer)

    server.on("/page", page)

    async def moved(request: Request, reader: Any, writer: Any) -> None:
        there = f"Location: {server.url('/page', host=NEAR)}?{request.query}"
        await reply(302, b"", there)(request, reader, writer)

    server.on("/moved", moved)
    urls = [server.url(f"/moved?{number}", host=FAR) for number in range(30)]
    results = checked(urls, max=3, per_host=3, timeout=0.8, retries=0)
    assert sorted(result.attempt.status or 0 for result in results) == [200] * 29 + [429]
    assert max(result.attempt.latency or 0.0 for result in results) < 0.8
    soon = [at for at in came if 0.3 < at - came[0] < 0.99]
    assert (len(came), soon) == (30, [])


def test_a_request_lost_with_its_connection_is_resent_at_the_rate_of_the_host(
    server: Server,
) -> None:
    came: list[float] = []

    async def page(request: Request, reader: Any, writer: Any) -> None:
        came.append(time.monotonic())
        if len(came) == 2:
            assert request.turn == 1  # on the connection of the first
            writer.close()
        else:
            await reply()(request, reader, writer)

    server.on("/page", page)
    urls = [server.url(f"/page?{number}") for number in range(2)]
    results = checked(urls, max=1, host_rate=1.0, timeout=0.9)
    assert [result.attempt.status for result in results] == [200, 200]
    assert [result.attempts for result in results] == [1, 1]
    assert len(came) == 3
    assert came[2] - came[1] >= 0.9
    assert max(result.attempt.latency or 0.0 for result in results) < 0.9


# The end


@pytest.mark.parametrize("how", ["stop", "deadline"])
@pytest.mark.parametrize("failed_before", [False, True], ids=["first attempt", "second attempt"])
def test_an_end_while_an_attempt_waits_keeps_the_finished_results(
    failed_before: bool, how: str
) -> None:
    async def body() -> None:
        limits: dict[str, Any] = {"deadline": 20.0} if how == "deadline" else {}
        before = [error(ErrorKind.RESET)] if failed_before else []
        script = scripted(
            {0: [status(429, 0, retry_after=50.0)], 1: [*before, status(hosts=("b",))]}
        )
        bench = Bench(script, clock=FakeClock(0.0), max_wait=60.0, **limits)
        crawl = bench.start([on("b", 0), on("a", 1)])
        await bench.clock.advance(20)
        if how == "stop":
            bench.stop.set()
        results = await bench.finish(crawl)
        assert results[0].attempt.status == 429
        if failed_before:
            assert (results[1].outcome, results[1].attempts) == (Outcome.ERROR, 1)
        else:
            assert results[1].outcome is Outcome.UNREACHED
        assert bench.clock.next is None

    run(body())


def test_five_thousand_waiting_attempts_are_cancelled_at_once() -> None:
    async def body() -> None:
        def script(of: Target, before: int) -> Step:
            return (
                status(429, 0, retry_after=50.0)
                if of.host == "b"
                else status(seconds=0, hosts=("b",))
            )

        bench = Bench(script, clock=FakeClock(0.0), retries=0, max=100, per_host=100)
        crawl = bench.start([on("b", 0), *(on("a", index) for index in range(1, 5_000))])
        await bench.clock.advance(1)
        bench.stop.set()
        async with asyncio.timeout(2):
            await crawl
        await quiet()
        found = Counter(result.outcome for result in bench.results)
        assert found == {Outcome.RESPONDED: 1, Outcome.UNREACHED: 4_999}

    run(body())


# All together

hosts = st.sampled_from("abc")


@steady
@given(
    st.lists(
        st.tuples(
            hosts,
            st.lists(hosts, max_size=4),
            st.sampled_from([0.0, 0.1, 1.0]),
            st.sampled_from([200, 200, 200, 503, 429]),
        ),
        max_size=40,
    ),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([None, 3.0]),
    st.sampled_from([None, 2.0]),
    st.sampled_from([1, 5000]),
)
def test_no_host_exceeds_its_bounds_whatever_redirects_where(
    plan: list[tuple[str, list[str], float, int]],
    most: int,
    per_host: int,
    rate: float | None,
    host_rate: float | None,
    window: int,
) -> None:
    async def body() -> None:
        def script(of: Target, before: int) -> Step:
            _, way, seconds, code = plan[of.index]
            after = 5.0 if code == 429 else None
            where = way[-1] if way else of.host
            return status(
                code,
                seconds,
                tuple(way),
                retry_after=after,
                final_url=f"https://{where}/",
                redirects=hops(*(f"https://x/{number}" for number in range(len(way)))),
            )

        bounds: dict[str, Any] = {"rate": rate, "host_rate": host_rate, "window": window}
        bench = Bench(
            script, clock=FakeClock(0.0), max=most, per_host=per_host, retries=0, **bounds
        )
        await bench.crawl([on(host, index) for index, (host, *_) in enumerate(plan)])
        assert len(bench.web.sent) == sum(1 + len(way) for _, way, _, _ in plan)
        spaced(sorted(at for _, at in bench.web.sent), rate)
        for host in "abc":
            spaced(sorted(times(bench, host)), host_rate)

    run(body())


def spaced(at: list[float], per_second: float | None) -> None:
    """Assert that in any time span no more requests started than the rate allows."""
    if per_second is None:
        return
    for first in range(len(at)):
        for later in range(first + 1, len(at)):
            assert at[later] - at[first] >= (later - first) / per_second - 0.05 - 1e-6
