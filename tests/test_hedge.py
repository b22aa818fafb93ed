"""When a request is late, and how many may be sent a second time."""

import math
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import steady

from crawler.core.hedge import SAMPLES, HedgeDelay, HedgeQuota

LATENCIES = st.floats(1e-4, 100)
PERCENT = st.integers(0, 100).map(lambda n: n / 100)


def p95(values: Sequence[float]) -> float:
    """Return the nearest rank, the slow way."""
    return sorted(values)[math.ceil(Fraction("0.95") * len(values)) - 1]


def observed(*pairs: tuple[str, float]) -> HedgeDelay:
    patience = HedgeDelay()
    for host, latency in pairs:
        patience.observe_latency(host, latency)
    return patience


def test_nothing_is_late_before_twenty_answers_were_seen() -> None:
    patience = HedgeDelay()
    for _ in range(SAMPLES - 1):
        patience.observe_latency("a", 0.1)
        assert patience.seconds("a") is patience.seconds("b") is None
    patience.observe_latency("a", 0.1)
    assert patience.seconds("a") == patience.seconds("b") == 0.1


def test_until_a_host_has_twenty_answers_all_hosts_are_its_measure() -> None:
    patience = observed(*[("slow", 1.0)] * 100, *[("fast", 0.01)] * (SAMPLES - 1))
    assert patience.seconds("fast") == patience.seconds("never heard of") == 1.0
    patience.observe_latency("fast", 0.01)
    assert patience.seconds("fast") == 0.01
    assert patience.seconds("slow") == 1.0


def test_one_straggler_of_twenty_does_not_count() -> None:
    assert observed(*[("a", 0.1)] * 19, ("a", 5.0)).seconds("a") == 0.1
    assert observed(*[("a", 0.1)] * 18, *[("a", 5.0)] * 2).seconds("a") == 5.0


def test_a_host_that_gets_slower_is_given_more_time() -> None:
    patience = observed(*[("a", 0.1)] * 20, *[("a", 0.4)] * 20)
    assert patience.seconds("a") == 0.4


@steady
@given(st.lists(LATENCIES, min_size=SAMPLES, max_size=90))
def test_the_limit_is_the_percentile_of_what_was_seen_not_long_ago(values: list[float]) -> None:
    patience = HedgeDelay()
    for count, value in enumerate(values, 1):
        patience.observe_latency("a", value)
        limit = patience.seconds("a")
        if count < SAMPLES:
            assert limit is None
            continue
        lately = range(max(SAMPLES, math.floor(count / 1.1)), count + 1)
        known = [p95(values[:seen]) for seen in lately]
        assert limit is not None
        assert min(known) <= limit <= max(known) * 1.05 * (1 + 1e-9)
        assert limit in values


def test_hosts_heard_of_long_ago_are_forgotten() -> None:
    patience = observed(*[("old", 9.0)] * SAMPLES, *((f"h{n}", 0.1) for n in range(10_000)))
    assert patience.seconds("old") == 0.1


def test_a_host_that_is_still_asked_is_not_forgotten() -> None:
    patience = observed(*[("busy", 9.0)] * SAMPLES)
    for number in range(10_500):
        patience.observe_latency(f"h{number}", 0.1)
        if number % 1_000 == 0:
            patience.observe_latency("busy", 9.0)
    assert patience.seconds("busy") == 9.0


# The quota


@steady
@given(
    PERCENT | st.floats(0, 1),
    st.lists(st.sampled_from(["request", "slow", "slow", "start", "call off"]), max_size=400),
)
def test_second_requests_are_never_more_than_their_share_of_all(
    share: float, steps: list[str]
) -> None:
    """Whatever starts when: a second request waits for its start, and may be called off."""
    quota = HedgeQuota(share)
    waiting = begun = 0
    for step in steps:
        if step == "request":
            quota.sent += 1
        elif step == "slow" and quota.allows:
            quota.hedges += 1
            waiting += 1
        elif step == "start" and waiting:
            waiting -= 1
            begun += 1
            quota.sent += 1
        elif step == "call off" and waiting:
            waiting -= 1
            quota.hedges -= 1
        assert begun <= share * quota.sent * (1 + 1e-12)
    begun += waiting
    assert begun <= share * (quota.sent + waiting) * (1 + 1e-12)


def test_without_a_share_no_second_request_is_sent() -> None:
    quota = HedgeQuota(0.0, sent=1_000_000)
    assert not quota.allows


@pytest.mark.parametrize("percent", [1, 2, 5, 29, 50, 100])
def test_the_budget_is_there_to_be_used(percent: int) -> None:
    quota = HedgeQuota(percent / 100)
    for _ in range(1_000):
        quota.sent += 1
        if quota.allows:
            quota.hedges += 1
            quota.sent += 1
    used = quota.hedges / quota.sent
    assert used == pytest.approx(min(percent / 100, 0.5), rel=0.06)


def test_a_slow_site_of_fifty_requests_gets_one_second_one() -> None:
    assert not HedgeQuota(0.02, sent=48).allows
    assert HedgeQuota(0.02, sent=49).allows
    assert not HedgeQuota(0.02, sent=50, hedges=1).allows
