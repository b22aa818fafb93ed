"""Checks of every outcome and error kind, counted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import (
    BY_KIND,
    BY_OUTCOME,
    EVERY,
    FAILED,
    INVALID,
    PASSED,
    UNREACHED,
    check,
    failed,
    hops,
    responded,
    summary,
    target,
)

from crawler.core.exitcode import ExitCode, exit_code
from crawler.core.summary import CrawlStats, Latency, Tally
from crawler.models import Check, Classes, ErrorKind, Expectation, Outcome, Target

PROPERTY = settings(derandomize=True, database=None, deadline=None)


def counts(of: Tally) -> tuple[int, int, int, int]:
    return (of.passed, of.failed, of.invalid, of.unreached)


def tallied(*checks: Check) -> Tally:
    tally = Tally()
    for one in checks:
        tally.count_check(one)
    return tally


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.RESPONDED, (1, 0, 0, 0)),
        (Outcome.ERROR, (0, 1, 0, 0)),
        (Outcome.INVALID, (0, 0, 1, 0)),
        (Outcome.UNREACHED, (0, 0, 0, 1)),
    ],
)
def test_every_outcome_is_counted_exactly_once(
    outcome: Outcome, expected: tuple[int, int, int, int]
) -> None:
    assert counts(tallied(BY_OUTCOME[outcome])) == expected


def test_no_outcome_is_left_out() -> None:
    assert tallied(*BY_OUTCOME.values()).total == len(Outcome)
    assert counts(tallied(*BY_OUTCOME.values())) == (1, 1, 1, 1)


def test_a_response_with_another_status_counts_as_failed() -> None:
    tally = tallied(FAILED)
    assert counts(tally) == (0, 1, 0, 0)
    assert tally.by_status == {404: 1}
    assert tally.by_failure == {"status 404": 1}
    assert tally.by_error == {}


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_error_kind_is_counted_under_its_name(kind: ErrorKind) -> None:
    made = summary(BY_KIND[kind])
    assert made.by_error == made.by_failure == {kind.value: 1}
    assert made.failed + made.invalid == made.total == 1
    assert exit_code(made) == ExitCode.FAILED


def test_an_error_after_the_head_also_counts_its_status() -> None:
    made = summary(check(failed(ErrorKind.BODY_INCOMPLETE, status=200)))
    assert (made.by_status, made.by_error) == ({200: 1}, {"body_incomplete": 1})
    assert made.by_failure == {"body_incomplete": 1}


def test_an_unreached_url_is_neither_an_error_nor_a_failure() -> None:
    made = summary(UNREACHED)
    assert (made.by_status, made.by_error, made.by_failure) == ({}, {}, {})


def test_bytes_are_the_sum_of_all_sizes() -> None:
    checks = [check(responded(target(n), size=size)) for n, size in enumerate([5, 0, 7])]
    assert summary(*checks, check(failed(ErrorKind.TIMEOUT))).bytes == 12


def test_statuses_and_errors_are_sorted_and_failures_most_common_first() -> None:
    made = summary(
        FAILED,
        check(failed(ErrorKind.TIMEOUT)),
        check(failed(ErrorKind.RESET)),
        check(failed(ErrorKind.TIMEOUT)),
        PASSED,
    )
    assert list(made.by_status) == [200, 404]
    assert list(made.by_error) == ["reset", "timeout"]
    assert next(iter(made.by_failure)) == "timeout"


@PROPERTY
@given(st.lists(st.sampled_from(sorted(EVERY)), max_size=60))
def test_the_counts_add_up_to_the_total(names: list[str]) -> None:
    checks = [EVERY[name] for name in names]
    made = summary(*checks)
    assert made.passed + made.failed + made.invalid + made.unreached == made.total == len(checks)
    assert sum(made.by_failure.values()) == made.failed + made.invalid
    assert sum(made.by_error.values()) == len([c for c in checks if c.result.attempt.error])
    assert sum(made.by_status.values()) == len([c for c in checks if c.result.attempt.status])
    assert made.passed == len([c for c in checks if c.ok])
    assert made.unreached == len([c for c in checks if c.ok is None])


def test_only_responses_count_for_the_latency() -> None:
    made = summary(
        check(responded(latency=0.25)),
        check(responded(latency=0.5, status=404)),
        check(failed(ErrorKind.TIMEOUT, latency=10.0)),
        INVALID,
        UNREACHED,
    )
    assert made.latency == Latency(
        min=0.25, mean=0.375, p50=0.25, p90=0.5, p95=0.5, p99=0.5, max=0.5
    )


def test_without_responses_there_is_no_latency() -> None:
    assert summary(check(failed(ErrorKind.TIMEOUT)), INVALID, UNREACHED).latency is None
    assert summary().latency is None


def test_a_latency_of_zero_is_a_latency() -> None:
    made = summary(check(responded(latency=0.0)))
    assert made.latency == Latency(min=0, mean=0, p50=0, p90=0, p95=0, p99=0, max=0)


def test_the_rate_counts_finished_urls_over_the_whole_run() -> None:
    checks = [PASSED, FAILED, INVALID, UNREACHED]
    assert summary(*checks, stats=CrawlStats(elapsed=4.0)).requests_per_s == 0.5
    assert summary(*checks, stats=CrawlStats(elapsed=0.0)).requests_per_s is None


@pytest.mark.parametrize(
    ("checks", "stats", "complete"),
    [
        pytest.param([PASSED, FAILED, INVALID], CrawlStats(elapsed=1), True, id="all checked"),
        pytest.param([PASSED, UNREACHED], CrawlStats(elapsed=1), False, id="one unreached"),
        pytest.param([PASSED], CrawlStats(elapsed=1, list_read=False), False, id="not all read"),
    ],
)
def test_a_crawl_is_complete_if_every_entry_was_read_and_checked(
    checks: list[Check], stats: CrawlStats, complete: bool
) -> None:
    assert summary(*checks, stats=stats).complete is complete


def strict(*names: str) -> Target:
    return target(expectation=Expectation(fail_on=Classes(names=frozenset(names))))


def lenient(*names: str) -> Target:
    return target(expectation=Expectation(warn_on=Classes(names=frozenset(names))))


def test_a_flaky_url_passes_and_is_counted() -> None:
    made = summary(check(responded(flaky=True)), PASSED, FAILED)
    assert (made.passed, made.failed, made.flaky) == (2, 1, 1)
    assert exit_code(summary(check(responded(flaky=True)))) == 0


def test_a_flaky_url_in_fail_on_fails_under_that_name() -> None:
    made = summary(check(responded(strict("flaky"), flaky=True)))
    assert (made.passed, made.failed, made.flaky) == (0, 1, 1)
    assert made.by_failure == {"flaky": 1}
    assert exit_code(made) == ExitCode.FAILED


def test_a_url_with_a_warning_passes_and_is_counted() -> None:
    made = summary(check(failed(ErrorKind.TIMEOUT, lenient("timeout"))), PASSED)
    assert (made.passed, made.failed, made.warned) == (2, 0, 1)
    assert made.by_error == {"timeout": 1}
    assert made.by_failure == {}
    assert exit_code(made) == 0


def test_responses_of_bot_protections_are_counted_separately() -> None:
    blocked = check(responded(status=403, blocked_by="cloudflare"))
    warned = check(responded(lenient("blocked"), status=403, blocked_by="aws-waf"))
    made = summary(blocked, warned, check(responded(status=403)))
    assert (made.passed, made.failed, made.warned, made.blocked) == (1, 2, 1, 2)
    assert made.by_failure == {"blocked by bot protection": 1, "status 403": 1}
    assert made.by_status == {403: 3}


def test_a_refused_address_is_not_counted_as_bot_protection() -> None:
    made = summary(check(failed(ErrorKind.BLOCKED)))
    assert (made.blocked, made.by_failure) == (0, {"blocked": 1})


def test_an_accepted_response_in_fail_on_is_counted_under_its_class() -> None:
    hop = hops("https://a.example/")
    made = summary(check(responded(strict("redirect"), redirects=hop)))
    assert made.failed == 1
    assert list(made.by_failure) == ["redirect"]
