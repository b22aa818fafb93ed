"""Lanes against a model: every entry starts once, within the bounds, and as soon as it may."""

import itertools
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from lanebench import START, Clock, take_all
from samples import on, responded, steady

from crawler.core.pacing import AdaptiveSlots
from crawler.engine.lanes import Lanes
from crawler.models import Target


@dataclass(slots=True)
class Model:
    """What a host may do, computed afresh each time."""

    pace: AdaptiveSlots
    until: float = START
    live: list[Target] = field(default_factory=list)
    urgent: set[int] = field(default_factory=set)
    plain: deque[int] = field(default_factory=deque)
    later: dict[int, float] = field(default_factory=dict)

    def start(self, per_host: int) -> float | None:
        """Return when the next one may start at the earliest."""
        if len(self.live) >= min(per_host, self.pace.slots):
            return None
        times = [self.until] * (len(self.urgent) + len(self.plain))
        times += [max(self.until, at) for at in self.later.values()]
        return min(times, default=None)


class Bench:
    """Lanes, and a model of them: too slow for many hosts, but too simple to be wrong."""

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

    def add_urgent(self, host: str) -> None:
        one = on(host, next(self.numbers))
        self.hosts[host].urgent.add(one.index)
        self.lanes.enqueue(one, urgent=True)

    def add_delayed(self, host: str, seconds: float) -> None:
        one = on(host, next(self.numbers))
        at = self.clock.now + seconds
        self.hosts[host].later[one.index] = at
        self.lanes.enqueue(one, at=at)

    def forget(self, host: str) -> None:
        model = self.hosts[host]
        for index in sorted(model.urgent)[:1]:
            assert self.lanes.withdraw(on(host, index)) is True
            model.urgent.remove(index)
            self.taken.append(index)

    def end(self, number: int, status: int, seconds: float) -> None:
        if not self.live:
            return
        one = self.live[number % len(self.live)]
        model = self.hosts[one.host]
        result = responded(status=status)
        model.pace.observe_attempt(result.attempt, self.started[one.index], self.clock.now)
        self.lanes.record_attempt(one.host, result.attempt, self.started[one.index])
        if seconds:
            self.pause(one.host, seconds)
        model.live.remove(one)
        self.lanes.release(one)

    def pause(self, host: str, seconds: float) -> None:
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
        if one.index in model.urgent:
            model.urgent.remove(one.index)
        else:
            assert not model.urgent
            if one.index in model.later:
                assert model.later.pop(one.index) <= self.clock.now
            else:
                assert model.plain.popleft() == one.index
        model.live.append(one)
        self.started[one.index] = self.clock.now
        self.taken.append(one.index)
        return one

    def check(self) -> None:
        waiting = [len(m.urgent) + len(m.plain) + len(m.later) for m in self.hosts.values()]
        assert len(self.lanes) == sum(waiting)

    def drain(self) -> None:
        """Take all remaining entries; each wait lasts until one is due or released."""
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
    st.tuples(st.just(Bench.add_urgent), HOSTS),
    st.tuples(st.just(Bench.add_delayed), HOSTS, SECONDS),
    st.tuples(st.just(Bench.forget), HOSTS),
    st.tuples(st.just(Bench.take)),
    st.tuples(st.just(Bench.take)),
    st.tuples(st.just(Bench.take)),
    st.tuples(st.just(Bench.end), st.integers(0, 9), st.sampled_from([200, 200, 503]), SECONDS),
    st.tuples(st.just(Bench.end), st.integers(0, 9), st.sampled_from([200, 200, 503]), SECONDS),
    st.tuples(st.just(Bench.pause), HOSTS, SECONDS),
    st.tuples(st.just(Bench.wait), SECONDS),
    st.tuples(st.just(Bench.one_at_a_time)),
)


@steady
@given(st.integers(1, 5), st.lists(STEPS, max_size=100))
def test_every_entry_starts_once_in_order_within_the_bounds_and_as_soon_as_it_may(
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
    """A target with the tick at which it is queued, and how."""

    host: str
    comes: int
    how: str
    lasts: int
    status: int
    pause: float
    redirects: int


def starts(jobs: list[Job], *, always: bool, **how: Any) -> list[tuple[int, int]]:
    """Return at which tick each job was started, in order.

    Entries are taken at each tick, or only when something has changed or is due.
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
            if job.pause:
                lanes.pause_host(one.host, clock.now + job.pause)
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
            pause=st.sampled_from([0.0, 0.0, 0.0, 0.3, 5.0]),
            redirects=st.sampled_from([0, 0, 3]),
        ),
        max_size=30,
    ),
    st.integers(1, 4),
    st.sampled_from([None, 3.0, 8.0]),
    st.sampled_from([None, 0.7, 4.0]),
)
def test_waking_only_when_an_entry_is_due_misses_no_start(
    jobs: list[Job], per_host: int, rate: float | None, host_rate: float | None
) -> None:
    how: dict[str, Any] = {"per_host": per_host, "rate": rate, "host_rate": host_rate}
    assert starts(jobs, always=False, **how) == starts(jobs, always=True, **how)


def test_nothing_is_due_if_the_next_start_needs_a_release() -> None:
    lanes = Lanes([on("a", 0), on("a", 1)], per_host=1, clock=Clock())
    assert (lanes.next_due(), lanes.take(), lanes.take(), lanes.next_due()) == (
        None,
        on("a", 0),
        None,
        None,
    )
