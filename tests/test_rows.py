"""Which checks the table shows: few of many, in input order, in bounded memory."""

import gc
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import BY_KIND, check, failed, invalid, responded, target, unreached

from crawler.models import Check, ErrorKind, Result
from crawler.report.rows import ALL_UP_TO, FAILURES, SLOWEST, Rows

PROPERTY = settings(derandomize=True, database=None, deadline=None, max_examples=30)

KINDS = ["good", "good", "404", "error", "invalid", "unreached"]


def made(index: int, kind: str, latency: float | None = None) -> Check:
    of = target(index)
    results: dict[str, Result] = {
        "good": responded(of, latency=latency),
        "404": responded(of, status=404, latency=latency),
        "error": failed(ErrorKind.TIMEOUT, of, latency=latency),
        "invalid": invalid(of),
        "unreached": unreached(of),
    }
    return check(results[kind])


def shown(checks: list[Check], all_rows: bool = False) -> list[int]:
    rows = Rows(all_rows=all_rows)
    for one in checks:
        rows.consider(one)
    assert rows.total == len(checks)
    return [one.result.target.index for one in rows.selected()]


def test_without_checks_no_row_is_shown() -> None:
    assert shown([]) == []


@pytest.mark.parametrize("kind", sorted(set(KINDS)))
def test_up_to_a_hundred_checks_are_all_shown_in_input_order(kind: str) -> None:
    checks = [made(n, kind) for n in range(ALL_UP_TO)]
    assert shown(checks[::-1]) == list(range(ALL_UP_TO))


def test_of_more_than_a_hundred_passes_the_slowest_are_shown() -> None:
    checks = [made(n, "good", latency=n % 70) for n in range(ALL_UP_TO + 1)]
    slowest = sorted(range(ALL_UP_TO + 1), key=lambda n: (-(n % 70), n))[:SLOWEST]
    assert shown(checks) == sorted(slowest)


def test_of_many_failures_the_first_in_input_order_are_shown() -> None:
    checks = [made(n, "404" if n % 2 else "error") for n in range(300)]
    assert shown(checks[::-1]) == list(range(FAILURES))


def test_a_slow_failure_is_shown_only_once() -> None:
    checks = [made(n, "404", latency=100.0 + n) for n in range(20)]
    checks += [made(n, "good", latency=n) for n in range(20, 200)]
    assert shown(checks) == [*range(20), *range(190, 200)]


def test_checked_urls_take_precedence_over_unreached_ones() -> None:
    checks = [made(n, "unreached") for n in range(200)] + [made(200, "good", latency=0.1)]
    assert shown(checks) == [200]


def test_with_all_rows_every_row_is_shown() -> None:
    checks = [made(n, KINDS[n % len(KINDS)]) for n in range(500)]
    assert shown(checks[::-1], all_rows=True) == list(range(500))


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_error_kind_counts_as_a_failure(kind: ErrorKind) -> None:
    result = BY_KIND[kind].result
    checks = [made(n, "good", latency=1.0) for n in range(1, 200)]
    assert shown([*checks, check(result)])[0] == 0


def test_a_pass_without_a_latency_counts_as_the_fastest() -> None:
    checks = [made(n, "good", latency=None if n < 100 else 0.5) for n in range(110)]
    assert shown(checks) == list(range(100, 110))


@PROPERTY
@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.sampled_from([0.0, 0.1, 0.2, 0.5]) | st.floats(0, 9)),
        min_size=95,
        max_size=180,
    ),
    st.randoms(use_true_random=False),
)
def test_the_selection_does_not_depend_on_completion_order(
    kinds: list[tuple[str, float]], chance: random.Random
) -> None:
    checks = [made(n, kind, latency) for n, (kind, latency) in enumerate(kinds)]
    failures = [n for n, one in enumerate(checks) if one.ok is False][:FAILURES]
    good = [n for n, one in enumerate(checks) if one.ok]
    slowest = sorted(good, key=lambda n: (-kinds[n][1], n))[:SLOWEST]
    expected = sorted(failures + slowest) if len(checks) > ALL_UP_TO else list(range(len(checks)))
    assert shown(chance.sample(checks, len(checks))) == expected


def test_only_checks_that_may_be_shown_are_kept_in_memory() -> None:
    rows = Rows()
    for n in range(3_000):
        of = target(n, source="counted")
        rows.consider(check(responded(of, status=404 if n % 3 else 200, latency=n % 50)))
    gc.collect()
    alive = [one for one in gc.get_objects() if isinstance(one, Check)]
    counted = [one for one in alive if one.result.target.source == "counted"]
    assert len(counted) == len(rows.selected()) == FAILURES + SLOWEST
