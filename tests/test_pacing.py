"""How fast hosts are asked: spacing, what a host that pushes back gets, and all bounds."""

import math
import random
from bisect import bisect_right
from collections import deque
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import failed, responded, steady

from crawler.core.pacing import AdaptiveSlots, Rate, deadline_warning
from crawler.models import ErrorKind, Limits, Result

SLOW = settings(steady, max_examples=25)

GOOD, MISSING = responded(), responded(status=404)
BUSY, UNAVAILABLE = responded(status=429), responded(status=503)
LATE = failed(ErrorKind.TIMEOUT)

RATES = st.sampled_from([0.5, 1, 7.3, 100, 5_000]) | st.floats(0.5, 5_000)


# Rates


def starts(rate: float, seconds: float, lateness: list[float]) -> list[float]:
    """Return when requests start that are sent as soon as a timer, always late, lets them."""
    spacing = Rate(rate)
    now = 0.0
    found: list[float] = []
    for late in range(10**9):
        if spacing.due > now:
            now = spacing.due + lateness[late % len(lateness)]
        if now >= seconds:
            return found
        spacing.reserve(now)
        found.append(now)
    raise AssertionError


@SLOW
@given(RATES, st.lists(st.floats(0, 0.045), min_size=1, max_size=20))
def test_a_rate_is_kept_within_five_percent_although_timers_are_late(
    rate: float, lateness: list[float]
) -> None:
    wanted = 2 * rate
    assert abs(len(starts(rate, 2, lateness)) - wanted) <= max(1, 0.05 * wanted)


@SLOW
@given(RATES, st.lists(st.sampled_from([0.0, 0.001, 0.02, 0.3, 1.0]), min_size=1, max_size=30))
def test_no_stall_is_made_up_for_by_more_than_fifty_milliseconds_worth(
    rate: float, lateness: list[float]
) -> None:
    times = starts(rate, 2, lateness)
    for first in range(0, len(times), max(1, len(times) // 300)):
        for window in (0.0, 0.01, 0.1, 1.0):
            count = bisect_right(times, times[first] + window) - first
            assert count <= rate * (window + 0.05) + 1 + 1e-6


def test_the_first_start_is_at_once_and_the_second_waits() -> None:
    rate = Rate(2)
    assert rate.due < 1_000
    rate.reserve(1_000)
    assert rate.due == 1_000.5


def test_a_long_pause_is_no_credit() -> None:
    rate = Rate(10)
    rate.reserve(0)
    rate.reserve(100)
    assert 100.04 < rate.due <= 100.1


def test_requests_nobody_waited_for_are_made_up_for() -> None:
    rate = Rate(10)
    rate.reserve(0)
    rate.reserve(0.1, count=3)
    assert rate.due == pytest.approx(0.4)


# A host that pushes back


def answered(pace: AdaptiveSlots, result: Result, *, now: float, count: int = 1) -> int:
    """Give so many answers to requests that were started a little before; return the places."""
    for _ in range(count):
        pace.observe_attempt(result.attempt, now - 0.001, now)
    return pace.slots


def in_turn(pace: AdaptiveSlots, result: Result, times: list[float]) -> list[int]:
    """Return the places after each of some answers, each to a request of its own time."""
    return [answered(pace, result, now=now) for now in times]


@pytest.mark.parametrize("result", [BUSY, UNAVAILABLE], ids=["429", "503"])
def test_a_host_that_pushes_back_gets_half_as_much_down_to_one(result: Result) -> None:
    assert in_turn(AdaptiveSlots(10, 10), result, [1, 2, 3, 4, 5]) == [5, 2, 1, 1, 1]


def test_a_burst_that_is_pushed_back_counts_once() -> None:
    pace = AdaptiveSlots(10, 10)
    for number in range(10):
        pace.observe_attempt(BUSY.attempt, started=number / 100, now=1 + number / 100)
    assert pace.slots == 5
    for number in range(5):
        pace.observe_attempt(BUSY.attempt, started=2 + number / 100, now=3 + number / 100)
    assert pace.slots == 2


@pytest.mark.parametrize("status", [200, 204, 301, 304, 403, 404, 410])
def test_an_ordinary_answer_pushes_nothing_back(status: int) -> None:
    pace = AdaptiveSlots(10, 10)
    assert set(in_turn(pace, responded(status=status), list(range(1, 50)))) == {10}
    assert pace.unthrottled


def test_each_clean_round_gives_one_place_back() -> None:
    pace = AdaptiveSlots(10, 10)
    assert answered(pace, BUSY, now=1) == 5
    for places in range(5, 10):
        assert answered(pace, GOOD, now=2, count=places - 1) == places
        assert not pace.unthrottled
        assert answered(pace, GOOD, now=2) == places + 1
    assert pace.unthrottled
    assert answered(pace, GOOD, now=3, count=100) == 10


def test_a_round_with_a_push_is_not_clean() -> None:
    pace = AdaptiveSlots(16, 16)
    assert answered(pace, BUSY, now=1) == 8
    assert answered(pace, GOOD, now=2, count=7) == 8
    assert answered(pace, BUSY, now=3) == 4
    assert answered(pace, GOOD, now=4, count=3) == 4
    assert answered(pace, GOOD, now=4) == 5


def test_a_page_that_is_missing_is_as_good_a_sign_as_any() -> None:
    pace = AdaptiveSlots(10, 5)
    assert answered(pace, MISSING, now=1, count=5) == 6


def test_answers_to_what_was_sent_before_the_push_give_nothing_back() -> None:
    pace = AdaptiveSlots(10, 10)
    pace.observe_attempt(BUSY.attempt, started=0.0, now=1.0)
    for _ in range(9):
        pace.observe_attempt(GOOD.attempt, started=0.0, now=1.1)
    assert pace.slots == 5


@pytest.mark.parametrize(
    "kind", [ErrorKind.RESET, ErrorKind.CONNECT_REFUSED, ErrorKind.DISCONNECTED]
)
def test_a_connection_that_breaks_is_no_good_answer(kind: ErrorKind) -> None:
    pace = AdaptiveSlots(10, 10)
    assert answered(pace, BUSY, now=1) == 5
    assert answered(pace, failed(kind), now=2, count=50) <= 5


def test_a_timeout_now_and_then_changes_nothing() -> None:
    pace = AdaptiveSlots(10, 10)
    for number in range(50):
        assert answered(pace, GOOD, now=number, count=9) == 10
        assert answered(pace, LATE, now=number) == 10


def test_timeouts_that_are_as_many_as_before_are_not_a_rise() -> None:
    pace = AdaptiveSlots(10, 10)
    assert answered(pace, LATE, now=1, count=2) == 5
    for number in range(2, 30):
        answered(pace, GOOD, now=number, count=3)
        assert answered(pace, LATE, now=number, count=2) == 5


def test_a_round_with_a_timeout_is_not_clean() -> None:
    pace = AdaptiveSlots(10, 5)
    assert answered(pace, GOOD, now=1, count=4) == 5
    assert answered(pace, LATE, now=2) == 5
    assert answered(pace, GOOD, now=3, count=4) == 5
    assert answered(pace, GOOD, now=4) == 6


def test_timeouts_that_get_more_push_back() -> None:
    pace = AdaptiveSlots(10, 10)
    answered(pace, GOOD, now=1, count=10)
    answered(pace, LATE, now=2)
    answered(pace, GOOD, now=2, count=9)
    assert pace.slots == 10
    assert answered(pace, LATE, now=3, count=3) == 5


def test_timeouts_that_are_over_are_forgotten() -> None:
    pace = AdaptiveSlots(4, 4)
    answered(pace, LATE, now=1, count=4)
    assert pace.slots < 4
    answered(pace, GOOD, now=2, count=30)
    assert (pace.slots, pace.unthrottled) == (4, True)


def test_a_single_timeout_after_a_burst_of_them_is_not_a_rise() -> None:
    """What else is left of the burst belongs to it, not to the round that follows."""
    pace = AdaptiveSlots(10, 10)
    for _ in range(10):
        pace.observe_attempt(LATE.attempt, started=0.0, now=1.0)
    assert pace.slots == 5
    assert answered(pace, LATE, now=2) == 5


@pytest.mark.parametrize("most", [1, 2, 10, 100])
def test_a_dead_host_gets_fewer_places_and_never_more(most: int) -> None:
    pace = AdaptiveSlots(most, most)
    seen = [most]
    for burst in range(1, 60):
        for _ in range(pace.slots):
            pace.observe_attempt(LATE.attempt, started=burst * 10, now=burst * 10 + 10 - 1e-6)
        seen.append(pace.slots)
    assert seen == sorted(seen, reverse=True)
    assert 1 <= seen[-1] <= max(1, most // 2)


def crawled(
    pace: AdaptiveSlots, chance: random.Random, results: list[Result]
) -> list[tuple[int, int]]:
    """Ask a host with as many requests at once as it has places; return all changes of them."""
    flying: deque[float] = deque()
    changes = []
    now = 0.0
    for result in results:
        now += 0.001
        while len(flying) < pace.slots:
            flying.append(now)
            now += 0.0001
        flying.rotate(chance.randrange(len(flying)))
        before = pace.slots
        pace.observe_attempt(result.attempt, flying.popleft(), now)
        if pace.slots != before:
            changes.append((before, pace.slots))
    return changes


@steady
@given(
    st.integers(1, 40),
    st.randoms(use_true_random=False),
    st.lists(
        st.sampled_from([GOOD, GOOD, MISSING, BUSY, UNAVAILABLE, LATE, failed(ErrorKind.RESET)]),
        max_size=150,
    ),
)
def test_places_halve_or_grow_by_one_and_all_come_back_in_the_end(
    most: int, chance: random.Random, results: list[Result]
) -> None:
    pace = AdaptiveSlots(most, most)
    changes = crawled(pace, chance, results)
    for before, after in changes:
        assert after in (max(1, before // 2), before + 1)
        assert 1 <= after <= most
    pushes = sum(result in (BUSY, UNAVAILABLE, LATE) for result in results)
    assert sum(after < before for before, after in changes) <= pushes
    # Twice: a round that was under way may end first.
    answered(pace, GOOD, now=10_000, count=most * (most + 3))
    assert (pace.slots, pace.unthrottled) == (most, True)


@steady
@given(st.integers(2, 40), st.randoms(use_true_random=False), st.integers(1, 200))
def test_between_two_halvings_something_new_was_asked(
    most: int, chance: random.Random, count: int
) -> None:
    pace = AdaptiveSlots(most, most)
    cut = -math.inf
    flying = [float(number) for number in range(most)]
    now = float(most)
    for _ in range(count):
        now += 1
        started = flying.pop(chance.randrange(len(flying)))
        before = pace.slots
        pace.observe_attempt(BUSY.attempt, started, now)
        if pace.slots < before:
            assert started >= cut
            cut = now
        else:
            assert started < cut or before == 1
        if len(flying) < pace.slots:
            now += 1
            flying.append(now)


# What will not fit


def told(**changes: Any) -> str | None:
    known: dict[str, Any] = {
        "deadline": 60.0, "elapsed": 10.0, "done": 100, "total": 1_000, "least": 0.0,
    }  # fmt: skip
    return deadline_warning(**(known | changes))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"total": None}, id="total unknown"),
        pytest.param({"total": 600}, id="just in time"),
        pytest.param({"total": 100}, id="done"),
        pytest.param({"total": 90}, id="fewer than were done"),
        pytest.param({"done": 0}, id="nothing done"),
        pytest.param({"elapsed": 5.9}, id="too early to tell"),
        pytest.param({"deadline": 20.0, "elapsed": 2.9, "done": 1}, id="the first seconds"),
        pytest.param({"elapsed": 60.0}, id="at the deadline"),
        pytest.param({"elapsed": 61.0}, id="after the deadline"),
        pytest.param({"total": 200, "least": 49.0}, id="rates that allow it"),
    ],
)
def test_nothing_is_said_of_a_crawl_that_may_make_it(changes: dict[str, Any]) -> None:
    assert told(**changes) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({}, ["1,000 URLs", "1 min 40 s", "deadline of 60.00 s"], id="pace"),
        pytest.param({"total": 670}, ["670 URLs"], id="a little too many"),
        pytest.param(
            {"elapsed": 0.0, "done": 0, "least": 500.0}, ["1,000 URLs", "8 min 20 s"], id="at once"
        ),
        pytest.param({"total": 200, "least": 90.0}, ["1 min 40 s"], id="rates before pace"),
    ],
)
def test_a_crawl_that_will_not_make_its_deadline_is_told_of_early(
    changes: dict[str, Any], words: list[str]
) -> None:
    sentence = told(**changes)
    assert sentence is not None
    for word in words:
        assert word in sentence
    assert "deadline" in sentence
    assert "\n" not in sentence


@steady
@given(
    st.floats(1e-3, 1e8),
    st.floats(0, 1e8),
    st.integers(0, 10**7),
    st.integers(0, 10**7) | st.none(),
    st.floats(0, 1e9),
)
def test_a_warning_is_never_wrong_about_what_is_known(
    deadline: float, elapsed: float, done: int, total: int | None, least: float
) -> None:
    sentence = told(deadline=deadline, elapsed=elapsed, done=done, total=total, least=least)
    if sentence is not None:
        assert total is not None
        pace = (total - done) * elapsed / done if done else 0.0
        assert elapsed < deadline < elapsed + max(least, pace)
    elif total is not None and elapsed < deadline:
        assert elapsed + least <= deadline * 1.1


# The bounds of a crawl


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"max": 0}, "max is less than 1"),
        ({"max": -1}, "max is less than 1"),
        ({"per_host": 0}, "per_host is less than 1"),
        ({"window": 0}, "window is less than 1"),
        ({"timeout": 0}, "timeout is not above 0"),
        ({"timeout": math.nan}, "timeout is not above 0"),
        ({"rate": 0}, "rate is not above 0"),
        ({"rate": -0.5}, "rate is not above 0"),
        ({"rate": math.nan}, "rate is not above 0"),
        ({"host_rate": 0.0}, "host_rate is not above 0"),
        ({"deadline": 0}, "deadline is not above 0"),
        ({"deadline": math.nan}, "deadline is not above 0"),
        ({"retries": -1}, "retries is less than 0"),
        ({"backoff": -0.1}, "backoff is less than 0"),
        ({"backoff": math.nan}, "backoff is less than 0"),
        ({"max_wait": -1}, "max_wait is less than 0"),
        ({"max_wait": math.nan}, "max_wait is less than 0"),
        ({"max_redirects": -1}, "max_redirects is less than 0"),
        ({"max_body": -1}, "max_body is less than 0"),
        ({"confirm_after": -1}, "confirm_after is less than 0"),
        ({"confirm_after": math.nan}, "confirm_after is less than 0"),
        ({"hedge_budget": -0.01}, "hedge_budget is not from 0 to 1"),
        ({"hedge_budget": 1.01}, "hedge_budget is not from 0 to 1"),
        ({"hedge_budget": math.nan}, "hedge_budget is not from 0 to 1"),
    ],
    ids=str,
)
def test_a_bound_that_allows_nothing_is_refused_by_name(
    changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        Limits(**changes)
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        replace(Limits(), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"max": 1, "per_host": 1, "window": 1},
        {"rate": None, "host_rate": None, "deadline": None, "confirm_after": None},
        {"rate": 0.0001, "host_rate": 1e7, "deadline": 0.001, "timeout": 0.001},
        {"retries": 0, "backoff": 0, "max_wait": 0, "confirm_after": 0},
        {"max_redirects": 0, "max_body": 0, "hedge_budget": 0.0},
        {"hedge_budget": 1.0},
        {"timeout": math.inf, "max_wait": math.inf},
    ],
    ids=str,
)
def test_the_least_and_the_most_of_a_bound_are_taken(changes: dict[str, Any]) -> None:
    limits = Limits(**changes)
    assert {name: getattr(limits, name) for name in changes} == changes
