"""A clock that stands still until it is told, and a fetch whose answers take time by it."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Any

from samples import NOON, failed, responded

from crawler.engine.transports.wire import Gate
from crawler.models import Attempt, ErrorKind, Result, Target

_TURNS = 100_000  # of the loop without a pause: that many mean that something spins


class Alarm:
    """A call that is to come, unless it is cancelled."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """A `Clock` for the schedule: time passes only in `advance` and `finish`.

    `chances` are the random numbers it gives, the last one for ever.
    """

    def __init__(self, *chances: float) -> None:
        self.now = 0.0
        self._chances = list(chances or (0.5,))
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._number = itertools.count()

    def time(self) -> float:
        return self.now

    def chance(self) -> float:
        return self._chances.pop(0) if len(self._chances) > 1 else self._chances[0]

    def call_at(self, when: float, call: Callable[[], None]) -> Alarm:
        alarm = Alarm(call)
        heappush(self._alarms, (when, next(self._number), alarm))
        return alarm

    @property
    def next(self) -> float | None:
        """When the next call is due, None where nothing is to come."""
        while self._alarms and self._alarms[0][2].cancelled:
            heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        alarm = self.call_at(self.now + seconds, woken.set)
        try:
            await woken.wait()
        finally:
            alarm.cancel()

    async def rest(self) -> None:
        """Let all tasks run until each waits for something; what is due meanwhile is called."""
        await quiet()
        while (due := self.next) is not None and due <= self.now:
            await self._fire()

    async def advance(self, seconds: float) -> None:
        """Let time pass, and call what falls due, in order; tasks come to rest after each."""
        until = self.now + seconds
        await self.rest()
        while (due := self.next) is not None and due <= until:
            await self._fire()
        self.now = until

    async def finish(self, work: asyncio.Task[Any]) -> None:
        """Let as much time pass as it takes until a task is done.

        One that waits for what will never come is a failure, and is cancelled.
        """
        try:
            await quiet()
            while not work.done():
                assert self.next is not None, "it hangs: nothing is to come"
                await self._fire()
        finally:
            work.cancel()
            await asyncio.wait((work,))
        work.result()

    async def _fire(self) -> None:
        when, _, alarm = heappop(self._alarms)
        if not alarm.cancelled:
            self.now = max(self.now, when)
            alarm.call()
            await quiet()


async def quiet() -> None:
    """Let every task run until it can only wait."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(_TURNS):
        await asyncio.sleep(0)
        if not loop._ready:  # no public way to ask whether a loop has anything to do
            return
    raise AssertionError("it spins: the loop never comes to rest")


Answer = Callable[[Target], Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a request comes to: redirects to these hosts, then an answer, each after `seconds`."""

    answer: Answer
    seconds: float = 0.1
    hosts: tuple[str, ...] = ()


def status(
    code: int = 200, seconds: float = 0.1, hosts: tuple[str, ...] = (), **fields: Any
) -> Step:
    return Step(
        seconds=seconds,
        hosts=hosts,
        answer=lambda of: responded(of, status=code, latency=seconds, **fields),
    )


def error(kind: ErrorKind = ErrorKind.RESET, seconds: float = 0.1, **fields: Any) -> Step:
    return Step(seconds=seconds, answer=lambda of: failed(kind, of, latency=seconds, **fields))


@dataclass(slots=True, eq=False)
class Asked:
    """A request that was sent, and how it ended: answered, cancelled, or not yet."""

    target: Target
    at: float
    fresh: bool
    end: float | None = None
    answered: bool = False

    @property
    def index(self) -> int:
        return self.target.index


Script = Callable[[Target, int], Step]


@dataclass(slots=True)
class Web:
    """Two fetches, `__call__` and `fresh`, that answer by a script and remember their requests.

    `sent` tells the host and the time of each request, those after redirects among them.

    The script is asked with a target and how many requests for it came before.
    A request that is cancelled takes `closing` seconds to end.
    """

    clock: FakeClock
    script: Script
    closing: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    sent: list[tuple[str, float]] = field(default_factory=list)
    live: Counter[str] = field(default_factory=Counter)
    most: int = 0
    most_on_a_host: int = 0
    _before: Counter[int] = field(default_factory=Counter)

    async def __call__(self, of: Target, gate: Gate | None = None) -> Attempt:
        return await self._ask(of, gate, fresh=False)

    async def fresh(self, of: Target, gate: Gate | None = None) -> Attempt:
        return await self._ask(of, gate, fresh=True)

    def of(self, index: int) -> list[Asked]:
        return [one for one in self.asked if one.index == index]

    def times(self, index: int) -> list[float]:
        """Return when a target was asked, in seconds since its first request."""
        at = [one.at for one in self.of(index)]
        return [time - at[0] for time in at]

    @property
    def hedges(self) -> list[Asked]:
        return [one for one in self.asked if one.fresh]

    async def _ask(self, of: Target, gate: Gate | None, *, fresh: bool) -> Attempt:
        start = self.clock.now
        one = Asked(of, start, fresh)
        step = self.script(of, self._before[of.index])
        self._before[of.index] += 1
        self.asked.append(one)
        try:
            await self._request(of.host, step.seconds)
            for host in step.hosts:
                assert gate is not None
                if not gate.try_hop(host):
                    await gate.wait_for_turn()
                await self._request(host, step.seconds)
            one.answered = True
            attempt = step.answer(of).attempt
        finally:
            one.end = self.clock.now
        return replace(attempt, timestamp=NOON + start)

    async def _request(self, host: str, seconds: float) -> None:
        """Be in flight to a host for a while."""
        self.sent.append((host, self.clock.now))
        self.live[host] += 1
        self.most = max(self.most, self.live.total())
        self.most_on_a_host = max(self.most_on_a_host, self.live[host])
        try:
            await self.clock.sleep(seconds)
        except asyncio.CancelledError:
            if self.closing:
                await self.clock.sleep(self.closing)
            raise
        finally:
            self.live[host] -= 1


def scripted(steps: Mapping[int, Iterable[Step]], otherwise: Step | None = None) -> Script:
    """Return the script that takes a target's steps one by one, the last one for ever."""
    known = {index: list(some) for index, some in steps.items()}
    rest = [otherwise or status()]

    def script(of: Target, before: int) -> Step:
        some = known.get(of.index, rest)
        return some[min(before, len(some) - 1)]

    return script
