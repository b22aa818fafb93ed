"""Lanes: the order of hosts, and entries that are urgent, delayed or withdrawn."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lanebench import START, Clock, paused_lanes, take_all, taken_at
from samples import on, run, settle, steady

from crawler.engine.lanes import Lanes
from crawler.models import Target

# Slots and turns


def test_a_busy_host_does_not_hold_up_the_others() -> None:
    a1, a2, b1 = on("a"), on("a"), on("b")
    lanes = Lanes([a1, a2, b1], per_host=1)
    assert [lanes.take() for _ in range(3)] == [a1, b1, None]


def test_hosts_take_turns() -> None:
    a1, a2, a3, b1, b2 = on("a", 1), on("a", 2), on("a", 3), on("b", 4), on("b", 5)
    assert take_all(Lanes([a1, a2, a3, b1, b2])) == [a1, b1, a2, b2, a3]


def test_a_host_that_is_queued_later_waits_for_one_turn_only() -> None:
    lanes = Lanes([on("a", index) for index in range(5)])
    lanes.take()
    lanes.enqueue(on("b", 5))
    assert [lanes.take(), lanes.take()] == [on("a", 1), on("b", 5)]


def test_a_released_target_frees_its_slot() -> None:
    a1, a2 = on("a", 1), on("a", 2)
    lanes = Lanes([a1, a2], per_host=1)
    assert [lanes.take(), lanes.take()] == [a1, None]
    lanes.release(a1)
    assert [lanes.take(), lanes.take()] == [a2, None]


def test_a_released_target_frees_no_slot_of_another_host() -> None:
    a1, a2, b1 = on("a", 1), on("a", 2), on("b", 3)
    lanes = Lanes([a1, b1, a2], per_host=1)
    assert take_all(lanes) == [a1, b1]
    lanes.release(b1)
    assert lanes.take() is None


def test_an_enqueued_target_gives_a_full_host_no_slot() -> None:
    lanes = Lanes([on("a", 1)], per_host=1)
    lanes.take()
    lanes.enqueue(on("a", 2))
    assert lanes.take() is None


def test_one_at_a_time_applies_to_known_and_to_new_hosts() -> None:
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


# Waiting entries


def test_the_length_is_the_number_of_waiting_entries() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 1), on("b", 2), on("a", 3)], clock=clock)
    lanes.take()
    assert len(lanes) == 2
    lanes.enqueue(on("c", 4), urgent=True)
    lanes.enqueue(on("c", 5), at=clock.now + 1)
    assert len(lanes) == 4
    assert len(take_all(lanes)) == 3
    assert len(lanes) == 1


def test_the_longest_queue_is_that_of_the_host_with_most_waiting_entries() -> None:
    lanes = Lanes([on("a", 1), on("b", 2), on("a", 3), on("a", 4), on("b", 5)], per_host=1)
    assert lanes.longest_queue() == 3
    take_all(lanes)
    assert lanes.longest_queue() == 2


def test_the_longest_queue_is_zero_if_nothing_waits() -> None:
    assert Lanes[Target]().longest_queue() == 0


def test_clear_removes_all_waiting_entries() -> None:
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


def test_entries_taken_before_a_clear_keep_their_slots() -> None:
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
    ids=["queued", "queued as urgent", "queued for later", "released", "notified"],
)
def test_changed_waits_for_a_change(change: Callable[[Lanes[Target]], None]) -> None:
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


# Urgent entries


def test_urgent_entries_go_before_all_others() -> None:
    lanes = Lanes([on("a", 0), on("b", 1), on("a", 2)])
    lanes.enqueue(on("c", 3), urgent=True)
    lanes.enqueue(on("b", 4), urgent=True)
    assert [one.index for one in take_all(lanes)] == [3, 4, 0, 1, 2]


def full(clock: Clock) -> Lanes[Target]:
    lanes = Lanes([on("a", 10), on("a", 0)], per_host=1, clock=clock)
    lanes.take()
    return lanes


def blocked(clock: Clock) -> Lanes[Target]:
    lanes = paused_lanes(clock, "a", seconds=1.0)
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
def test_an_urgent_entry_waits_for_its_host_and_holds_up_no_other(
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
def test_an_urgent_entry_that_waited_for_its_host_still_goes_first(
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
def test_urgent_entries_keep_their_order(
    made: Callable[[Clock], Lanes[Target]],
) -> None:
    clock = Clock()
    lanes = made(clock)
    lanes.enqueue(on("a", 2), urgent=True)
    lanes.enqueue(on("a", 3), urgent=True)
    assert lanes.take() is None
    free(clock, lanes)
    assert lanes.take() == on("a", 2)


def test_an_urgent_entry_waits_for_the_rate() -> None:
    clock = Clock()
    lanes = Lanes([on("a", 0), on("b", 1)], rate=4.0, clock=clock)
    lanes.take()
    lanes.enqueue(on("c", 2), urgent=True)
    assert lanes.take() is None
    assert taken_at(lanes, clock) == {2: 0.25, 1: 0.5}


def test_an_urgent_entry_starts_on_a_free_host_that_is_not_queued() -> None:
    lanes: Lanes[Target] = Lanes(per_host=2)
    lanes.enqueue(on("a", 0), urgent=True)
    lanes.enqueue(on("a", 1), urgent=True)
    lanes.enqueue(on("a", 2), urgent=True)
    assert [one.index for one in take_all(lanes)] == [0, 1]
    lanes.release(on("a", 0))
    assert take_all(lanes) == [on("a", 2)]


# Withdrawn entries


def test_a_withdrawn_entry_does_not_start() -> None:
    lanes = Lanes([on("a", 0)])
    lanes.enqueue(on("a", 1), urgent=True)
    lanes.enqueue(on("a", 2), urgent=True)
    assert lanes.withdraw(on("a", 1)) is True
    assert len(lanes) == 2
    assert [one.index for one in take_all(lanes)] == [2, 0]


@pytest.mark.parametrize("made", [full, blocked, rated])
def test_an_urgent_entry_that_waits_for_its_host_can_be_withdrawn(
    made: Callable[[Clock], Lanes[Target]],
) -> None:
    clock = Clock()
    lanes = made(clock)
    lanes.enqueue(on("a", 1), urgent=True)
    assert lanes.take() is None
    assert (lanes.withdraw(on("a", 1)), len(lanes)) == (True, 1)
    free(clock, lanes)
    assert take_all(lanes) == [on("a", 0)]


def test_a_started_entry_cannot_be_withdrawn_and_keeps_its_slot() -> None:
    lanes = Lanes([on("a", 0)], per_host=1)
    lanes.enqueue(on("a", 1), urgent=True)
    assert lanes.take() == on("a", 1)
    assert (lanes.withdraw(on("a", 1)), len(lanes)) == (False, 1)
    assert lanes.take() is None


def test_an_entry_cannot_be_withdrawn_twice() -> None:
    lanes: Lanes[Target] = Lanes()
    lanes.enqueue(on("a", 1), urgent=True)
    assert [lanes.withdraw(on("a", 1)), lanes.withdraw(on("a", 1))] == [True, False]
    assert len(lanes) == 0


# Delayed entries


@pytest.mark.parametrize("seconds", [0.001, 0.5, 30.0])
def test_a_delayed_entry_starts_when_it_is_due_and_not_before(seconds: float) -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(clock=clock)
    lanes.enqueue(on("a"), at=START + seconds)
    assert (lanes.take(), lanes.next_due()) == (None, START + seconds)
    clock.now = START + seconds * 0.999
    assert lanes.take() is None
    clock.now = START + seconds
    assert lanes.take() == on("a")


@pytest.mark.parametrize("at", [START, START - 1])
def test_an_entry_that_is_due_already_only_waits_for_its_turn(at: float) -> None:
    lanes = Lanes([on("a", 0)], clock=Clock())
    lanes.enqueue(on("a", 1), at=at)
    lanes.enqueue(on("a", 2))
    assert [one.index for one in take_all(lanes)] == [0, 1, 2]


def test_a_delayed_entry_holds_up_no_other_and_occupies_no_slot() -> None:
    lanes: Lanes[Target] = Lanes(per_host=1, clock=Clock())
    lanes.enqueue(on("a", 0), at=START + 1)
    lanes.enqueue(on("a", 1))
    lanes.enqueue(on("b", 2))
    assert take_all(lanes) == [on("a", 1), on("b", 2)]


def test_delayed_entries_start_in_the_order_of_their_times() -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(clock=clock)
    for index, seconds in enumerate([3.0, 1.0, 2.0, 1.0]):
        lanes.enqueue(on("a", index), at=START + seconds)
    assert list(taken_at(lanes, clock).items()) == [(1, 1.0), (3, 1.0), (2, 2.0), (0, 3.0)]


def test_an_entry_that_falls_due_waits_for_a_full_or_paused_host_too() -> None:
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
