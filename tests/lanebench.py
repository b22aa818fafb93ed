"""Lanes with a fake clock, for the tests of lanes."""

from samples import target

from crawler.engine.lanes import Lanes
from crawler.models import Result, Target

START = 1000.0


LATE = 0.05  # seconds of starts that are made up for after a late timer


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def take_all(lanes: Lanes[Target]) -> list[Target]:
    return list(iter(lanes.take, None))


def taken_at(lanes: Lanes[Target], clock: Clock) -> dict[int, float]:
    """Take all entries as time passes, waking only when due; return when each started."""
    times: dict[int, float] = {}
    while True:
        times |= {taken.index: clock.now - START for taken in take_all(lanes)}
        due = lanes.next_due()
        if due is None:
            return times
        assert due > clock.now
        clock.now = due


def respond(lanes: Lanes[Target], clock: Clock, *results: tuple[Target, Result]) -> None:
    """Let responses come for entries taken a moment before."""
    started = clock.now
    clock.now += 0.001
    for taken, result in results:
        lanes.record_attempt(taken.host, result.attempt, started)
        lanes.release(taken)


def paused_lanes(clock: Clock, *hosts: str, seconds: float = 60.0) -> Lanes[Target]:
    """Return lanes without waiting entries, and with paused hosts."""
    lanes: Lanes[Target] = Lanes([target(host=host) for host in hosts], clock=clock)
    for taken in take_all(lanes):
        lanes.pause_host(taken.host, clock.now + seconds)
        lanes.release(taken)
    return lanes


def use(lanes: Lanes[Target], host: str, clock: Clock, *results: Result) -> None:
    for result in results:
        lanes.enqueue(target(host=host))
        respond(lanes, clock, *((taken, result) for taken in take_all(lanes)))
