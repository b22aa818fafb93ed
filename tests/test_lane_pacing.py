"""Lanes: paused hosts, hosts that throttle, and rates."""

from collections import Counter

import pytest
from lanebench import LATE, START, Clock, paused_lanes, respond, take_all, taken_at
from samples import failed, on, responded

from crawler.engine.lanes import Lanes
from crawler.models import ErrorKind, Result, Target

# Paused hosts


def test_nothing_starts_on_a_paused_host() -> None:
    clock = Clock()
    lanes = paused_lanes(clock, "a", seconds=2.0)
    lanes.enqueue(on("a", 1))
    lanes.enqueue(on("a", 2), urgent=True)
    lanes.enqueue(on("a", 3), at=START + 1)
    assert set(taken_at(lanes, clock).items()) == {(1, 2.0), (2, 2.0), (3, 2.0)}


def test_a_pause_applies_to_entries_that_wait_already() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(4)], per_host=2, clock=clock)
    assert len(take_all(lanes)) == 2
    lanes.pause_host("a", START + 2)
    lanes.release(on("a", 0))
    assert taken_at(lanes, clock) == {2: 2.0}


def test_a_pause_of_a_host_with_a_free_slot_applies_to_its_next_entry() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(3)], clock=clock)
    lanes.take()
    lanes.pause_host("a", START + 2)
    assert taken_at(lanes, clock) == {1: 2.0, 2: 2.0}


def test_a_shorter_pause_does_not_shorten_a_longer_one() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 0), on("a", 1)], per_host=2, clock=clock)
    take_all(lanes)
    lanes.pause_host("a", START + 5)
    lanes.release(on("a", 0))
    lanes.pause_host("a", START + 1)
    lanes.release(on("a", 1))
    lanes.enqueue(on("a", 2))
    assert taken_at(lanes, clock) == {2: 5.0}


def test_a_pause_is_kept_although_the_rate_of_the_host_would_allow_more() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 0), on("a", 1)], host_rate=10.0, clock=clock)
    lanes.take()
    lanes.pause_host("a", START + 5)
    lanes.release(on("a", 0))
    assert taken_at(lanes, clock) == {1: 5.0}


def test_an_extended_pause_is_kept_to_its_new_end() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 0), on("a", 1), on("a", 2)], per_host=2, clock=clock)
    take_all(lanes)
    lanes.pause_host("a", START + 1)
    lanes.release(on("a", 0))
    lanes.pause_host("a", START + 5)
    lanes.release(on("a", 1))
    assert taken_at(lanes, clock) == {2: 5.0}


def test_a_host_without_requests_can_be_paused() -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(clock=clock)
    lanes.pause_host("a", START + 2)
    lanes.enqueue(on("a", 0))
    assert taken_at(lanes, clock) == {0: 2.0}


def test_a_host_that_is_ready_can_be_paused() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 0)], clock=clock)
    lanes.pause_host("a", START + 2)
    assert taken_at(lanes, clock) == {0: 2.0}


def test_a_paused_host_holds_up_no_other() -> None:
    clock = Clock()
    lanes = paused_lanes(clock, "a", seconds=60.0)
    lanes.enqueue(on("a", 1))
    for index in range(2, 50):
        lanes.enqueue(on("b", index))
    taken = []
    while (one := lanes.take()) is not None:
        taken.append(one.index)
        lanes.release(one)
    assert taken == list(range(2, 50))


# Hosts that throttle


THROTTLES = {
    "429": responded(status=429),
    "503": responded(status=503),
}


DOES_NOT_THROTTLE = {
    "200": responded(),
    "404": responded(status=404),
    "500": responded(status=500),
    "reset": failed(ErrorKind.RESET),
    "timeout": failed(ErrorKind.TIMEOUT),
}


@pytest.mark.parametrize("result", THROTTLES.values(), ids=THROTTLES)
def test_a_host_that_throttles_gets_half_its_slots(result: Result) -> None:
    clock = Clock()
    lanes = Lanes([on(host, index) for index in range(50) for host in "ab"], clock=clock)
    taken = take_all(lanes)
    assert Counter(one.host for one in taken) == {"a": 10, "b": 10}
    results = {"a": result, "b": responded()}
    respond(lanes, clock, *((one, results[one.host]) for one in taken))
    assert Counter(one.host for one in take_all(lanes)) == {"a": 5, "b": 10}


@pytest.mark.parametrize("result", DOES_NOT_THROTTLE.values(), ids=DOES_NOT_THROTTLE)
def test_a_response_that_does_not_throttle_costs_no_slot(result: Result) -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(50)], clock=clock)
    first, *_ = take_all(lanes)
    respond(lanes, clock, (first, result))
    assert len(take_all(lanes)) == 1


def test_a_host_that_throttled_regains_a_slot_for_each_clean_round() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(500)], per_host=8, clock=clock)
    respond(lanes, clock, *((one, responded(status=503)) for one in take_all(lanes)))
    slots = []
    for _ in range(6):
        taken = take_all(lanes)
        slots.append(len(taken))
        respond(lanes, clock, *((one, responded()) for one in taken))
    assert slots == [4, 5, 6, 7, 8, 8]


def test_an_idle_host_that_throttled_is_remembered() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(4)], per_host=4, clock=clock)
    respond(lanes, clock, *((one, responded(status=429)) for one in take_all(lanes)))
    assert len(lanes) == 0
    for index in range(4, 8):
        lanes.enqueue(on("a", index))
    assert len(take_all(lanes)) == 2


def test_slots_lost_while_in_use_are_not_given_again() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(10)], per_host=4, clock=clock)
    taken = take_all(lanes)
    assert len(taken) == 4
    respond(lanes, clock, (taken[0], responded(status=429)))
    assert lanes.take() is None  # three slots are in use, of two
    respond(lanes, clock, (taken[1], failed(ErrorKind.RESET)))
    assert lanes.take() is None
    lanes.release(taken[2])
    assert len(take_all(lanes)) == 1


# Rates


@pytest.mark.parametrize("rate", [0.5, 1.0, 4.0, 10.0, 1000.0])
def test_starts_are_spaced_by_the_rate_over_all_hosts(rate: float) -> None:
    clock = Clock()
    targets = [on("abc"[index % 3], index) for index in range(9)]
    times = taken_at(Lanes(targets, rate=rate, clock=clock), clock)
    assert times == pytest.approx({index: index / rate for index in range(9)})


@pytest.mark.parametrize("rate", [0.5, 1.0, 4.0, 10.0, 1000.0])
def test_starts_on_each_host_are_spaced_by_the_host_rate(rate: float) -> None:
    clock = Clock()
    targets = [on("abc"[index % 3], index) for index in range(9)]
    times = taken_at(Lanes(targets, host_rate=rate, clock=clock), clock)
    assert times == pytest.approx({index: (index // 3) / rate for index in range(9)})


def test_a_host_at_its_rate_leaves_the_total_rate_to_the_others() -> None:
    clock = Clock()
    targets = [*(on("a", index) for index in range(3)), *(on("b", index) for index in range(3, 6))]
    times = taken_at(Lanes(targets, rate=10.0, host_rate=5.0, clock=clock), clock)
    assert sorted(times.values()) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_slightly_late_start_does_not_delay_the_next_ones() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(3)], rate=4.0, clock=clock)
    lanes.take()
    clock.now = START + 0.25 + LATE * 0.9
    assert take_all(lanes) == [on("a", 1)]
    assert lanes.next_due() == pytest.approx(START + 0.5)


@pytest.mark.parametrize("kind", ["rate", "host_rate"])
def test_idle_time_is_not_made_up_for(kind: str) -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes([on("a", 0)], clock=clock, **{kind: 4.0})  # type: ignore[arg-type]  # floats
    lanes.take()
    clock.now += 100.0
    for index in range(1, 5):
        lanes.enqueue(on("a", index))
    start = clock.now - START
    times = taken_at(lanes, clock)
    assert len(times) == 4
    assert max(times.values()) - start >= 3 / 4.0 - LATE
