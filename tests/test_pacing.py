"""Rate limiting, adaptive slots of a throttling host, and deadline warnings."""

import math
import random
from bisect import bisect_right
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import failed, responded, steady

from crawler.core.pacing import AdaptiveSlots, Rate, deadline_warning
from crawler.models import ErrorKind, Result

SLOW = settings(steady, max_examples=25)

GOOD, MISSING = responded(), responded(status=404)
TOO_MANY, UNAVAILABLE = responded(status=429), responded(status=503)
TIMED_OUT = failed(ErrorKind.TIMEOUT)

RATES = st.sampled_from([0.5, 1, 7.3, 100, 5_000]) | st.floats(0.5, 5_000)


# Rates


def starts(rate: float, seconds: float, lateness: list[float]) -> list[float]:
    """Return the times of starts that are only delayed by the rate and by late timers."""
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
def test_at_most_fifty_milliseconds_of_late_starts_are_made_up_for(
    rate: float, lateness: list[float]
) -> None:
    times = starts(rate, 2, lateness)
    for first in range(0, len(times), max(1, len(times) // 300)):
        for window in (0.0, 0.01, 0.1, 1.0):
            count = bisect_right(times, times[first] + window) - first
            assert count <= rate * (window + 0.05) + 1 + 1e-6


def test_the_first_start_is_immediate_and_the_second_waits() -> None:
    rate = Rate(2)
    assert rate.due < 1_000
    rate.reserve(1_000)
    assert rate.due == 1_000.5


def test_a_long_pause_gives_no_credit() -> None:
    rate = Rate(10)
    rate.reserve(0)
    rate.reserve(100)
    assert 100.04 < rate.due <= 100.1


def test_starts_that_did_not_wait_delay_the_next_one() -> None:
    rate = Rate(10)
    rate.reserve(0)
    rate.reserve(0.1, count=3)
    assert rate.due == pytest.approx(0.4)


# Adaptive slots


def observe(adaptive: AdaptiveSlots, result: Result, *, now: float, count: int = 1) -> int:
    """Observe `count` attempts that started shortly before `now`; return the slots."""
    for _ in range(count):
        adaptive.observe_attempt(result.attempt, now - 0.001, now)
    return adaptive.slots


def slots_after(adaptive: AdaptiveSlots, result: Result, times: list[float]) -> list[int]:
    """Return the slots after each of several attempts, at the given times."""
    return [observe(adaptive, result, now=now) for now in times]


@pytest.mark.parametrize("result", [TOO_MANY, UNAVAILABLE], ids=["429", "503"])
def test_a_throttling_host_gets_half_its_slots_down_to_one(result: Result) -> None:
    assert slots_after(AdaptiveSlots(10, 10), result, [1, 2, 3, 4, 5]) == [5, 2, 1, 1, 1]


def test_a_throttled_burst_halves_the_slots_once() -> None:
    adaptive = AdaptiveSlots(10, 10)
    for number in range(10):
        adaptive.observe_attempt(TOO_MANY.attempt, started=number / 100, now=1 + number / 100)
    assert adaptive.slots == 5
    for number in range(5):
        adaptive.observe_attempt(TOO_MANY.attempt, started=2 + number / 100, now=3 + number / 100)
    assert adaptive.slots == 2


@pytest.mark.parametrize("status", [200, 204, 301, 304, 403, 404, 410])
def test_an_ordinary_status_is_not_throttling(status: int) -> None:
    adaptive = AdaptiveSlots(10, 10)
    assert set(slots_after(adaptive, responded(status=status), list(range(1, 50)))) == {10}
    assert adaptive.unthrottled


def test_each_successful_round_adds_one_slot() -> None:
    adaptive = AdaptiveSlots(10, 10)
    assert observe(adaptive, TOO_MANY, now=1) == 5
    for slots in range(5, 10):
        assert observe(adaptive, GOOD, now=2, count=slots - 1) == slots
        assert not adaptive.unthrottled
        assert observe(adaptive, GOOD, now=2) == slots + 1
    assert adaptive.unthrottled
    assert observe(adaptive, GOOD, now=3, count=100) == 10


def test_throttling_starts_a_new_round() -> None:
    adaptive = AdaptiveSlots(16, 16)
    assert observe(adaptive, TOO_MANY, now=1) == 8
    assert observe(adaptive, GOOD, now=2, count=7) == 8
    assert observe(adaptive, TOO_MANY, now=3) == 4
    assert observe(adaptive, GOOD, now=4, count=3) == 4
    assert observe(adaptive, GOOD, now=4) == 5


def test_a_404_counts_as_a_success() -> None:
    adaptive = AdaptiveSlots(10, 5)
    assert observe(adaptive, MISSING, now=1, count=5) == 6


def test_responses_to_requests_before_the_throttling_add_no_slot() -> None:
    adaptive = AdaptiveSlots(10, 10)
    adaptive.observe_attempt(TOO_MANY.attempt, started=0.0, now=1.0)
    for _ in range(9):
        adaptive.observe_attempt(GOOD.attempt, started=0.0, now=1.1)
    assert adaptive.slots == 5


@pytest.mark.parametrize(
    "kind", [ErrorKind.RESET, ErrorKind.CONNECT_REFUSED, ErrorKind.DISCONNECTED]
)
def test_a_connection_error_adds_no_slot(kind: ErrorKind) -> None:
    adaptive = AdaptiveSlots(10, 10)
    assert observe(adaptive, TOO_MANY, now=1) == 5
    assert observe(adaptive, failed(kind), now=2, count=50) <= 5


def test_occasional_timeouts_change_nothing() -> None:
    adaptive = AdaptiveSlots(10, 10)
    for number in range(50):
        assert observe(adaptive, GOOD, now=number, count=9) == 10
        assert observe(adaptive, TIMED_OUT, now=number) == 10


def test_a_constant_number_of_timeouts_does_not_halve_the_slots_again() -> None:
    adaptive = AdaptiveSlots(10, 10)
    assert observe(adaptive, TIMED_OUT, now=1, count=2) == 5
    for number in range(2, 30):
        observe(adaptive, GOOD, now=number, count=3)
        assert observe(adaptive, TIMED_OUT, now=number, count=2) == 5


def test_a_round_with_a_timeout_adds_no_slot() -> None:
    adaptive = AdaptiveSlots(10, 5)
    assert observe(adaptive, GOOD, now=1, count=4) == 5
    assert observe(adaptive, TIMED_OUT, now=2) == 5
    assert observe(adaptive, GOOD, now=3, count=4) == 5
    assert observe(adaptive, GOOD, now=4) == 6


def test_a_rising_number_of_timeouts_halves_the_slots() -> None:
    adaptive = AdaptiveSlots(10, 10)
    observe(adaptive, GOOD, now=1, count=10)
    observe(adaptive, TIMED_OUT, now=2)
    observe(adaptive, GOOD, now=2, count=9)
    assert adaptive.slots == 10
    assert observe(adaptive, TIMED_OUT, now=3, count=3) == 5


def test_past_timeouts_are_forgotten() -> None:
    adaptive = AdaptiveSlots(4, 4)
    observe(adaptive, TIMED_OUT, now=1, count=4)
    assert adaptive.slots < 4
    observe(adaptive, GOOD, now=2, count=30)
    assert (adaptive.slots, adaptive.unthrottled) == (4, True)


def test_a_single_timeout_after_a_burst_of_timeouts_changes_nothing() -> None:
    """The rest of the burst does not count for the round after it."""
    adaptive = AdaptiveSlots(10, 10)
    for _ in range(10):
        adaptive.observe_attempt(TIMED_OUT.attempt, started=0.0, now=1.0)
    assert adaptive.slots == 5
    assert observe(adaptive, TIMED_OUT, now=2) == 5


@pytest.mark.parametrize("most", [1, 2, 10, 100])
def test_a_dead_host_never_gains_slots(most: int) -> None:
    adaptive = AdaptiveSlots(most, most)
    seen = [most]
    for burst in range(1, 60):
        for _ in range(adaptive.slots):
            adaptive.observe_attempt(
                TIMED_OUT.attempt, started=burst * 10, now=burst * 10 + 10 - 1e-6
            )
        seen.append(adaptive.slots)
    assert seen == sorted(seen, reverse=True)
    assert 1 <= seen[-1] <= max(1, most // 2)


def crawled(
    adaptive: AdaptiveSlots, chance: random.Random, results: list[Result]
) -> list[tuple[int, int]]:
    """Keep as many requests in flight as there are slots; return all changes of the slots."""
    in_flight: deque[float] = deque()
    changes = []
    now = 0.0
    for result in results:
        now += 0.001
        while len(in_flight) < adaptive.slots:
            in_flight.append(now)
            now += 0.0001
        in_flight.rotate(chance.randrange(len(in_flight)))
        before = adaptive.slots
        adaptive.observe_attempt(result.attempt, in_flight.popleft(), now)
        if adaptive.slots != before:
            changes.append((before, adaptive.slots))
    return changes


@steady
@given(
    st.integers(1, 40),
    st.randoms(use_true_random=False),
    st.lists(
        st.sampled_from(
            [GOOD, GOOD, MISSING, TOO_MANY, UNAVAILABLE, TIMED_OUT, failed(ErrorKind.RESET)]
        ),
        max_size=150,
    ),
)
def test_slots_halve_or_grow_by_one_and_all_return_in_the_end(
    most: int, chance: random.Random, results: list[Result]
) -> None:
    adaptive = AdaptiveSlots(most, most)
    changes = crawled(adaptive, chance, results)
    for before, after in changes:
        assert after in (max(1, before // 2), before + 1)
        assert 1 <= after <= most
    throttled = sum(result in (TOO_MANY, UNAVAILABLE, TIMED_OUT) for result in results)
    assert sum(after < before for before, after in changes) <= throttled
    # Twice: a round in progress may end first.
    observe(adaptive, GOOD, now=10_000, count=most * (most + 3))
    assert (adaptive.slots, adaptive.unthrottled) == (most, True)


@steady
@given(st.integers(2, 40), st.randoms(use_true_random=False), st.integers(1, 200))
def test_slots_halve_only_for_requests_started_after_the_last_halving(
    most: int, chance: random.Random, count: int
) -> None:
    adaptive = AdaptiveSlots(most, most)
    cut = -math.inf
    in_flight = [float(number) for number in range(most)]
    now = float(most)
    for _ in range(count):
        now += 1
        started = in_flight.pop(chance.randrange(len(in_flight)))
        before = adaptive.slots
        adaptive.observe_attempt(TOO_MANY.attempt, started, now)
        if adaptive.slots < before:
            assert started >= cut
            cut = now
        else:
            assert started < cut or before == 1
        if len(in_flight) < adaptive.slots:
            now += 1
            in_flight.append(now)


# Deadline warnings


def warning(**changes: Any) -> str | None:
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
        pytest.param({"elapsed": 5.9}, id="too early to say"),
        pytest.param({"deadline": 20.0, "elapsed": 2.9, "done": 1}, id="the first seconds"),
        pytest.param({"elapsed": 60.0}, id="at the deadline"),
        pytest.param({"elapsed": 61.0}, id="after the deadline"),
        pytest.param({"total": 200, "least": 49.0}, id="rates that allow it"),
    ],
)
def test_a_crawl_that_may_meet_its_deadline_gets_no_warning(changes: dict[str, Any]) -> None:
    assert warning(**changes) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({}, ["1,000 URLs", "1 min 40 s", "deadline of 60.00 s"], id="throughput"),
        pytest.param({"total": 670}, ["670 URLs"], id="a little too many"),
        pytest.param(
            {"elapsed": 0.0, "done": 0, "least": 500.0}, ["1,000 URLs", "8 min 20 s"], id="at once"
        ),
        pytest.param(
            {"total": 200, "least": 90.0}, ["1 min 40 s"], id="rate slower than throughput"
        ),
    ],
)
def test_a_crawl_that_will_miss_its_deadline_gets_an_early_warning(
    changes: dict[str, Any], words: list[str]
) -> None:
    text = warning(**changes)
    assert text is not None
    for word in words:
        assert word in text
    assert "deadline" in text
    assert "\n" not in text


@steady
@given(
    st.floats(1e-3, 1e8),
    st.floats(0, 1e8),
    st.integers(0, 10**7),
    st.integers(0, 10**7) | st.none(),
    st.floats(0, 1e9),
)
def test_a_warning_is_consistent_with_rate_and_throughput(
    deadline: float, elapsed: float, done: int, total: int | None, least: float
) -> None:
    text = warning(deadline=deadline, elapsed=elapsed, done=done, total=total, least=least)
    if text is not None:
        assert total is not None
        remaining = (total - done) * elapsed / done if done else 0.0
        assert elapsed < deadline < elapsed + max(least, remaining)
    elif total is not None and elapsed < deadline:
        assert elapsed + least <= deadline * 1.1
