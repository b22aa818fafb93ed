"""Who may start next: one queue for each host, paced; a step costs the same for any number."""

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

_FORGETS = 2  # idle hosts at most that one step forgets; it adds one at most


class Lanes(Generic[T]):
    """What waits, in one lane for each host.

    `take` hands out hosts in turn and at most `per_host` entries of a host at once, each
    until it is given to `leave`; at most `rate` of them in a second, and `host_rate` of
    a host. It never waits: `changed` does, and `due` says until when at most. An idle host is
    forgotten once its rate, its hold and, after a minute, its lost slots make no difference.
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
        self._timed: list[tuple[float, int, Lane[T]]] = []  # lanes that wait for their time
        self._delayed: list[tuple[float, int, T]] = []  # entries that do
        self._urgent: OrderedDict[T, None] = OrderedDict()  # entries that go before all others
        self._idle: list[tuple[float, int, Lane[T]]] = []  # hosts by when to forget them
        self._number = itertools.count()
        self._count = 0
        self._change = asyncio.Event()
        for entry in entries:
            self.enqueue(entry)

    def __len__(self) -> int:
        return self._count

    def enqueue(self, entry: T, *, urgent: bool = False, at: float | None = None) -> None:
        """Let an entry wait: behind the others of its host, before all others, or until a time."""
        self._count += 1
        if urgent:
            self._urgent[entry] = None
        elif at is not None and at > self._clock():
            heappush(self._delayed, (at, next(self._number), entry))
        else:
            self._join(entry)
        self._change.set()

    def take(self) -> T | None:
        """Return the next entry that may start, or None while there is none."""
        now = self._clock()
        if self._delayed or self._timed:
            self._release_due(now)
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
        while self._ready:
            lane = self._ready.popleft()
            lane.is_queued = False
            if lane.due <= now and lane.in_use < lane.slots and (lane.waiting or lane.urgent):
                return self._start(lane, lane.pop(), now)
            self._queue_lane(lane, now)  # what was true when it was put here is so no more
        return None

    def transfer(self, old: str, new: str) -> bool:
        """Let the holder of a slot of host `old` send one more request, to host `new`.

        It then holds a slot of that one instead. False if the request may not start now:
        nothing has changed then. What is first for a host goes before; the rest does not.
        """
        now = self._clock()
        if self._rate is not None and self._rate.due > now:
            return False
        lane = self._lane(new)  # one made here never refuses
        if lane.due > now:
            return False
        if new == old:
            if lane.in_use > lane.slots:
                return False
        elif lane.urgent or lane.in_use >= lane.slots:
            return False
        else:
            lane.in_use += 1
            self._free_slot(old, now)
        self._count_start(lane, now)
        return True

    def release(self, entry: T) -> None:
        """Free the place that a taken entry held."""
        self._free_slot(entry.host, self._clock())

    def withdraw(self, entry: T) -> bool:
        """Take out an entry that was to be first; say whether it waited still."""
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
        """Learn from an answer of a host how many requests at once it takes. Before `leave`.

        None stands for a redirect that was followed.
        """
        lane = self._lanes[host]
        if lane.pace is None:
            if attempt is None or (
                attempt.error is None and attempt.status not in THROTTLING_STATUSES
            ):
                return
            lane.pace = AdaptiveSlots(self._per_host, self._per_host)
        lane.pace.observe_attempt(attempt, started, self._clock())
        lane.slots = min(self._per_host, lane.pace.slots)

    def pause_host(self, host: str, until: float) -> None:
        """Start nothing on a host before a time. Called before `leave`."""
        lane = self._lane(host)
        lane.due = max(lane.due, until)
        if lane.idle:
            self._forget_or_schedule(lane, self._clock())

    def one_at_a_time(self) -> None:
        """From now on give each host one place only."""
        self._per_host = 1
        for lane in self._lanes.values():
            lane.slots = 1

    def clear(self) -> list[T]:
        """Take out and return all that waits; of hosts only those with live ones are kept."""
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
        """Return when something may start that may not now, if nothing else changes."""
        times = [heap[0][0] for heap in (self._timed, self._delayed) if heap]
        if self._rate is not None and (self._ready or self._urgent):
            times.append(self._rate.due)
        return min(times, default=None)

    def longest_queue(self) -> int:
        """Return how many entries wait for the host for which most do."""
        lanes = self._lanes.values()
        return max((len(lane.waiting or ()) + len(lane.urgent or ()) for lane in lanes), default=0)

    def notify(self) -> None:
        """Let those that wait for a change look again."""
        self._change.set()

    async def changed(self) -> None:
        """Wait until something was added, has left or was nudged since the last call."""
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
        """Count a request against the rates."""
        if self._rate is not None:
            self._rate.reserve(now)
        if lane.rate is not None:
            lane.rate.reserve(now)
            lane.due = max(lane.due, lane.rate.due)

    def _free_slot(self, host: str, now: float) -> None:
        """Free a slot of a host."""
        lane = self._lanes[host]
        lane.in_use -= 1
        if lane.waiting or lane.urgent:
            self._queue_lane(lane, now)
        elif not lane.in_use:
            self._forget_or_schedule(lane, now)
        self._change.set()

    def _queue_lane(self, lane: Lane[T], now: float) -> None:
        """Queue a lane where its next entry will be able to start, unless it is queued."""
        if lane.is_queued or lane.in_use >= lane.slots or not (lane.waiting or lane.urgent):
            return
        lane.is_queued = True
        if lane.due > now:
            heappush(self._timed, (lane.due, next(self._number), lane))
        elif lane.urgent:
            self._ready.appendleft(lane)
        else:
            self._ready.append(lane)

    def _release_due(self, now: float) -> None:
        """Let go what was held back until now."""
        while self._delayed and self._delayed[0][0] <= now:
            self._join(heappop(self._delayed)[2])
        while self._timed and self._timed[0][0] <= now:
            lane = heappop(self._timed)[2]
            lane.is_queued = False
            self._queue_lane(lane, now)

    def _forget_or_schedule(self, lane: Lane[T], now: float) -> None:
        """Forget a host that is idle now, or see to it that this is done when its time comes."""
        lane.forget_at = lane.differs_until(now)
        if lane.forget_at <= now:
            self._forget(lane)
            return
        lane.waiting = lane.urgent = None
        if not lane.awaits_expiry:
            lane.awaits_expiry = True
            heappush(self._idle, (lane.forget_at, next(self._number), lane))

    def _forget_expired(self, now: float) -> None:
        """Forget idle hosts whose time has come; of many at once the rest is left for later."""
        for _ in range(_FORGETS):
            if not self._idle or self._idle[0][0] > now:
                return
            lane = heappop(self._idle)[2]
            lane.awaits_expiry = False
            if not lane.host or not lane.idle:
                continue
            if lane.forget_at <= now:
                self._forget(lane)
            else:  # it was busy since
                lane.awaits_expiry = True
                heappush(self._idle, (lane.forget_at, next(self._number), lane))

    def _forget(self, lane: Lane[T]) -> None:
        del self._lanes[lane.host]
        lane.host = ""  # it may stand in queues still, which are not to keep the name alive
