"""Lanes: cost of a step, and which hosts are remembered, for any number of hosts."""

import gc
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest
from lanebench import LATE, Clock, paused_lanes, respond, take_all, taken_at, use
from samples import failed, on, responded, target

from crawler.engine.lanes import Lanes
from crawler.models import ErrorKind, Target


@dataclass(frozen=True, slots=True)
class Entry:
    """The smallest entry that can be queued."""

    host: str
    index: int


def opcodes(call: Callable[[], object]) -> int:
    """Return the number of bytecode instructions of a call."""
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
    """Return lanes in which all hosts are paused, and targets wait."""
    lanes: Lanes[Entry] = Lanes(entries(hosts), per_host=1, clock=clock)
    for taken in [lanes.take() for _ in range(hosts)]:
        assert taken is not None
        lanes.pause_host(taken.host, clock.now + 60 + taken.index)
        lanes.release(taken)
    return lanes


def with_delayed_entries(hosts: int, clock: Clock) -> Lanes[Entry]:
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
    "made", [plain, paced, with_blocked_hosts, with_delayed_entries, with_full_hosts]
)
def test_a_step_costs_the_same_for_a_hundred_hosts_and_for_fifty_thousand(
    made: Callable[[int, Clock], Lanes[Entry]],
) -> None:
    def cost(hosts: int) -> int:
        clock = Clock()
        lanes = made(hosts, clock)
        return opcodes(lambda: hundred_steps(lanes, clock))

    assert cost(50_000) == pytest.approx(cost(100), rel=0.02)


def test_a_clear_costs_the_same_after_fifty_thousand_hosts() -> None:
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
    """A host name that shows whether it is still remembered."""

    __slots__ = ("__weakref__",)


def succeeded(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    use(lanes, host, clock, responded(), failed(ErrorKind.RESET), responded(status=404))


def started_urgently(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.enqueue(target(host=host), urgent=True)
    respond(lanes, clock, *((taken, responded()) for taken in take_all(lanes)))


def started_after_a_delay(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.enqueue(target(host=host), at=clock.now + 1)
    clock.now += 1
    respond(lanes, clock, *((taken, responded()) for taken in take_all(lanes)))


def throttled_and_recovered(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    use(lanes, host, clock, responded(status=503), *[responded()] * 100)


def paused_until_its_release(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.enqueue(target(host=host))
    for taken in take_all(lanes):
        lanes.pause_host(host, clock.now + 1)
        clock.now += 1
        lanes.release(taken)


def paused_for_no_time(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.pause_host(host, clock.now)


def paused_without_requests(lanes: Lanes[Target], host: str, clock: Clock) -> None:
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


def withdrawn(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    lanes.enqueue(target(host=host), urgent=True)
    lanes.withdraw(target(host=host))


def throttled(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    use(lanes, host, clock, responded(status=429))


def timed_out(lanes: Lanes[Target], host: str, clock: Clock) -> None:
    use(lanes, host, clock, failed(ErrorKind.TIMEOUT))


def paused(lanes: Lanes[Target], host: str, clock: Clock) -> None:
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
        succeeded,
        started_urgently,
        started_after_a_delay,
        throttled_and_recovered,
        paused_until_its_release,
        paused_for_no_time,
        cleared,
        cleared_while_live,
        withdrawn,
    ],
)
def test_a_finished_host_is_forgotten(
    used: Callable[[Lanes[Target], str, Clock], None],
) -> None:
    assert not remembers(used)


@pytest.mark.parametrize("used", [throttled, timed_out, paused, paused_without_requests])
def test_a_host_with_throttling_state_is_not_forgotten(
    used: Callable[[Lanes[Target], str, Clock], None],
) -> None:
    assert remembers(used)


def test_a_host_at_its_rate_is_not_forgotten_before_its_next_start() -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(host_rate=1.0, clock=clock)
    use(lanes, "a", clock, responded())
    lanes.enqueue(on("a", 7))
    assert taken_at(lanes, clock) == pytest.approx({7: 1.0})


def test_every_paused_host_is_remembered_until_its_pause_ends() -> None:
    hosts = [f"host{number}" for number in range(12_000)]
    clock = Clock()
    lanes = paused_lanes(clock, *hosts)
    for index, host in enumerate(hosts):
        lanes.enqueue(target(index, host=host))
    assert take_all(lanes) == []
    clock.now += 60.0
    assert len(take_all(lanes)) == 12_000


def test_the_rate_of_every_host_is_remembered_for_any_number_of_hosts() -> None:
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


def test_every_host_that_throttled_is_remembered_for_a_minute() -> None:
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


@pytest.mark.parametrize("used", [throttled, timed_out, paused, spent_its_rate])
def test_idle_hosts_are_forgotten_once_they_have_nothing_to_remember(
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


def test_a_busy_host_is_queued_for_expiry_once() -> None:
    clock = Clock()
    lanes: Lanes[Target] = Lanes(clock=clock)
    use(lanes, "a", clock, responded(status=503))
    for _ in range(200):
        use(lanes, "a", clock, responded(status=503), responded())
    assert len(lanes._idle) == 1


def test_entries_withdrawn_from_paused_hosts_are_not_kept_alive() -> None:
    clock = Clock()
    hosts = [Host(f"host{number}") for number in range(500)]
    alive = [weakref.ref(host) for host in hosts]
    lanes = paused_lanes(clock, *hosts)
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
