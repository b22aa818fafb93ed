"""Entries queued per host -> the next one that may start, at the same cost for any number."""

import asyncio
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from time import perf_counter
from typing import Generic

from crawler.core.pacing import AdaptiveSlots, Rate
from crawler.core.semantics import THROTTLING_STATUSES
from crawler.engine.lane import Lane, T
from crawler.models import Attempt

_FORGETS = 2  # max. idle hosts forgotten by one step, which adds at most one


class Lanes(Generic[T]):
    """Waiting entries, in one lane for each host.

    `take` returns entries of the hosts in turn: at most `rate` a second, `host_rate` a second
    for each host. Each occupies one of its host's `per_host` slots until `release`. `take`
    never waits; `changed` does, at most until `next_due`. An idle host is forgotten once its
    rate and its pause have no effect any more, reduced slots after a minute.
    """

    def __init__(
        self,
        entries: Iterable[T] = (),
        *,
        per_host: int = 10,
        rate: float | None = None,
        host_rate: float | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._per_host = per_host
        self._rate = None if rate is None else Rate(rate)
        self._host_rate = host_rate
        self._paced = rate is not None or host_rate is not None
        self._clock = clock
        self._lanes: dict[str, Lane[T]] = {}
        self._ready: deque[Lane[T]] = deque()
        self._timed: list[tuple[float, int, Lane[T]]] = []  # lanes that are not due yet
        self._delayed: list[tuple[float, int, T]] = []  # entries that are not due yet
        self._urgent: OrderedDict[T, None] = OrderedDict()  # entries that go before all others
        self._idle: list[tuple[float, int, Lane[T]]] = []  # hosts, by `forget_at`
        self._number = itertools.count()
        self._count = 0
        self._change = asyncio.Event()
        for entry in entries:
            self.enqueue(entry)

    def __len__(self) -> int:
        return self._count

    def enqueue(self, entry: T, *, urgent: bool = False, at: float | None = None) -> None:
        """Queue an entry: behind the others of its host, before all others, or from a time on."""
        self._count += 1
        if urgent:
            self._urgent[entry] = None
        elif at is not None and at > self._clock():
            heappush(self._delayed, (at, next(self._number), entry))
        else:
            self._join(entry)
        self.notify()

    def take(self) -> T | None:
        """Return the next entry that may start, or None if there is none now."""
        now = self._clock()
        if self._delayed or self._timed:
            self._queue_due(now)
        if self._idle and self._idle[0][0] <= now:
            self._forget_expired(now)
        if self._rate is not None and self._rate.due > now:
            return None
        while self._urgent:
            entry, _ = self._urgent.popitem(last=False)
            lane = self._lane(entry.host)
            if not lane.urgent and lane.due <= now and lane.in_use < lane.slots:
                return self._start(lane, entry, now)
            if lane.urgent is None:
                lane.urgent = OrderedDict()
            lane.urgent[entry] = None
            self._queue_lane(lane, now)
        ready = self._ready
        while ready:
            lane = ready.popleft()
            lane.is_queued = False
            if lane.due <= now and lane.in_use < lane.slots and (lane.waiting or lane.urgent):
                return self._start(lane, lane.pop(), now)
            self._queue_lane(lane, now)  # it was ready when it was queued, but is not now
        return None

    def transfer(self, old: str, new: str) -> bool:
        """Exchange a slot of host `old` for one of `new`, for one more request.

        Return False, and change nothing, if the request may not start now. Urgent entries of
        `new` go before it; the others do not.
        """
        now = self._clock()
        if self._rate is not None and self._rate.due > now:
            return False
        lane = self._lane(new)  # a new lane never refuses
        if lane.due > now:
            return False
        if new == old:
            if lane.in_use > lane.slots:
                return False
        elif lane.urgent or lane.in_use >= lane.slots:
            return False
        else:
            lane.in_use += 1
            self._release_slot(old, now)
        self._count_start(lane, now)
        return True

    def release(self, entry: T) -> None:
        """Release the slot of an entry that was taken."""
        self._release_slot(entry.host, self._clock())

    def withdraw(self, entry: T) -> bool:
        """Remove an urgent entry; return whether it was still queued."""
        lane = self._lanes.get(entry.host)
        if entry in self._urgent:
            del self._urgent[entry]
        elif lane is not None and lane.urgent is not None and entry in lane.urgent:
            del lane.urgent[entry]
            if lane.idle:
                self._forget_or_schedule(lane, self._clock())
        else:
            return False
        self._count -= 1
        return True

    def record_attempt(self, host: str, attempt: Attempt | None, started: float) -> None:
        """Adjust a host's slots to the outcome of a request, before its `release`.

        None stands for a redirect that was followed.
        """
        lane = self._lanes[host]
        if lane.adaptive is None:
            if attempt is None or (
                attempt.error is None and attempt.status not in THROTTLING_STATUSES
            ):
                return
            lane.adaptive = AdaptiveSlots(self._per_host, self._per_host)
        lane.adaptive.observe_attempt(attempt, started, self._clock())
        lane.slots = min(self._per_host, lane.adaptive.slots)

    def pause_host(self, host: str, until: float) -> None:
        """Start nothing on a host before a time. Called before `release`."""
        lane = self._lane(host)
        lane.due = max(lane.due, until)
        if lane.idle:
            self._forget_or_schedule(lane, self._clock())

    def one_at_a_time(self) -> None:
        """Reduce every host to one slot, for good."""
        self._per_host = 1
        for lane in self._lanes.values():
            lane.slots = 1

    def clear(self) -> list[T]:
        """Remove and return all waiting entries; forget all hosts without slots in use."""
        lanes = self._lanes.values()
        rest = [entry for lane in lanes for entry in (*(lane.urgent or ()), *(lane.waiting or ()))]
        rest += [*self._urgent, *(entry for _, _, entry in self._delayed)]
        self._lanes = {host: lane for host, lane in self._lanes.items() if lane.in_use}
        for lane in self._lanes.values():
            lane.waiting = lane.urgent = None
            lane.is_queued = lane.awaits_expiry = False
        self._idle.clear()
        self._ready.clear()
        self._timed.clear()
        self._delayed.clear()
        self._urgent.clear()
        self._count = 0
        return rest

    def next_due(self) -> float | None:
        """Return when an entry may start that may not start now, if nothing else changes."""
        times = [heap[0][0] for heap in (self._timed, self._delayed) if heap]
        if self._rate is not None and (self._ready or self._urgent):
            times.append(self._rate.due)
        return min(times, default=None)

    def longest_queue(self) -> int:
        """Return the number of entries in the longest lane."""
        lanes = self._lanes.values()
        return max((len(lane.waiting or ()) + len(lane.urgent or ()) for lane in lanes), default=0)

    def notify(self) -> None:
        """Make `changed` return."""
        self._change.set()

    async def changed(self) -> None:
        """Wait for an `enqueue`, `release` or `notify` since the last call."""
        await self._change.wait()
        self._change.clear()

    def _lane(self, host: str) -> Lane[T]:
        lane = self._lanes.get(host)
        if lane is None:
            rate = None if self._host_rate is None else Rate(self._host_rate)
            lane = self._lanes[host] = Lane(host, self._per_host, rate=rate)
        return lane

    def _join(self, entry: T) -> None:
        lane = self._lane(entry.host)
        if lane.waiting is None:
            lane.waiting = deque()
        lane.waiting.append(entry)
        if not lane.is_queued:
            self._queue_lane(lane, self._clock())

    def _start(self, lane: Lane[T], entry: T, now: float) -> T:
        lane.in_use += 1
        self._count -= 1
        if self._paced:
            self._count_start(lane, now)
        if lane.waiting or lane.urgent:
            self._queue_lane(lane, now)
        return entry

    def _count_start(self, lane: Lane[T], now: float) -> None:
        """Count a request towards the rates."""
        if self._rate is not None:
            self._rate.reserve(now)
        if lane.rate is not None:
            lane.rate.reserve(now)
            lane.due = max(lane.due, lane.rate.due)

    def _release_slot(self, host: str, now: float) -> None:
        """Release a slot of a host."""
        lane = self._lanes[host]
        lane.in_use -= 1
        if lane.waiting or lane.urgent:
            if not lane.is_queued:
                self._queue_lane(lane, now)
        elif not lane.in_use:
            self._forget_or_schedule(lane, now)
        self.notify()

    def _queue_lane(self, lane: Lane[T], now: float) -> None:
        """Queue a lane, unless it is queued: as ready, or until it is due."""
        if lane.is_queued or lane.in_use >= lane.slots or not (lane.waiting or lane.urgent):
            return
        lane.is_queued = True
        if lane.due > now:
            heappush(self._timed, (lane.due, next(self._number), lane))
        elif lane.urgent:
            self._ready.appendleft(lane)
        else:
            self._ready.append(lane)

    def _queue_due(self, now: float) -> None:
        """Queue entries and lanes that are due now."""
        while self._delayed and self._delayed[0][0] <= now:
            self._join(heappop(self._delayed)[2])
        while self._timed and self._timed[0][0] <= now:
            lane = heappop(self._timed)[2]
            lane.is_queued = False
            self._queue_lane(lane, now)

    def _forget_or_schedule(self, lane: Lane[T], now: float) -> None:
        """Forget a host that is idle now, or schedule that for when it has nothing to remember."""
        lane.forget_at = lane.differs_until(now)
        if lane.forget_at <= now:
            self._forget(lane)
            return
        lane.waiting = lane.urgent = None
        if not lane.awaits_expiry:
            lane.awaits_expiry = True
            heappush(self._idle, (lane.forget_at, next(self._number), lane))

    def _forget_expired(self, now: float) -> None:
        """Forget some of the idle hosts that are due; the next steps forget the others."""
        for _ in range(_FORGETS):
            if not self._idle or self._idle[0][0] > now:
                return
            lane = heappop(self._idle)[2]
            lane.awaits_expiry = False
            if not lane.host or not lane.idle:
                continue
            if lane.forget_at <= now:
                self._forget(lane)
            else:  # it was in use since
                lane.awaits_expiry = True
                heappush(self._idle, (lane.forget_at, next(self._number), lane))

    def _forget(self, lane: Lane[T]) -> None:
        del self._lanes[lane.host]
        lane.host = ""  # queues may still hold the lane, and must not keep the name alive
