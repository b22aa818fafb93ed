"""When a slow request is hedged, and how many hedges are sent."""

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
    """Return the nearest rank by definition."""
    return sorted(values)[math.ceil(Fraction("0.95") * len(values)) - 1]


def observed(*pairs: tuple[str, float]) -> HedgeDelay:
    delay = HedgeDelay()
    for host, latency in pairs:
        delay.observe_latency(host, latency)
    return delay


def test_no_request_is_hedged_before_twenty_latencies_are_known() -> None:
    delay = HedgeDelay()
    for _ in range(SAMPLES - 1):
        delay.observe_latency("a", 0.1)
        assert delay.seconds("a") is delay.seconds("b") is None
    delay.observe_latency("a", 0.1)
    assert delay.seconds("a") == delay.seconds("b") == 0.1


def test_a_host_with_fewer_than_twenty_latencies_uses_those_of_all_hosts() -> None:
    delay = observed(*[("slow", 1.0)] * 100, *[("fast", 0.01)] * (SAMPLES - 1))
    assert delay.seconds("fast") == delay.seconds("unknown") == 1.0
    delay.observe_latency("fast", 0.01)
    assert delay.seconds("fast") == 0.01
    assert delay.seconds("slow") == 1.0


def test_one_outlier_in_twenty_does_not_change_the_delay() -> None:
    assert observed(*[("a", 0.1)] * 19, ("a", 5.0)).seconds("a") == 0.1
    assert observed(*[("a", 0.1)] * 18, *[("a", 5.0)] * 2).seconds("a") == 5.0


def test_the_delay_grows_with_the_latency_of_a_host() -> None:
    delay = observed(*[("a", 0.1)] * 20, *[("a", 0.4)] * 20)
    assert delay.seconds("a") == 0.4


@steady
@given(st.lists(LATENCIES, min_size=SAMPLES, max_size=90))
def test_the_delay_is_a_recent_95th_percentile(values: list[float]) -> None:
    delay = HedgeDelay()
    for count, value in enumerate(values, 1):
        delay.observe_latency("a", value)
        seconds = delay.seconds("a")
        if count < SAMPLES:
            assert seconds is None
            continue
        recent = range(max(SAMPLES, math.floor(count / 1.1)), count + 1)
        known = [p95(values[:seen]) for seen in recent]
        assert seconds is not None
        assert min(known) <= seconds <= max(known) * 1.05 * (1 + 1e-9)
        assert seconds in values


def test_hosts_without_recent_latencies_are_forgotten() -> None:
    delay = observed(*[("old", 9.0)] * SAMPLES, *((f"h{n}", 0.1) for n in range(10_000)))
    assert delay.seconds("old") == 0.1


def test_a_host_with_recent_latencies_is_not_forgotten() -> None:
    delay = observed(*[("busy", 9.0)] * SAMPLES)
    for number in range(10_500):
        delay.observe_latency(f"h{number}", 0.1)
        if number % 1_000 == 0:
            delay.observe_latency("busy", 9.0)
    assert delay.seconds("busy") == 9.0


# The quota


@steady
@given(
    PERCENT | st.floats(0, 1),
    st.lists(st.sampled_from(["request", "slow", "slow", "start", "cancel"]), max_size=400),
)
def test_hedges_never_exceed_their_share_of_all_requests(share: float, steps: list[str]) -> None:
    """In any order of starts: a hedge may have to wait, and may be cancelled."""
    quota = HedgeQuota(share)
    waiting = started = 0
    for step in steps:
        if step == "request":
            quota.sent += 1
        elif step == "slow" and quota.allows:
            quota.hedges += 1
            waiting += 1
        elif step == "start" and waiting:
            waiting -= 1
            started += 1
            quota.sent += 1
        elif step == "cancel" and waiting:
            waiting -= 1
            quota.hedges -= 1
        assert started <= share * quota.sent * (1 + 1e-12)
    started += waiting
    assert started <= share * (quota.sent + waiting) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("share", "sent", "hedges", "allowed"),
    [
        pytest.param(0.0, 1_000_000, 0, False, id="no share"),
        pytest.param(0.02, 48, 0, False, id="49 requests"),
        pytest.param(0.02, 49, 0, True, id="50 requests"),
        pytest.param(0.02, 50, 1, False, id="51 requests, one of them a hedge"),
    ],
)
def test_a_hedge_counts_as_one_of_the_requests(
    share: float, sent: int, hedges: int, allowed: bool
) -> None:
    assert HedgeQuota(share, sent=sent, hedges=hedges).allows is allowed


@pytest.mark.parametrize("percent", [1, 2, 5, 29, 50, 100])
def test_the_quota_can_be_used_up(percent: int) -> None:
    quota = HedgeQuota(percent / 100)
    for _ in range(1_000):
        quota.sent += 1
        if quota.allows:
            quota.hedges += 1
            quota.sent += 1
    used = quota.hedges / quota.sent
    assert used == pytest.approx(min(percent / 100, 0.5), rel=0.06)
