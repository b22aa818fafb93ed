"""Who may start next: one queue for each host, paced; a step costs the same for any number."""

import asyncio
import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from crawler.core.pacing import PUSHES_BACK, Pace, Rate
from crawler.models import FetchResult

_REMEMBERED = 10_000  # hosts without a target waiting, for what they asked of us


class HasHost(Protocol):
    @property
    def host(self) -> str: ...


T = TypeVar("T", bound=HasHost)


@dataclass(slots=True)
class _Lane(Generic[T]):
    """A host: what waits for it, how many places are taken, and how it wants to be treated."""

    host: str
    places: int
    waiting: deque[T] = field(default_factory=deque)
    first: int = 0  # how many of those go before all others
    live: int = 0
    queued: bool = False  # in the queue of the ready ones, or of those held back
    pace: Pace | None = None
    rate: Rate | None = None
    due: float = -math.inf  # when the next one may start, as far as time is concerned

    def spend(self, now: float, requests: int = 1) -> None:
        if self.rate is not None:
            self.rate.spend(now, requests)
            self.due = max(self.due, self.rate.due)

    def remarkable(self, now: float) -> bool:
        """Whether the host is to be treated otherwise than one never heard of."""
        return self.due > now or (self.pace is not None and not self.pace.eased)


class Lanes(Generic[T]):
    """What waits, in one lane for each host.

    `take` hands out hosts in turn and at most `per_host` entries of a host at once, each
    until it is given to `leave`; at most `rate` of them in a second, and `host_rate` of
    a host. It never waits: `changed` does, and `due` says until when at most.
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
        self._clock = clock
        self._lanes: dict[str, _Lane[T]] = {}
        self._ready: deque[_Lane[T]] = deque()
        self._held: list[tuple[float, int, _Lane[T]]] = []  # lanes that wait for their time
        self._later: list[tuple[float, int, T]] = []  # entries that do
        self._urgent: deque[T] = deque()  # entries that go before all others
        self._kept: OrderedDict[str, None] = OrderedDict()  # remarkable hosts that are idle
        self._number = itertools.count()
        self._count = 0
        self._change = asyncio.Event()
        for entry in entries:
            self.add(entry)

    def __len__(self) -> int:
        return self._count

    def add(self, entry: T, *, first: bool = False, at: float | None = None) -> None:
        """Let an entry wait: behind the others of its host, before all others, or until a time."""
        self._count += 1
        if first:
            self._urgent.append(entry)
        elif at is not None and at > self._clock():
            heappush(self._later, (at, next(self._number), entry))
        else:
            self._join(entry)
        self._change.set()

    def take(self) -> T | None:
        """Return the next entry that may start, or None while there is none."""
        now = self._clock()
        if self._later or self._held:
            self._wake(now)
        if self._rate is not None and self._rate.due > now:
            return None
        while self._urgent:
            entry = self._urgent.popleft()
            lane = self._lane(entry.host)
            if not lane.first and lane.due <= now and lane.live < lane.places:
                return self._start(lane, entry, now)
            lane.waiting.insert(lane.first, entry)
            lane.first += 1
            self._offer(lane, now)
        while self._ready:
            lane = self._ready.popleft()
            lane.queued = False
            if lane.waiting and lane.due <= now and lane.live < lane.places:
                if lane.first:
                    lane.first -= 1
                return self._start(lane, lane.waiting.popleft(), now)
            self._offer(lane, now)  # what was true when it was put here is so no more
        return None

    def leave(self, entry: T) -> None:
        """Free the place that a taken entry held."""
        lane = self._lanes[entry.host]
        lane.live -= 1
        now = self._clock()
        if lane.waiting:
            self._offer(lane, now)
        elif not lane.live:
            self._retire(lane, now)
        self._change.set()

    def forget(self, entry: T) -> bool:
        """Take out an entry that was to be first; say whether it waited still."""
        lane = self._lanes.get(entry.host)
        if entry in self._urgent:
            self._urgent.remove(entry)
        elif lane is not None and entry in itertools.islice(lane.waiting, lane.first):
            lane.waiting.remove(entry)
            lane.first -= 1
            if not (lane.waiting or lane.live):
                self._retire(lane, self._clock())
        else:
            return False
        self._count -= 1
        return True

    def note(self, host: str, result: FetchResult, started: float) -> None:
        """Learn from an answer of a host how many requests at once it takes. Before `leave`."""
        lane = self._lanes[host]
        if lane.pace is None:
            if result.error is None and result.status not in PUSHES_BACK:
                return
            lane.pace = Pace(self._per_host, self._per_host)
        lane.pace.note(result, started, self._clock())
        lane.places = min(self._per_host, lane.pace.places)

    def hold(self, host: str, until: float) -> None:
        """Start nothing on a host before a time. Called before `leave`."""
        lane = self._lane(host)
        lane.due = max(lane.due, until)
        if not lane.live and not lane.waiting:
            self._retire(lane, self._clock())

    def charge(self, host: str, requests: int) -> None:
        """Count requests that were sent without `take`, as redirects are, against the rates."""
        now = self._clock()
        if self._rate is not None:
            self._rate.spend(now, requests)
        lane = self._lanes.get(host)
        if lane is not None:
            lane.spend(now, requests)

    def one_at_a_time(self) -> None:
        """From now on give each host one place only."""
        self._per_host = 1
        for lane in self._lanes.values():
            lane.places = 1

    def clear(self) -> list[T]:
        """Take out and return all that waits; of hosts only those with live ones are kept."""
        rest = [entry for lane in self._lanes.values() for entry in lane.waiting]
        rest += [*self._urgent, *(entry for _, _, entry in self._later)]
        self._lanes = {host: lane for host, lane in self._lanes.items() if lane.live}
        self._kept.clear()
        for lane in self._lanes.values():
            lane.waiting.clear()
            lane.first = 0
            lane.queued = False
        self._ready.clear()
        self._held.clear()
        self._later.clear()
        self._urgent.clear()
        self._count = 0
        return rest

    def due(self) -> float | None:
        """Return when something may start that may not now, if nothing else changes."""
        times = [heap[0][0] for heap in (self._held, self._later) if heap]
        if self._rate is not None and (self._ready or self._urgent):
            times.append(self._rate.due)
        return min(times, default=None)

    def longest(self) -> int:
        """Return how many entries wait for the host for which most do."""
        return max((len(lane.waiting) for lane in self._lanes.values()), default=0)

    def nudge(self) -> None:
        """Let those that wait for a change look again."""
        self._change.set()

    async def changed(self) -> None:
        """Wait until something was added, has left or was nudged since the last call."""
        await self._change.wait()
        self._change.clear()

    def _lane(self, host: str) -> _Lane[T]:
        lane = self._lanes.get(host)
        if lane is None:
            rate = None if self._host_rate is None else Rate(self._host_rate)
            lane = self._lanes[host] = _Lane(host, self._per_host, rate=rate)
        elif self._kept:
            self._kept.pop(host, None)
        return lane

    def _join(self, entry: T) -> None:
        lane = self._lane(entry.host)
        lane.waiting.append(entry)
        self._offer(lane, self._clock())

    def _start(self, lane: _Lane[T], entry: T, now: float) -> T:
        lane.live += 1
        self._count -= 1
        if self._rate is not None:
            self._rate.spend(now)
        if lane.rate is not None:
            lane.spend(now)
        if lane.waiting:
            self._offer(lane, now)
        return entry

    def _offer(self, lane: _Lane[T], now: float) -> None:
        """Queue a lane where its next entry will be able to start, unless it is queued."""
        if lane.queued or not lane.waiting or lane.live >= lane.places:
            return
        lane.queued = True
        if lane.due > now:
            heappush(self._held, (lane.due, next(self._number), lane))
        elif lane.first:
            self._ready.appendleft(lane)
        else:
            self._ready.append(lane)

    def _wake(self, now: float) -> None:
        """Let go what was held back until now."""
        while self._later and self._later[0][0] <= now:
            self._join(heappop(self._later)[2])
        while self._held and self._held[0][0] <= now:
            lane = heappop(self._held)[2]
            lane.queued = False
            self._offer(lane, now)

    def _retire(self, lane: _Lane[T], now: float) -> None:
        """Forget a host that is idle, unless it asked for something."""
        if not lane.remarkable(now):
            del self._lanes[lane.host]
            return
        self._kept[lane.host] = None
        if len(self._kept) > _REMEMBERED:
            oldest, _ = self._kept.popitem(last=False)
            del self._lanes[oldest]
