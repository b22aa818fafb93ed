"""Lanes: the slot of an attempt moves to the host that a redirect leads to."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lanebench import LATE, Clock, respond, take_all, taken_at, use
from samples import on, responded, steady

from crawler.engine.lanes import Lanes
from crawler.models import Target


@pytest.mark.parametrize("kind", ["rate", "host_rate"])
def test_a_transfer_waits_for_the_rates_and_counts_against_them(kind: str) -> None:
    clock = Clock()
    rates: dict[str, Any] = {kind: 10.0}
    lanes: Lanes[Target] = Lanes([on("a", 0)], clock=clock, **rates)
    lanes.take()
    assert lanes.transfer("a", "a") is False
    clock.now += 0.1
    assert [lanes.transfer("a", "a"), lanes.transfer("a", "a")] == [True, False]
    lanes.enqueue(on("a", 1))
    assert taken_at(lanes, clock) == pytest.approx({1: 0.2})


def test_without_rates_a_transfer_starts_at_once() -> None:
    lanes = Lanes([on("a", 0)], clock=Clock())
    lanes.take()
    assert [lanes.transfer("a", "a") for _ in range(5)] == [True] * 5


def test_a_transfer_exchanges_a_slot_of_the_old_host_for_one_of_the_new() -> None:
    lanes = Lanes([on("a", 0), on("a", 1)], per_host=1)
    assert lanes.take() == on("a", 0)
    assert lanes.transfer("a", "b") is True
    lanes.enqueue(on("b", 2))
    assert take_all(lanes) == [on("a", 1)]
    lanes.release(on("b", 0))
    assert take_all(lanes) == [on("b", 2)]


def test_a_transfer_within_a_host_keeps_its_slot() -> None:
    lanes = Lanes([on("a", 0), on("a", 1)], per_host=1)
    assert lanes.take() == on("a", 0)
    assert lanes.transfer("a", "a") is True
    assert lanes.take() is None


def refusing_full(clock: Clock) -> Lanes[Target]:
    lanes = Lanes([on("b", 0), on("a", 1)], per_host=1, clock=clock)
    take_all(lanes)
    return lanes


def refusing_paused(clock: Clock) -> Lanes[Target]:
    lanes = Lanes([on("a", 1)], per_host=1, clock=clock)
    take_all(lanes)
    lanes.pause_host("b", clock.now + 5)
    return lanes


def refusing_rated(clock: Clock) -> Lanes[Target]:
    lanes = Lanes([on("a", 1)], per_host=1, rate=0.5, clock=clock)
    take_all(lanes)
    return lanes


def refusing_with_an_urgent_entry(clock: Clock) -> Lanes[Target]:
    lanes = Lanes([on("b", 0), on("a", 1)], per_host=1, clock=clock)
    take_all(lanes)
    lanes.enqueue(on("b", 2), urgent=True)
    assert lanes.take() is None
    lanes.release(on("b", 0))
    return lanes


@pytest.mark.parametrize(
    "made", [refusing_full, refusing_paused, refusing_rated, refusing_with_an_urgent_entry]
)
def test_a_refused_transfer_changes_nothing(
    made: Callable[[Clock], Lanes[Target]],
) -> None:
    clock = Clock()
    lanes = made(clock)
    assert lanes.transfer("a", "b") is False
    lanes.enqueue(on("a", 9))
    clock.now += 10
    assert on("a", 9) not in take_all(lanes)  # the slot is still taken
    lanes.release(on("a", 1))
    assert on("a", 9) in take_all(lanes)


def test_a_transfer_within_a_host_that_lost_the_slot_is_refused() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(4)], per_host=4, clock=clock)
    assert len(take_all(lanes)) == 4
    respond(lanes, clock, (on("a", 0), responded(status=503)))
    assert lanes.transfer("a", "a") is False
    lanes.release(on("a", 1))
    assert lanes.transfer("a", "a") is True


def test_a_host_that_throttled_regains_slots_by_followed_redirects() -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(per_host=2, clock=clock)
    use(lanes, "a", clock, responded(status=503))
    for index in range(3):
        lanes.enqueue(on("a", index))
    (one,) = take_all(lanes)
    lanes.record_attempt("a", None, clock.now)
    lanes.release(one)
    assert len(take_all(lanes)) == 2


@steady
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.01, 0.049, 0.26, 1.5]),  # seconds that pass
            st.sampled_from(["take", "take", "leave", "transfer"]),
        ),
        max_size=60,
    ),
    st.sampled_from([0.7, 4.0, 30.0, 100.0]),
    st.sampled_from(["rate", "host_rate"]),
)
def test_starts_and_transfers_together_never_exceed_the_rate(
    steps: list[tuple[float, str]], per_second: float, kind: str
) -> None:
    clock = Clock()
    targets = [on("a", index) for index in range(1000)]
    rates = {kind: per_second}
    lanes = Lanes(targets, per_host=1000, clock=clock, **rates)
    sent: list[float] = []
    live: list[Target] = []
    for seconds, step in steps:
        clock.now += seconds
        if step == "leave" and live:
            lanes.release(live.pop())
        elif step == "transfer" and live:
            if lanes.transfer("a", "a"):
                sent.append(clock.now)
        else:
            while (one := lanes.take()) is not None:
                for number, earlier in enumerate(reversed(sent), start=1):
                    assert clock.now - earlier >= number / per_second - LATE - 1e-6
                live.append(one)
                sent.append(clock.now)
