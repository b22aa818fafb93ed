"""--confirm: the recheck of transient failures, and flaky URLs."""

from collections.abc import AsyncGenerator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bench import KEY, Bench, Entry, alone, in_flight_at, is_transient, many
from clocks import FakeClock, error, scripted, status
from loopback import (
    Server,
    reply,
)
from samples import NOON, Try, on, run, target, tries
from shell import (
    Ended,
    crawl,
    records,
)
from sites import (
    BLINK,
    FAR,
    NEAR,
    Log,
    Scenarios,
    Seen,
    document,
    in_order,
    in_turn,
    lines,
    numbered,
    sites,
    takes,
)

from crawler.models import ErrorKind, Expectation, Target

# Scheduled


def test_rechecks_start_once_everything_else_is_finished() -> None:
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


def test_no_recheck_starts_before_the_list_is_read_to_its_end() -> None:
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
def test_only_transient_failures_are_rechecked(name: str) -> None:
    result = alone([KEY[name], status(200)], retries=0, confirm_after=5.0)
    assert (result.flaky, result.attempts) == ((True, 2) if is_transient(name) else (False, 1))


def test_failures_that_are_not_rechecked_are_emitted_before_the_rechecks() -> None:
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
def test_successes_and_methods_that_are_not_idempotent_are_not_rechecked(of: Target) -> None:
    result = alone([status(503), status(200)], of, retries=0, confirm_after=5.0)
    assert (result.attempt.status, result.attempts, result.flaky) == (503, 1, False)


@pytest.mark.parametrize("again", ["timeout", "503", "404"])
def test_a_confirmed_failure_is_not_flaky_and_not_requested_again(again: str) -> None:
    result = alone([error(), KEY[again]], retries=0, confirm_after=5.0)
    expected = KEY[again].respond(on("a"))
    assert (result.outcome, result.attempt.status) == (expected.outcome, expected.attempt.status)
    assert (result.flaky, result.attempts) == (False, 2)
    assert tries(result) == (Try(method="GET", kind=ErrorKind.RESET),)


def test_a_recheck_with_an_unaccepted_status_is_not_flaky() -> None:
    picky = target(expectation=Expectation(accept=((204, 204),)))
    result = alone([error(), status(200)], picky, retries=0, confirm_after=5.0)
    assert (result.attempt.status, result.flaky) == (200, False)


def test_retries_come_before_the_recheck_and_all_attempts_are_recorded() -> None:
    result = alone([error(), status(502), status(200)], retries=1, confirm_after=5.0)
    assert (result.attempts, result.flaky) == (3, True)
    assert tries(result) == (
        Try(method="GET", kind=ErrorKind.RESET),
        Try(method="GET", status=502),
    )


def test_a_success_on_a_retry_is_not_flaky() -> None:
    result = alone([error(), status(200)], retries=1, confirm_after=5.0)
    assert (result.attempts, result.flaky) == (2, False)


def test_rechecks_run_one_at_a_time_on_each_host() -> None:
    async def body() -> None:
        script = scripted({}, error(seconds=1))
        bench = Bench(script, max=100, per_host=10, retries=0, confirm_after=5.0)
        await bench.crawl([*many(10, "a"), *many(3, "b", first=10)])
        assert in_flight_at(bench.web, "a", 0.5) == 10
        assert [in_flight_at(bench.web, "a", 6.5 + second) for second in range(11)] == [1] * 10 + [
            0
        ]
        assert [in_flight_at(bench.web, "b", 6.5 + second) for second in range(4)] == [1] * 3 + [0]

    run(body())


def test_without_failures_there_is_no_delay_for_rechecks() -> None:
    async def body() -> None:
        bench = Bench(scripted({}), confirm_after=5.0)
        await bench.crawl(many(3))
        assert bench.clock.now < 1

    run(body())


def test_rechecks_may_start_without_a_delay() -> None:
    result = alone([error(), status()], retries=0, confirm_after=0.0)
    assert (result.flaky, result.attempts) == (True, 2)


@pytest.mark.parametrize("how", ["stop", "deadline"])
@pytest.mark.parametrize("when", [4.0, 6.5], ids=["before it", "during it"])
def test_a_run_that_ends_before_the_recheck_keeps_the_failure(how: str, when: float) -> None:
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


def test_a_recheck_waits_for_the_retry_after_of_its_host() -> None:
    async def body() -> None:
        script = scripted({0: [status(429, 0, retry_after=30.0), status()]})
        bench = Bench(script, clock=FakeClock(0.0), retries=0, confirm_after=5.0)
        result = (await bench.crawl([on("a")]))[0]
        assert bench.web.times(0) == [0, 30]
        assert result.flaky

    run(body())


# On the wire


waiting = Scenarios()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    yield from waiting.results(tmp_path_factory)


@waiting
def confirmed(_: Path) -> tuple[Ended, Ended, Log]:
    """Six URLs that fail at first and one that passes, on each of two hosts."""
    log = Log()
    with sites(FAR) as server:
        server.on("/page", log.around(in_turn(takes(0.01, reply(500)), takes(0.03))))
        urls = [url for host in (NEAR, FAR) for url in numbered(server.url("/page", host=host), 6)]
        server.on("/ok", reply())
        options = ("--retries", "0", "--confirm", "--confirm-after", "0.6", "--max", "20", "--json")
        flaky = crawl(*options, text=lines(server.url("/ok"), *urls))
        server.on("/page", in_turn(reply(500), reply()))
        failing = crawl(*options, "--fail-on", "flaky", text=lines(server.url("/ok"), *urls))
    return flaky, failing, log


def test_a_url_that_passes_its_recheck_is_flaky_and_passes(seen: Seen) -> None:
    ended, _, _ = seen(confirmed)
    report = document(ended)
    first, *rest = in_order(report["results"])
    assert (ended.returncode, first["flaky"]) == (0, False)
    assert {(one["ok"], one["flaky"], one["status"], one["attempts"]) for one in rest} == {
        (True, True, 200, 2)
    }
    assert [[one["status"] for one in record["retried"]] for record in rest] == [[500]] * 12
    assert [report["summary"][key] for key in ("passed", "failed", "flaky")] == [13, 0, 12]


def test_flaky_urls_fail_with_fail_on_flaky(seen: Seen) -> None:
    _, ended, _ = seen(confirmed)
    report = document(ended)
    assert ended.returncode == 1
    assert [report["summary"][key] for key in ("passed", "failed", "flaky")] == [1, 12, 12]
    assert all(record["reasons"] for record in report["results"] if record["flaky"])


def test_rechecks_start_after_a_delay_and_one_at_a_time_for_each_host(seen: Seen) -> None:
    _, _, log = seen(confirmed)
    first, later = log.came[:12], log.came[12:]
    assert len(later) == 12
    assert later[0].at - first[-1].at >= 0.6
    for host in (NEAR, FAR):
        times = [one.at for one in later if one.host == host]
        gaps = [after - before for before, after in pairwise(times)]
        assert min(gaps) >= BLINK + 0.02


def test_a_url_that_fails_its_recheck_has_failed(server: Server) -> None:
    url = server.on("/page", in_turn(reply(500), reply(502)))
    ended = crawl(url, "--retries", "0", "--confirm", "--confirm-after", "0", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["ok"], record["flaky"]) == (1, False, False)
    assert (record["status"], record["retried"][0]["status"]) == (502, 500)
