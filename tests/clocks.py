"""A clock that tests advance, and a scripted fetch whose responses take time by it."""

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

_TURNS = 100_000  # of the loop without a pause: more mean that a task spins


class Alarm:
    """A call that is due later, unless it is cancelled."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """A `Clock` for the schedule: time passes only in `advance` and `finish`.

    `chances` are the random numbers it returns; the last one repeats.
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
        """When the next call is due, None if there is none."""
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
        """Let all tasks run until each waits for something; timers that are due are called."""
        await quiet()
        while (due := self.next) is not None and due <= self.now:
            await self._fire()

    async def advance(self, seconds: float) -> None:
        """Let time pass; make the calls that are due, in order, and let tasks run after each."""
        until = self.now + seconds
        await self.rest()
        while (due := self.next) is not None and due <= until:
            await self._fire()
        self.now = until

    async def finish(self, work: asyncio.Task[Any]) -> None:
        """Let time pass until a task is done.

        A task that would wait forever is cancelled, and fails the test.
        """
        try:
            await quiet()
            while not work.done():
                assert self.next is not None, "it hangs: no call is due"
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
        if not loop._ready:  # no public attribute says whether a loop is idle
            return
    raise AssertionError("a task spins: the loop never becomes idle")


Respond = Callable[[Target], Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The outcome of a request: redirects to these hosts, then a response, each after `seconds`."""

    respond: Respond
    seconds: float = 0.1
    hosts: tuple[str, ...] = ()


def status(
    code: int = 200, seconds: float = 0.1, hosts: tuple[str, ...] = (), **fields: Any
) -> Step:
    return Step(
        seconds=seconds,
        hosts=hosts,
        respond=lambda of: responded(of, status=code, latency=seconds, **fields),
    )


def error(kind: ErrorKind = ErrorKind.RESET, seconds: float = 0.1, **fields: Any) -> Step:
    return Step(seconds=seconds, respond=lambda of: failed(kind, of, latency=seconds, **fields))


@dataclass(slots=True, eq=False)
class Sent:
    """A request that was sent, and when it ended: `responded_to`, cancelled, or None."""

    target: Target
    at: float
    fresh: bool
    end: float | None = None
    responded_to: bool = False

    @property
    def index(self) -> int:
        return self.target.index


Script = Callable[[Target, int], Step]


@dataclass(slots=True)
class Web:
    """Two fetches, `__call__` and `fresh`, that respond by a script and record their requests.

    `sent` has the host and the time of each request, including those after redirects.

    The script is called with a target and the number of earlier requests for it.
    A request that is cancelled takes `closing` seconds to end.
    """

    clock: FakeClock
    script: Script
    closing: float = 0.0
    requests: list[Sent] = field(default_factory=list)
    sent: list[tuple[str, float]] = field(default_factory=list)
    live: Counter[str] = field(default_factory=Counter)
    most: int = 0
    most_on_a_host: int = 0
    _before: Counter[int] = field(default_factory=Counter)

    async def __call__(self, of: Target, gate: Gate | None = None) -> Attempt:
        return await self._send(of, gate, fresh=False)

    async def fresh(self, of: Target, gate: Gate | None = None) -> Attempt:
        return await self._send(of, gate, fresh=True)

    def of(self, index: int) -> list[Sent]:
        return [one for one in self.requests if one.index == index]

    def times(self, index: int) -> list[float]:
        """Return when a target was requested, in seconds since its first request."""
        at = [one.at for one in self.of(index)]
        return [time - at[0] for time in at]

    @property
    def hedges(self) -> list[Sent]:
        return [one for one in self.requests if one.fresh]

    async def _send(self, of: Target, gate: Gate | None, *, fresh: bool) -> Attempt:
        start = self.clock.now
        one = Sent(of, start, fresh)
        step = self.script(of, self._before[of.index])
        self._before[of.index] += 1
        self.requests.append(one)
        try:
            await self._request(of.host, step.seconds)
            for host in step.hosts:
                assert gate is not None
                if not gate.try_hop(host):
                    await gate.wait_for_turn()
                await self._request(host, step.seconds)
            one.responded_to = True
            attempt = step.respond(of).attempt
        finally:
            one.end = self.clock.now
        return replace(attempt, timestamp=NOON + start)

    async def _request(self, host: str, seconds: float) -> None:
        """Keep a request to a host in flight for a while."""
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
    """Return the script that takes a target's steps one by one, and repeats the last one."""
    known = {index: list(some) for index, some in steps.items()}
    rest = [otherwise or status()]

    def script(of: Target, before: int) -> Step:
        some = known.get(of.index, rest)
        return some[min(before, len(some) - 1)]

    return script
