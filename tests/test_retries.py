"""Retries: which failures are retried, when, and how earlier attempts are recorded."""

import pytest
from bench import KEY, Bench, alone, is_transient, many
from clocks import FakeClock, error, scripted, status
from loopback import (
    Server,
    raw,
    reply,
    resets,
    silent,
)
from samples import NOON, Try, on, run, target, tries
from shell import (
    crawl,
    records,
)
from sites import Log, in_order, in_turn, lines, numbered

from crawler.models import ErrorKind, Expectation, Outcome

# Scheduled


@pytest.mark.parametrize("name", KEY)
def test_only_transient_failures_are_retried(name: str) -> None:
    result = alone([KEY[name], status(200)])
    assert result.attempts == (2 if is_transient(name) else 1)
    assert (result.attempt.status == 200) is is_transient(name)


def test_a_success_is_not_retried() -> None:
    assert alone([status(200)], retries=3).attempts == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_failure_is_retried_at_most_retries_times(retries: int) -> None:
    result = alone([error()], retries=retries)
    assert result.outcome is Outcome.ERROR
    assert result.attempts == retries + 1
    assert len(result.earlier) == retries


@pytest.mark.parametrize(
    ("method", "attempts"),
    [("GET", 2), ("HEAD", 2), ("OPTIONS", 2), ("PUT", 2), ("DELETE", 2), ("POST", 1), ("PATCH", 1)],
)
def test_only_idempotent_methods_are_retried(method: str, attempts: int) -> None:
    assert alone([status(503)], target(method=method)).attempts == attempts


def test_an_accepted_status_is_not_retried() -> None:
    accepting = target(expectation=Expectation(accept=((200, 299), (503, 503))))
    result = alone([status(503), status(200)], accepting)
    assert (result.attempt.status, result.attempts) == (503, 1)


@pytest.mark.parametrize("code", [403, 429, 503, 999])
def test_a_response_of_a_bot_protection_is_not_retried(code: int) -> None:
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
def test_the_delay_is_a_random_part_of_a_back_off_that_doubles_up_to_its_cap(
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
def test_a_visit_that_waits_for_its_retry_occupies_no_slot(host: str) -> None:
    async def body() -> None:
        script = scripted({0: [error(), status()]}, status(seconds=1))
        bench = Bench(script, clock=FakeClock(1.0), backoff=20, max=1, per_host=1)
        results = await bench.crawl([on("a"), *many(10, host, first=1)])
        assert max(bench.at[index] for index in range(1, 11)) == pytest.approx(10.1)
        assert bench.at[0] == pytest.approx(20.2)
        assert results[0].attempts == 2

    run(body())


def test_a_retry_waits_for_a_slot_of_its_host() -> None:
    async def body() -> None:
        script = scripted({0: [error(), status()], 1: [status(seconds=50)]})
        bench = Bench(script, clock=FakeClock(1.0), backoff=1, per_host=1)
        await bench.crawl(many(2))
        assert bench.web.times(0) == [0, pytest.approx(50.1)]

    run(body())


def test_earlier_failures_stay_in_the_record() -> None:
    result = alone([error(ErrorKind.TIMEOUT), status(502), status(200, 3)], retries=5)
    assert (result.attempt.status, result.attempts, result.attempt.latency) == (200, 3, 3)
    assert tries(result) == (
        Try(method="GET", kind=ErrorKind.TIMEOUT),
        Try(method="GET", status=502),
    )
    assert (result.flaky, result.hedged) == (False, False)


def test_the_last_failure_is_the_result_and_the_earlier_ones_are_recorded() -> None:
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
def test_a_visit_stopped_before_its_retry_keeps_its_failure(name: str) -> None:
    async def body() -> None:
        bench = Bench(scripted({0: [KEY[name]]}), clock=FakeClock(1.0), retries=5, backoff=10)
        crawl = bench.start([on("a")])
        await bench.clock.advance(15)  # requested at 0 and at 10.1
        bench.stop.set()
        result = (await bench.finish(crawl))[0]
        expected = KEY[name].respond(on("a"))
        assert (result.outcome, result.attempt.status, result.attempt.error) == (
            expected.outcome,
            expected.attempt.status,
            expected.attempt.error,
        )
        assert (result.attempts, len(result.earlier)) == (2, 1)
        assert result.timestamp == NOON

    run(body())


def test_a_visit_stopped_during_its_retry_keeps_the_earlier_failure() -> None:
    async def body() -> None:
        script = scripted({0: [status(503), status(200, 100)]})
        bench = Bench(script, clock=FakeClock(0.0))
        crawl = bench.start([on("a")])
        await bench.clock.advance(10)
        assert len(bench.web.requests) == 2
        bench.stop.set()
        result = (await bench.finish(crawl))[0]
        assert (result.attempt.status, result.attempts, result.earlier) == (503, 1, ())

    run(body())


# On the wire


def test_transient_statuses_are_retried_once_by_default(server: Server) -> None:
    statuses = [408, 425, 429, 500, 502, 503, 504]
    urls = [server.on(f"/{status}", in_turn(reply(status), reply())) for status in statuses]
    ended = crawl(*urls, "--backoff", "0", "--jsonl")
    found = in_order(records(ended.stdout))
    assert ended.returncode == 0
    assert server.counts == {f"/{status}": 2 for status in statuses}
    assert [(record["status"], record["attempts"]) for record in found] == [(200, 2)] * 7
    retried = [(one["kind"], one["status"]) for record in found for one in record["retried"]]
    assert retried == [(None, status) for status in statuses]


def test_transient_errors_are_retried_once_by_default(server: Server) -> None:
    errors = {"reset": resets(), "disconnected": raw(close=True), "timeout": silent()}
    urls = [server.on(f"/{kind}", in_turn(error, reply())) for kind, error in errors.items()]
    ended = crawl(*urls, "--backoff", "0", "--timeout", "0.5", "--jsonl")
    found = in_order(records(ended.stdout))
    assert ended.returncode == 0
    assert server.counts == {f"/{kind}": 2 for kind in errors}
    retried = [(one["kind"], one["status"]) for record in found for one in record["retried"]]
    assert retried == [(kind, None) for kind in errors]


def test_permanent_statuses_are_not_retried(server: Server) -> None:
    statuses = [400, 401, 403, 404, 410, 501]
    urls = [server.on(f"/{status}", reply(status)) for status in statuses]
    again = ("--retries", "5", "--confirm", "--confirm-after", "0")
    found = records(crawl(*urls, *again, "--jsonl").stdout)
    assert server.counts == {f"/{status}": 1 for status in statuses}
    assert [(record["attempts"], record["retried"]) for record in found] == [(1, [])] * 6


@pytest.mark.parametrize("retries", [0, 3])
def test_a_failure_is_retried_as_often_as_retries_says(server: Server, retries: int) -> None:
    url = server.on("/page", reply(500))
    ended = crawl(url, "--retries", str(retries), "--backoff", "0", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, server.counts["/page"]) == (1, retries + 1)
    assert (record["attempts"], len(record["retried"])) == (retries + 1, retries)


def test_a_method_that_is_not_idempotent_is_sent_once(server: Server) -> None:
    """No retry, no recheck, and no hedge."""
    url = server.on("/page", reply(503))
    again = ("--retries", "3", "--backoff", "0", "--confirm-after", "0", "--hedge")
    assert crawl(url, "--method", "POST", *again, "-q").returncode == 1
    assert server.counts["/page"] == 1


def test_delays_are_random_and_never_longer_than_the_doubling_backoff(server: Server) -> None:
    log = Log()
    server.on("/page", log.around(reply(500)))
    urls = numbered(server.url("/page"), 12)
    options = ("--retries", "2", "--backoff", "0.4", "--max", "12", "--per-host", "12", "-q")
    assert crawl(*options, text=lines(*urls)).returncode == 1
    times: dict[str, list[float]] = {}
    for one in log.came:
        times.setdefault(one.target, []).append(one.at)
    first = [second - first for first, second, _ in times.values()]
    second = [third - second for _, second, third in times.values()]
    slack = 0.25
    assert max(first) <= 0.4 + slack
    assert max(second) <= 0.8 + slack
    assert max(second) - min(second) > 0.1
