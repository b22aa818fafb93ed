"""Whose turn it is: places of each host, spaced starts, and times before which nothing is asked."""

import asyncio
import gc
import itertools
import sys
import weakref
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import failed, on, responded, run, settle, steady, target

from crawler.core.pacing import AdaptiveSlots
from crawler.engine.lanes import Lanes
from crawler.models import ErrorKind, Result, Target

START = 1000.0
LATE = 0.05  # seconds of starts that may be made up for after a late timer


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def take_all(lanes: Lanes[Target]) -> list[Target]:
    return list(iter(lanes.take, None))


def taken_at(lanes: Lanes[Target], clock: Clock) -> dict[int, float]:
    """Take all that comes with time alone, waking only when due; return when each started."""
    times: dict[int, float] = {}
    while True:
        times |= {taken.index: clock.now - START for taken in take_all(lanes)}
        due = lanes.next_due()
        if due is None:
            return times
        assert due > clock.now
        clock.now = due


def answer(lanes: Lanes[Target], clock: Clock, *results: tuple[Target, Result]) -> None:
    """Let answers come to what was taken a moment before."""
    started = clock.now
    clock.now += 0.001
    for taken, result in results:
        lanes.record_attempt(taken.host, result.attempt, started)
        lanes.release(taken)


def held(clock: Clock, *hosts: str, seconds: float = 60.0) -> Lanes[Target]:
    """Return lanes in which nothing waits, and hosts that asked to be left alone for a while."""
    lanes: Lanes[Target] = Lanes([target(host=host) for host in hosts], clock=clock)
    for taken in take_all(lanes):
        lanes.pause_host(taken.host, clock.now + seconds)
        lanes.release(taken)
    return lanes


# Places and turns


def test_a_busy_host_does_not_hold_up_the_others() -> None:
    a1, a2, b1 = on("a"), on("a"), on("b")
    lanes = Lanes([a1, a2, b1], per_host=1)
    assert [lanes.take() for _ in range(3)] == [a1, b1, None]


def test_hosts_take_turns() -> None:
    a1, a2, a3, b1, b2 = on("a", 1), on("a", 2), on("a", 3), on("b", 4), on("b", 5)
    assert take_all(Lanes([a1, a2, a3, b1, b2])) == [a1, b1, a2, b2, a3]


def test_a_host_that_comes_late_waits_for_one_turn_only() -> None:
    lanes = Lanes([on("a", index) for index in range(5)])
    lanes.take()
    lanes.enqueue(on("b", 5))
    assert [lanes.take(), lanes.take()] == [on("a", 1), on("b", 5)]


def test_a_target_that_leaves_frees_its_place() -> None:
    a1, a2 = on("a", 1), on("a", 2)
    lanes = Lanes([a1, a2], per_host=1)
    assert [lanes.take(), lanes.take()] == [a1, None]
    lanes.release(a1)
    assert [lanes.take(), lanes.take()] == [a2, None]


def test_a_target_that_leaves_frees_no_place_of_another_host() -> None:
    a1, a2, b1 = on("a", 1), on("a", 2), on("b", 3)
    lanes = Lanes([a1, b1, a2], per_host=1)
    assert take_all(lanes) == [a1, b1]
    lanes.release(b1)
    assert lanes.take() is None


def test_a_full_host_gets_no_place_by_being_added_to() -> None:
    lanes = Lanes([on("a", 1)], per_host=1)
    lanes.take()
    lanes.enqueue(on("a", 2))
    assert lanes.take() is None


def test_one_at_a_time_holds_for_hosts_known_and_hosts_to_come() -> None:
    lanes = Lanes([on("a", index) for index in range(5)], per_host=3)
    known = take_all(lanes)
    assert len(known) == 3
    lanes.one_at_a_time()
    lanes.enqueue(on("b", 5))
    lanes.enqueue(on("b", 6))
    assert take_all(lanes) == [on("b", 5)]
    for taken in known[:2]:
        lanes.release(taken)
        assert lanes.take() is None
    lanes.release(known[2])
    assert take_all(lanes) == [on("a", 3)]


@steady
@given(st.lists(st.sampled_from("abc")))
def test_without_a_bound_hosts_are_served_round_robin(hosts: list[str]) -> None:
    targets = [on(host, index) for index, host in enumerate(hosts)]
    lanes = defaultdict(list)
    for one in targets:
        lanes[one.host].append(one)
    rounds = itertools.zip_longest(*lanes.values())
    expected = [one for turn in rounds for one in turn if one is not None]
    assert take_all(Lanes(targets, per_host=1000)) == expected


# What waits


def test_the_length_is_what_waits() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 1), on("b", 2), on("a", 3)], clock=clock)
    lanes.take()
    assert len(lanes) == 2
    lanes.enqueue(on("c", 4), urgent=True)
    lanes.enqueue(on("c", 5), at=clock.now + 1)
    assert len(lanes) == 4
    assert len(take_all(lanes)) == 3
    assert len(lanes) == 1


def test_the_longest_lane_is_that_of_the_host_for_which_most_wait() -> None:
    lanes = Lanes([on("a", 1), on("b", 2), on("a", 3), on("a", 4), on("b", 5)], per_host=1)
    assert lanes.longest_queue() == 3
    take_all(lanes)
    assert lanes.longest_queue() == 2


def test_no_lane_is_longest_where_nothing_waits() -> None:
    assert Lanes[Target]().longest_queue() == 0


def test_clear_takes_out_all_that_waits() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 0), on("a", 1), on("b", 2), on("a", 3), on("c", 4)], clock=clock)
    lanes.take()
    lanes.pause_host("a", clock.now + 60)
    lanes.enqueue(on("d", 5), urgent=True)
    lanes.enqueue(on("d", 6), at=clock.now + 1)
    cleared = sorted(lanes.clear(), key=lambda one: one.index)
    assert cleared == [on("a", 1), on("b", 2), on("a", 3), on("c", 4), on("d", 5), on("d", 6)]
    clock.now += 100
    assert (len(lanes), lanes.take(), lanes.next_due(), lanes.clear()) == (0, None, None, [])


def test_what_is_taken_when_the_rest_is_cleared_keeps_its_place() -> None:
    lanes = Lanes([on("a", 0), on("a", 1)], per_host=1)
    taken = lanes.take()
    assert taken is not None
    lanes.clear()
    lanes.enqueue(on("a", 2))
    assert lanes.take() is None
    lanes.release(taken)
    assert lanes.take() == on("a", 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda lanes: lanes.enqueue(on("a", 2)),
        lambda lanes: lanes.enqueue(on("a", 2), urgent=True),
        lambda lanes: lanes.enqueue(on("a", 2), at=START + 1),
        lambda lanes: lanes.release(on("a", 1)),
        Lanes.notify,
    ],
    ids=["added", "added as urgent", "added for later", "left", "notified"],
)
def test_changed_waits_until_something_does(change: Callable[[Lanes[Target]], None]) -> None:
    async def body() -> None:
        lanes = Lanes([on("a", 1)], clock=Clock())
        lanes.take()
        await lanes.changed()  # the first target
        waiting = asyncio.create_task(lanes.changed())
        await settle()
        assert not waiting.done()
        change(lanes)
        await waiting

    run(body())


# An entry that is to go first


def test_what_is_first_goes_before_all_others() -> None:
    lanes = Lanes([on("a", 0), on("b", 1), on("a", 2)])
    lanes.enqueue(on("c", 3), urgent=True)
    lanes.enqueue(on("b", 4), urgent=True)
    assert [one.index for one in take_all(lanes)] == [3, 4, 0, 1, 2]


def full(clock: Clock) -> Lanes[Target]:
    lanes = Lanes([on("a", 10), on("a", 0)], per_host=1, clock=clock)
    lanes.take()
    return lanes


def blocked(clock: Clock) -> Lanes[Target]:
    lanes = held(clock, "a", seconds=1.0)
    lanes.enqueue(on("a", 0))
    return lanes


def rated(clock: Clock) -> Lanes[Target]:
    lanes = Lanes([on("a", 10), on("a", 0)], host_rate=1.0, clock=clock)
    lanes.take()
    return lanes


def free(clock: Clock, lanes: Lanes[Target]) -> None:
    clock.now += 1.0
    if lanes.next_due() is None:
        lanes.release(on("a", 10))


@pytest.mark.parametrize("made", [full, blocked, rated])
def test_what_is_first_waits_until_its_host_is_free_and_holds_up_nobody(
    made: Callable[[Clock], Lanes[Target]],
) -> None:
    clock = Clock()
    lanes = made(clock)
    lanes.enqueue(on("b", 1))
    lanes.enqueue(on("a", 2), urgent=True)
    assert take_all(lanes) == [on("b", 1)]
    free(clock, lanes)
    assert lanes.take() == on("a", 2)


@pytest.mark.parametrize("made", [full, blocked, rated])
def test_what_had_to_wait_for_its_host_is_still_first_when_that_is_free(
    made: Callable[[Clock], Lanes[Target]],
) -> None:
    clock = Clock()
    lanes = made(clock)
    lanes.enqueue(on("a", 2), urgent=True)
    assert lanes.take() is None
    lanes.enqueue(on("b", 3))
    lanes.enqueue(on("c", 4))
    free(clock, lanes)
    assert lanes.take() == on("a", 2)


@pytest.mark.parametrize("made", [full, blocked, rated])
def test_of_two_that_are_first_the_one_that_came_first_is(
    made: Callable[[Clock], Lanes[Target]],
) -> None:
    clock = Clock()
    lanes = made(clock)
    lanes.enqueue(on("a", 2), urgent=True)
    lanes.enqueue(on("a", 3), urgent=True)
    assert lanes.take() is None
    free(clock, lanes)
    assert lanes.take() == on("a", 2)


def test_what_is_first_waits_for_the_rate() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 0), on("b", 1)], rate=4.0, clock=clock)
    lanes.take()
    lanes.enqueue(on("c", 2), urgent=True)
    assert lanes.take() is None
    assert taken_at(lanes, clock) == {2: 0.25, 1: 0.5}


def test_what_is_first_finds_its_host_free_though_it_stands_in_no_queue() -> None:
    lanes: Lanes[Target] = Lanes(per_host=2)
    lanes.enqueue(on("a", 0), urgent=True)
    lanes.enqueue(on("a", 1), urgent=True)
    lanes.enqueue(on("a", 2), urgent=True)
    assert [one.index for one in take_all(lanes)] == [0, 1]
    lanes.release(on("a", 0))
    assert take_all(lanes) == [on("a", 2)]


# Entries that are taken back


def test_what_is_forgotten_does_not_start() -> None:
    lanes = Lanes([on("a", 0)])
    lanes.enqueue(on("a", 1), urgent=True)
    lanes.enqueue(on("a", 2), urgent=True)
    assert lanes.withdraw(on("a", 1)) is True
    assert len(lanes) == 2
    assert [one.index for one in take_all(lanes)] == [2, 0]


@pytest.mark.parametrize("made", [full, blocked, rated])
def test_what_waits_for_its_host_can_be_forgotten(made: Callable[[Clock], Lanes[Target]]) -> None:
    clock = Clock()
    lanes = made(clock)
    lanes.enqueue(on("a", 1), urgent=True)
    assert lanes.take() is None
    assert (lanes.withdraw(on("a", 1)), len(lanes)) == (True, 1)
    free(clock, lanes)
    assert take_all(lanes) == [on("a", 0)]


def test_what_has_started_cannot_be_forgotten_and_keeps_its_place() -> None:
    lanes = Lanes([on("a", 0)], per_host=1)
    lanes.enqueue(on("a", 1), urgent=True)
    assert lanes.take() == on("a", 1)
    assert (lanes.withdraw(on("a", 1)), len(lanes)) == (False, 1)
    assert lanes.take() is None


def test_what_was_forgotten_is_not_there_to_be_forgotten_again() -> None:
    lanes: Lanes[Target] = Lanes()
    lanes.enqueue(on("a", 1), urgent=True)
    assert [lanes.withdraw(on("a", 1)), lanes.withdraw(on("a", 1))] == [True, False]
    assert len(lanes) == 0


# Entries that come later


@pytest.mark.parametrize("seconds", [0.001, 0.5, 30.0])
def test_what_is_for_later_comes_when_it_is_due_and_not_before(seconds: float) -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(clock=clock)
    lanes.enqueue(on("a"), at=START + seconds)
    assert (lanes.take(), lanes.next_due()) == (None, START + seconds)
    clock.now = START + seconds * 0.999
    assert lanes.take() is None
    clock.now = START + seconds
    assert lanes.take() == on("a")


@pytest.mark.parametrize("at", [START, START - 1])
def test_what_is_for_a_time_that_has_come_waits_for_its_turn_only(at: float) -> None:
    lanes = Lanes([on("a", 0)], clock=Clock())
    lanes.enqueue(on("a", 1), at=at)
    lanes.enqueue(on("a", 2))
    assert [one.index for one in take_all(lanes)] == [0, 1, 2]


def test_what_is_for_later_holds_up_nobody_and_takes_no_place() -> None:
    lanes: Lanes[Target] = Lanes(per_host=1, clock=Clock())
    lanes.enqueue(on("a", 0), at=START + 1)
    lanes.enqueue(on("a", 1))
    lanes.enqueue(on("b", 2))
    assert take_all(lanes) == [on("a", 1), on("b", 2)]


def test_what_is_for_later_comes_in_the_order_of_the_times() -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(clock=clock)
    for index, seconds in enumerate([3.0, 1.0, 2.0, 1.0]):
        lanes.enqueue(on("a", index), at=START + seconds)
    assert list(taken_at(lanes, clock).items()) == [(1, 1.0), (3, 1.0), (2, 2.0), (0, 3.0)]


def test_what_comes_when_its_host_is_full_or_blocked_waits_for_that_too() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 0)], per_host=1, clock=clock)
    lanes.take()
    lanes.enqueue(on("a", 1), at=START + 1)
    clock.now = START + 2
    assert lanes.take() is None
    lanes.pause_host("a", START + 5)
    lanes.release(on("a", 0))
    assert (lanes.take(), lanes.next_due()) == (None, START + 5)
    clock.now = START + 5
    assert lanes.take() == on("a", 1)


# Hosts that ask to be left alone


def test_nothing_starts_on_a_host_that_is_held() -> None:
    clock = Clock()
    lanes = held(clock, "a", seconds=2.0)
    lanes.enqueue(on("a", 1))
    lanes.enqueue(on("a", 2), urgent=True)
    lanes.enqueue(on("a", 3), at=START + 1)
    assert set(taken_at(lanes, clock).items()) == {(1, 2.0), (2, 2.0), (3, 2.0)}


def test_a_hold_is_for_all_that_waits_for_the_host_already() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(4)], per_host=2, clock=clock)
    assert len(take_all(lanes)) == 2
    lanes.pause_host("a", START + 2)
    lanes.release(on("a", 0))
    assert taken_at(lanes, clock) == {2: 2.0}


def test_a_hold_on_a_host_with_a_free_place_is_for_what_would_be_next() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(3)], clock=clock)
    lanes.take()
    lanes.pause_host("a", START + 2)
    assert taken_at(lanes, clock) == {1: 2.0, 2: 2.0}


def test_a_shorter_hold_does_not_shorten_a_longer_one() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 0), on("a", 1)], per_host=2, clock=clock)
    take_all(lanes)
    lanes.pause_host("a", START + 5)
    lanes.release(on("a", 0))
    lanes.pause_host("a", START + 1)
    lanes.release(on("a", 1))
    lanes.enqueue(on("a", 2))
    assert taken_at(lanes, clock) == {2: 5.0}


def test_a_hold_is_kept_by_a_host_whose_rate_would_allow_more() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 0), on("a", 1)], host_rate=10.0, clock=clock)
    lanes.take()
    lanes.pause_host("a", START + 5)
    lanes.release(on("a", 0))
    assert taken_at(lanes, clock) == {1: 5.0}


def test_a_hold_that_grows_is_kept_to_its_new_end() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 0), on("a", 1), on("a", 2)], per_host=2, clock=clock)
    take_all(lanes)
    lanes.pause_host("a", START + 1)
    lanes.release(on("a", 0))
    lanes.pause_host("a", START + 5)
    lanes.release(on("a", 1))
    assert taken_at(lanes, clock) == {2: 5.0}


def test_a_host_that_was_not_asked_yet_can_be_held() -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(clock=clock)
    lanes.pause_host("a", START + 2)
    lanes.enqueue(on("a", 0))
    assert taken_at(lanes, clock) == {0: 2.0}


def test_a_host_of_which_the_next_is_about_to_start_can_be_held() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 0)], clock=clock)
    lanes.pause_host("a", START + 2)
    assert taken_at(lanes, clock) == {0: 2.0}


def test_a_host_that_is_held_holds_up_nobody() -> None:
    clock = Clock()
    lanes = held(clock, "a", seconds=60.0)
    lanes.enqueue(on("a", 1))
    for index in range(2, 50):
        lanes.enqueue(on("b", index))
    taken = []
    while (one := lanes.take()) is not None:
        taken.append(one.index)
        lanes.release(one)
    assert taken == list(range(2, 50))


# Hosts that push back

PUSHES = {
    "429": responded(status=429),
    "503": responded(status=503),
}
KEEPS = {
    "200": responded(),
    "404": responded(status=404),
    "500": responded(status=500),
    "reset": failed(ErrorKind.RESET),
    "timeout": failed(ErrorKind.TIMEOUT),
}


@pytest.mark.parametrize("result", PUSHES.values(), ids=PUSHES)
def test_a_host_that_pushes_back_gets_half_its_places_and_others_all(result: Result) -> None:
    clock = Clock()
    lanes = Lanes([on(host, index) for index in range(50) for host in "ab"], clock=clock)
    taken = take_all(lanes)
    assert Counter(one.host for one in taken) == {"a": 10, "b": 10}
    results = {"a": result, "b": responded()}
    answer(lanes, clock, *((one, results[one.host]) for one in taken))
    assert Counter(one.host for one in take_all(lanes)) == {"a": 5, "b": 10}


@pytest.mark.parametrize("result", KEEPS.values(), ids=KEEPS)
def test_one_answer_that_is_no_push_back_costs_a_host_no_place(result: Result) -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(50)], clock=clock)
    first, *_ = take_all(lanes)
    answer(lanes, clock, (first, result))
    assert len(take_all(lanes)) == 1


def test_a_host_that_pushed_back_gets_a_place_more_for_each_clean_round() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(500)], per_host=8, clock=clock)
    answer(lanes, clock, *((one, responded(status=503)) for one in take_all(lanes)))
    places = []
    for _ in range(6):
        taken = take_all(lanes)
        places.append(len(taken))
        answer(lanes, clock, *((one, responded()) for one in taken))
    assert places == [4, 5, 6, 7, 8, 8]


def test_a_host_that_pushes_back_and_waits_for_nothing_is_remembered() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(4)], per_host=4, clock=clock)
    answer(lanes, clock, *((one, responded(status=429)) for one in take_all(lanes)))
    assert len(lanes) == 0
    for index in range(4, 8):
        lanes.enqueue(on("a", index))
    assert len(take_all(lanes)) == 2


def test_places_lost_while_they_are_taken_are_not_given_again() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(10)], per_host=4, clock=clock)
    taken = take_all(lanes)
    assert len(taken) == 4
    answer(lanes, clock, (taken[0], responded(status=429)))
    assert lanes.take() is None  # three are live, on two places
    answer(lanes, clock, (taken[1], failed(ErrorKind.RESET)))
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


def test_a_host_whose_rate_is_spent_leaves_the_rate_of_all_to_the_others() -> None:
    clock = Clock()
    targets = [*(on("a", index) for index in range(3)), *(on("b", index) for index in range(3, 6))]
    times = taken_at(Lanes(targets, rate=10.0, host_rate=5.0, clock=clock), clock)
    assert sorted(times.values()) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_start_that_came_a_little_late_does_not_delay_those_after_it() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(3)], rate=4.0, clock=clock)
    lanes.take()
    clock.now = START + 0.25 + LATE * 0.9
    assert take_all(lanes) == [on("a", 1)]
    assert lanes.next_due() == pytest.approx(START + 0.5)


@pytest.mark.parametrize("kind", ["rate", "host_rate"])
def test_an_idle_time_is_not_made_up_for(kind: str) -> None:
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


# One request after the other in one slot


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


def test_a_transfer_takes_a_slot_of_the_new_host_and_frees_one_of_the_old() -> None:
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


def refusing_held(clock: Clock) -> Lanes[Target]:
    lanes = Lanes([on("a", 1)], per_host=1, clock=clock)
    take_all(lanes)
    lanes.pause_host("b", clock.now + 5)
    return lanes


def refusing_rated(clock: Clock) -> Lanes[Target]:
    lanes = Lanes([on("a", 1)], per_host=1, rate=0.5, clock=clock)
    take_all(lanes)
    return lanes


def refusing_with_one_first(clock: Clock) -> Lanes[Target]:
    lanes = Lanes([on("b", 0), on("a", 1)], per_host=1, clock=clock)
    take_all(lanes)
    lanes.enqueue(on("b", 2), urgent=True)
    assert lanes.take() is None
    lanes.release(on("b", 0))
    return lanes


@pytest.mark.parametrize(
    "made", [refusing_full, refusing_held, refusing_rated, refusing_with_one_first]
)
def test_a_transfer_that_is_refused_changes_nothing(
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


def test_a_transfer_within_a_host_waits_where_the_host_lost_that_slot() -> None:
    clock = Clock()
    lanes = Lanes([on("a", index) for index in range(4)], per_host=4, clock=clock)
    assert len(take_all(lanes)) == 4
    answer(lanes, clock, (on("a", 0), responded(status=503)))
    assert lanes.transfer("a", "a") is False
    lanes.release(on("a", 1))
    assert lanes.transfer("a", "a") is True


def test_followed_redirects_give_slots_back_to_a_host_that_throttled() -> None:
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
def test_at_no_time_are_there_more_requests_than_the_rate_allows(
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


# No stall, no spin, nothing lost


@dataclass(slots=True)
class Model:
    """What a host may do, worked out anew each time."""

    pace: AdaptiveSlots
    until: float = START
    live: list[Target] = field(default_factory=list)
    first: set[int] = field(default_factory=set)
    plain: deque[int] = field(default_factory=deque)
    later: dict[int, float] = field(default_factory=dict)

    def start(self, per_host: int) -> float | None:
        """Return when the next one may start at the earliest."""
        if len(self.live) >= min(per_host, self.pace.slots):
            return None
        times = [self.until] * (len(self.first) + len(self.plain))
        times += [max(self.until, at) for at in self.later.values()]
        return min(times, default=None)


class Bench:
    """Lanes beside a model of them that is too slow for many hosts, and too simple to be wrong."""

    def __init__(self, per_host: int) -> None:
        self.clock = Clock()
        self.per_host = per_host
        self.lanes: Lanes[Target] = Lanes(per_host=per_host, clock=self.clock)
        self.hosts = {host: Model(AdaptiveSlots(per_host, per_host)) for host in "abc"}
        self.numbers = itertools.count()
        self.started: dict[int, float] = {}
        self.taken: list[int] = []

    @property
    def live(self) -> list[Target]:
        return sorted(
            (one for model in self.hosts.values() for one in model.live), key=lambda one: one.index
        )

    def add(self, host: str) -> None:
        one = on(host, next(self.numbers))
        self.hosts[host].plain.append(one.index)
        self.lanes.enqueue(one)

    def add_first(self, host: str) -> None:
        one = on(host, next(self.numbers))
        self.hosts[host].first.add(one.index)
        self.lanes.enqueue(one, urgent=True)

    def add_later(self, host: str, seconds: float) -> None:
        one = on(host, next(self.numbers))
        at = self.clock.now + seconds
        self.hosts[host].later[one.index] = at
        self.lanes.enqueue(one, at=at)

    def forget(self, host: str) -> None:
        model = self.hosts[host]
        for index in sorted(model.first)[:1]:
            assert self.lanes.withdraw(on(host, index)) is True
            model.first.remove(index)
            self.taken.append(index)

    def end(self, place: int, status: int, seconds: float) -> None:
        if not self.live:
            return
        one = self.live[place % len(self.live)]
        model = self.hosts[one.host]
        result = responded(status=status)
        model.pace.observe_attempt(result.attempt, self.started[one.index], self.clock.now)
        self.lanes.record_attempt(one.host, result.attempt, self.started[one.index])
        if seconds:
            self.hold(one.host, seconds)
        model.live.remove(one)
        self.lanes.release(one)

    def hold(self, host: str, seconds: float) -> None:
        model = self.hosts[host]
        model.until = max(model.until, self.clock.now + seconds)
        self.lanes.pause_host(host, self.clock.now + seconds)

    def one_at_a_time(self) -> None:
        self.per_host = 1
        self.lanes.one_at_a_time()

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def take(self) -> Target | None:
        starts = {host: model.start(self.per_host) for host, model in self.hosts.items()}
        one = self.lanes.take()
        if one is None:
            times = [time for time in starts.values() if time is not None]
            due = self.lanes.next_due()
            assert all(time > self.clock.now for time in times)
            assert due is None or due > self.clock.now
            assert not times or (due is not None and due <= min(times))
            return None
        start, model = starts[one.host], self.hosts[one.host]
        assert start is not None
        assert start <= self.clock.now
        if one.index in model.first:
            model.first.remove(one.index)
        else:
            assert not model.first
            if one.index in model.later:
                assert model.later.pop(one.index) <= self.clock.now
            else:
                assert model.plain.popleft() == one.index
        model.live.append(one)
        self.started[one.index] = self.clock.now
        self.taken.append(one.index)
        return one

    def check(self) -> None:
        waiting = [len(m.first) + len(m.plain) + len(m.later) for m in self.hosts.values()]
        assert len(self.lanes) == sum(waiting)

    def drain(self) -> None:
        """Take all that is left; each wait is until something is due or has left."""
        while len(self.lanes) or self.live:
            if self.take() is None:
                due = self.lanes.next_due()
                if self.live:
                    self.end(0, 200, 0.0)
                else:
                    assert due is not None
                    self.clock.now = due


HOSTS = st.sampled_from("abc")
SECONDS = st.sampled_from([0.0, 0.5, 1.0, 7.0])
STEPS = st.one_of(
    st.tuples(st.just(Bench.add), HOSTS),
    st.tuples(st.just(Bench.add), HOSTS),
    st.tuples(st.just(Bench.add_first), HOSTS),
    st.tuples(st.just(Bench.add_later), HOSTS, SECONDS),
    st.tuples(st.just(Bench.forget), HOSTS),
    st.tuples(st.just(Bench.take)),
    st.tuples(st.just(Bench.take)),
    st.tuples(st.just(Bench.take)),
    st.tuples(st.just(Bench.end), st.integers(0, 9), st.sampled_from([200, 200, 503]), SECONDS),
    st.tuples(st.just(Bench.end), st.integers(0, 9), st.sampled_from([200, 200, 503]), SECONDS),
    st.tuples(st.just(Bench.hold), HOSTS, SECONDS),
    st.tuples(st.just(Bench.wait), SECONDS),
    st.tuples(st.just(Bench.one_at_a_time)),
)


@steady
@given(st.integers(1, 5), st.lists(STEPS, max_size=100))
def test_each_starts_once_in_order_within_its_bounds_and_as_soon_as_it_may(
    per_host: int, steps: list[tuple[Any, ...]]
) -> None:
    bench = Bench(per_host)
    for step, *arguments in steps:
        step(bench, *arguments)
        bench.check()
    bench.drain()
    assert sorted(bench.taken) == list(range(next(bench.numbers)))


TICK = 0.125


@dataclass(frozen=True, slots=True)
class Job:
    """A target with the tick at which it comes, and what becomes of it."""

    host: str
    comes: int
    how: str
    lasts: int
    status: int
    hold: float
    redirects: int


def starts(jobs: list[Job], *, always: bool, **how: Any) -> list[tuple[int, int]]:
    """Return at which tick each job was started, in order.

    What may start is looked for at each tick, or only when something has changed or is due.
    """
    clock = Clock()
    lanes: Lanes[Target] = Lanes(clock=clock, **how)
    started: list[tuple[int, int]] = []
    ends: dict[int, list[Target]] = defaultdict(list)
    comes: dict[int, list[int]] = defaultdict(list)
    for index, job in enumerate(jobs):
        comes[job.comes].append(index)
    due: float | None = None
    for tick in range(2_000):
        clock.now = START + tick * TICK
        changed = tick in ends or tick in comes
        for one in ends.pop(tick, []):
            job = jobs[one.index]
            lanes.record_attempt(
                one.host, responded(status=job.status).attempt, clock.now - job.lasts * TICK
            )
            for _ in range(job.redirects):
                lanes.transfer(one.host, one.host)
            if job.hold:
                lanes.pause_host(one.host, clock.now + job.hold)
            lanes.release(one)
        for index in comes.pop(tick, []):
            one = on(jobs[index].host, index)
            at = clock.now + 1.3 if jobs[index].how == "later" else None
            lanes.enqueue(one, urgent=jobs[index].how == "first", at=at)
        if always or changed or (due is not None and due <= clock.now):
            for one in take_all(lanes):
                started.append((tick, one.index))
                ends[tick + jobs[one.index].lasts].append(one)
            due = lanes.next_due()
            assert due is None or due > clock.now
        if not comes and not ends and len(started) == len(jobs):
            return started
    raise AssertionError(f"stalled after {len(started)} of {len(jobs)}")


@steady
@given(
    st.lists(
        st.builds(
            Job,
            host=st.sampled_from("abc"),
            comes=st.integers(0, 30),
            how=st.sampled_from(["next", "next", "first", "later"]),
            lasts=st.integers(1, 8),
            status=st.sampled_from([200, 200, 200, 429]),
            hold=st.sampled_from([0.0, 0.0, 0.0, 0.3, 5.0]),
            redirects=st.sampled_from([0, 0, 3]),
        ),
        max_size=30,
    ),
    st.integers(1, 4),
    st.sampled_from([None, 3.0, 8.0]),
    st.sampled_from([None, 0.7, 4.0]),
)
def test_who_wakes_only_when_something_is_due_misses_no_start(
    jobs: list[Job], per_host: int, rate: float | None, host_rate: float | None
) -> None:
    how: dict[str, Any] = {"per_host": per_host, "rate": rate, "host_rate": host_rate}
    assert starts(jobs, always=False, **how) == starts(jobs, always=True, **how)


def test_nothing_is_due_where_only_one_that_leaves_can_let_the_next_start() -> None:
    lanes = Lanes([on("a", 0), on("a", 1)], per_host=1, clock=Clock())
    assert (lanes.next_due(), lanes.take(), lanes.take(), lanes.next_due()) == (
        None,
        on("a", 0),
        None,
        None,
    )


# What it costs


@dataclass(frozen=True, slots=True)
class Entry:
    """The least that can wait."""

    host: str
    index: int


def opcodes(call: Callable[[], object]) -> int:
    """Return how many steps the interpreter makes in a call."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def plain(hosts: int, clock: Clock) -> Lanes[Entry]:
    return Lanes(entries(hosts), per_host=1, clock=clock)


def paced(hosts: int, clock: Clock) -> Lanes[Entry]:
    return Lanes(entries(hosts), per_host=1, rate=1e9, host_rate=1e9, clock=clock)


def with_blocked_hosts(hosts: int, clock: Clock) -> Lanes[Entry]:
    """Return lanes in which all hosts that are there ask to be left alone, and targets wait."""
    lanes: Lanes[Entry] = Lanes(entries(hosts), per_host=1, clock=clock)
    for taken in [lanes.take() for _ in range(hosts)]:
        assert taken is not None
        lanes.pause_host(taken.host, clock.now + 60 + taken.index)
        lanes.release(taken)
    return lanes


def with_some_for_later(hosts: int, clock: Clock) -> Lanes[Entry]:
    lanes: Lanes[Entry] = Lanes(per_host=1, clock=clock)
    for one in entries(hosts):
        lanes.enqueue(one, at=clock.now + 60 + one.index)
    return lanes


def with_full_hosts(hosts: int, clock: Clock) -> Lanes[Entry]:
    lanes: Lanes[Entry] = Lanes(entries(hosts), per_host=1, clock=clock)
    while lanes.take() is not None:
        pass
    return lanes


def entries(hosts: int) -> list[Entry]:
    return [Entry(f"host{index % hosts}.example", index) for index in range(2 * hosts)]


def hundred_steps(lanes: Lanes[Entry], clock: Clock) -> None:
    result = responded()
    for index in range(100):
        lanes.enqueue(Entry(f"other{index % 5}.example", index))
        taken = lanes.take()
        assert taken is not None
        lanes.record_attempt(taken.host, result.attempt, clock.now)
        clock.now += 0.001
        lanes.release(taken)
        lanes.next_due()


@pytest.mark.parametrize(
    "made", [plain, paced, with_blocked_hosts, with_some_for_later, with_full_hosts]
)
def test_a_step_costs_the_same_for_a_hundred_hosts_and_for_fifty_thousand(
    made: Callable[[int, Clock], Lanes[Entry]],
) -> None:
    def cost(hosts: int) -> int:
        clock = Clock()
        lanes = made(hosts, clock)
        return opcodes(lambda: hundred_steps(lanes, clock))

    assert cost(50_000) == pytest.approx(cost(100), rel=0.02)


def test_one_more_that_comes_and_is_cleared_costs_the_same_after_fifty_thousand_others() -> None:
    def cost(others: int) -> int:
        lanes: Lanes[Entry] = Lanes()
        for one in entries(others):
            lanes.enqueue(one)
        lanes.clear()

        def add_and_clear() -> None:
            for index in range(10):
                lanes.enqueue(Entry(f"other{index}.example", index))
                assert len(lanes.clear()) == 1

        return opcodes(add_and_clear)

    assert cost(50_000) == pytest.approx(cost(10), rel=0.1)


class Host(str):
    """A host name of which one can tell whether it is still remembered."""

    __slots__ = ("__weakref__",)


def use(lanes: Lanes[Target], host: str, clock: Clock, *results: Result) -> None:
    for result in results:
        lanes.enqueue(target(host=host))
        answer(lanes, clock, *((taken, result) for taken in take_all(lanes)))


def answered_well(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    use(lanes, host, clock, responded(), failed(ErrorKind.RESET), responded(status=404))


def started_first(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.enqueue(target(host=host), urgent=True)
    answer(lanes, clock, *((taken, responded()) for taken in take_all(lanes)))


def started_later(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.enqueue(target(host=host), at=clock.now + 1)
    clock.now += 1
    answer(lanes, clock, *((taken, responded()) for taken in take_all(lanes)))


def pushed_back_and_eased(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    use(lanes, host, clock, responded(status=503), *[responded()] * 100)


def held_until_it_left(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.enqueue(target(host=host))
    for taken in take_all(lanes):
        lanes.pause_host(host, clock.now + 1)
        clock.now += 1
        lanes.release(taken)


def held_for_no_time(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.pause_host(host, clock.now)


def held_unasked(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.pause_host(host, clock.now + 1)


def cleared(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.enqueue(target(host=host))
    lanes.clear()


def cleared_while_live(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.enqueue(target(0, host=host))
    lanes.enqueue(target(1, host=host))
    taken = lanes.take()
    assert taken is not None
    lanes.clear()
    lanes.release(taken)


def taken_back(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.enqueue(target(host=host), urgent=True)
    lanes.withdraw(target(host=host))


def pushed_back(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    use(lanes, host, clock, responded(status=429))


def timed_out(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    use(lanes, host, clock, failed(ErrorKind.TIMEOUT))


def asked_to_wait(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.enqueue(target(host=host))
    for taken in take_all(lanes):
        lanes.pause_host(host, clock.now + 1)
        lanes.release(taken)


def remembers(used: Callable[[Lanes[Target], str, Clock], None], **how: Any) -> bool:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(clock=clock, **how)
    host = Host("a.example")
    alive = weakref.ref(host)
    used(lanes, host, clock)
    del host
    gc.collect()
    return alive() is not None


@pytest.mark.parametrize(
    "used",
    [
        answered_well,
        started_first,
        started_later,
        pushed_back_and_eased,
        held_until_it_left,
        held_for_no_time,
        cleared,
        cleared_while_live,
        taken_back,
    ],
)
def test_a_host_that_is_done_is_forgotten(
    used: Callable[[Lanes[Target], str, Clock], None],
) -> None:
    assert not remembers(used)


@pytest.mark.parametrize("used", [pushed_back, timed_out, asked_to_wait, held_unasked])
def test_a_host_that_asked_for_something_is_not_forgotten(
    used: Callable[[Lanes[Target], str, Clock], None],
) -> None:
    assert remembers(used)


def test_a_host_whose_rate_is_spent_is_not_forgotten_before_it_is_asked_again() -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(host_rate=1.0, clock=clock)
    use(lanes, "a", clock, responded())
    lanes.enqueue(on("a", 7))
    assert taken_at(lanes, clock) == pytest.approx({7: 1.0})


def test_every_host_that_asked_for_a_pause_is_remembered_until_that_is_over() -> None:
    hosts = [f"host{number}" for number in range(12_000)]
    clock = Clock()
    lanes = held(clock, *hosts)
    for index, host in enumerate(hosts):
        lanes.enqueue(target(index, host=host))
    assert take_all(lanes) == []
    clock.now += 60.0
    assert len(take_all(lanes)) == 12_000


def test_the_rate_of_every_host_is_remembered_however_many_there_are() -> None:
    hosts = [f"host{number}" for number in range(22_000)]
    clock = Clock()
    lanes: Lanes[Target] = Lanes(host_rate=0.01, clock=clock)
    for host in hosts:
        use(lanes, host, clock, responded())
    for index, host in enumerate(hosts):
        lanes.enqueue(target(index, host=host))
    times = taken_at(lanes, clock)
    started = [index * 0.001 for index in range(22_000)]
    assert len(times) == 22_000
    early = [index for index in times if times[index] < started[index] + 100 - LATE]
    assert early == []


def test_a_host_that_throttled_is_remembered_for_a_minute_however_many_there_are() -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(clock=clock)
    for number in range(12_000):
        use(lanes, f"host{number}", clock, responded(status=503))
    clock.now += 59 - 12
    for index in range(20):
        lanes.enqueue(target(index, host="host0"))
    assert len(take_all(lanes)) == 5


def spent_its_rate(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    use(lanes, host, clock, responded())


@pytest.mark.parametrize("used", [pushed_back, timed_out, asked_to_wait, spent_its_rate])
def test_idle_hosts_are_forgotten_once_their_time_has_come(
    used: Callable[[Lanes[Target], str, Clock], None],
) -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(host_rate=0.1, clock=clock)
    hosts = [Host(f"host{number}") for number in range(500)]
    alive = [weakref.ref(host) for host in hosts]
    while hosts:
        used(lanes, hosts.pop(), clock)
    gc.collect()
    assert sum(ref() is not None for ref in alive) == 500
    clock.now += 61
    for number in range(250):
        lanes.enqueue(target(number, host=f"another{number}"))
        lanes.take()
    gc.collect()
    assert sum(ref() is not None for ref in alive) == 0


def test_a_busy_host_is_noted_for_its_forgetting_once() -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(clock=clock)
    use(lanes, "a", clock, responded(status=503))
    for _ in range(200):
        use(lanes, "a", clock, responded(status=503), responded())
    assert len(lanes._idle) == 1


def test_what_is_taken_back_from_hosts_that_asked_for_something_is_not_remembered_either() -> None:
    clock = Clock()
    hosts = [Host(f"host{number}") for number in range(500)]
    alive = [weakref.ref(host) for host in hosts]
    lanes = held(clock, *hosts)
    for host in hosts:
        lanes.enqueue(target(host=host), urgent=True)
        assert lanes.take() is None
        lanes.withdraw(target(host=host))
    clock.now += 100
    del hosts, host
    for _ in range(250):
        assert lanes.take() is None
    gc.collect()
    assert sum(ref() is not None for ref in alive) == 0
