"""Targets in, results out: which may start, how many at once, and what happens at the end."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from time import perf_counter

from crawler.engine import failure
from crawler.engine.fetch import Fetch
from crawler.models import (
    FetchResult,
    Limits,
    Outcome,
    Target,
)

Emit = Callable[[FetchResult], Awaitable[None]]
_AT_A_TIME = 50  # entries read before other tasks get their turn


class Lanes:
    """The targets that wait, in one queue for each host; a step costs the same for any number.

    `take` hands out hosts in turn and at most `per_host` targets of a host at once,
    each until it is given to `leave`. It never waits: `changed` does.
    """

    def __init__(self, targets: Iterable[Target] = (), *, per_host: int = 10) -> None:
        self._per_host = per_host
        self._waiting: dict[str, deque[Target]] = {}
        self._live: dict[str, int] = {}
        self._ready: deque[str] = deque()  # hosts with a target waiting and a place free, once each
        self._count = 0
        self._closed = False
        self._change = asyncio.Event()
        for target in targets:
            self.add(target)

    def __len__(self) -> int:
        return self._count

    @property
    def drained(self) -> bool:
        """Whether nothing waits and nothing more will come."""
        return self._closed and not self._count

    def add(self, target: Target) -> None:
        lane = self._waiting.get(target.host)
        if lane is None:
            lane = self._waiting[target.host] = deque()
        if not lane and self._live.get(target.host, 0) < self._per_host:
            self._ready.append(target.host)
        lane.append(target)
        self._count += 1
        self._change.set()

    def take(self) -> Target | None:
        """Return the next target that may start, or None while there is none."""
        if not self._ready:
            return None
        host = self._ready.popleft()
        lane = self._waiting[host]
        target = lane.popleft()
        live = self._live[host] = self._live.get(host, 0) + 1
        if not lane:
            del self._waiting[host]
        elif live < self._per_host:
            self._ready.append(host)
        self._count -= 1
        return target

    def leave(self, target: Target) -> None:
        """Free the place that a taken target held."""
        host = target.host
        live = self._live[host]
        if live == 1:
            del self._live[host]
        else:
            self._live[host] = live - 1
        if live == self._per_host and host in self._waiting:
            self._ready.append(host)
        self._change.set()

    def close(self) -> None:
        """Say that no more targets will come."""
        self._closed = True
        self._change.set()

    def clear(self) -> list[Target]:
        """Take out and return all that waits."""
        rest = [target for lane in self._waiting.values() for target in lane]
        self._waiting.clear()
        self._ready.clear()
        self._count = 0
        return sorted(rest, key=lambda target: target.index)

    async def changed(self) -> None:
        """Wait until something was added, has left or was closed since the last call."""
        await self._change.wait()
        self._change.clear()


class Crawling:
    """One crawl on its way: fan-out of entries over fetch tasks.

    `read` and `live` are how many targets were read and are being fetched; `emit` gets
    each result once, `stop` ends the crawl early.
    """

    def __init__(self, fetch: Fetch, limits: Limits, emit: Emit, stop: asyncio.Event) -> None:
        self.read = 0
        self.live = 0
        self._started = 0
        self._fetch = fetch
        self._limits = limits
        self._emit = emit
        self._stop = stop
        self._lanes = Lanes(per_host=limits.per_host)
        self._slots = asyncio.Semaphore(limits.max)
        self._room = asyncio.Event()
        self._arrived: dict[int, float] = {}
        self._open: dict[int, Target | FetchResult] = {}
        self._clock = perf_counter

    async def run(self, entries: AsyncGenerator[Target | FetchResult, None]) -> None:
        """Fetch all entries, or until `stop` is set; every one that was read is emitted.

        An exception of `entries` is raised once what came before it is done.
        """
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(self._feed(entries))
            working = group.create_task(self._work())
            stopped = group.create_task(self._stop.wait())
            await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
            for task in (feeding, working, stopped):
                task.cancel()
        for held in sorted(self._open.items()):
            await self._emit(self._ended(held[1]))
        for target in self._lanes.clear():
            await self._emit(self._ended(target))
        if not feeding.cancelled() and (broken := feeding.result()) is not None:
            raise broken

    async def _feed(self, entries: AsyncGenerator[Target | FetchResult, None]) -> Exception | None:
        """Read ahead, up to the window; return the exception that ended the list, if one did."""
        try:
            async with aclosing(entries):
                async for entry in entries:
                    self.read += 1
                    if isinstance(entry, FetchResult):
                        self._open[entry.target.index] = entry
                        await self._emit(entry)
                        del self._open[entry.target.index]
                    else:
                        self._arrived[entry.index] = self._clock()
                        self._lanes.add(entry)
                    while len(self._lanes) >= self._limits.window:
                        self._room.clear()
                        await self._room.wait()
                    if self.read % _AT_A_TIME == 0:
                        await asyncio.sleep(0)
        except Exception as exc:
            return exc
        finally:
            self._lanes.close()
        return None

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            while not self._lanes.drained:
                target = self._lanes.take()
                if target is None:
                    await self._lanes.changed()
                    continue
                self._open[target.index] = target
                self._room.set()
                await self._slots.acquire()
                group.create_task(self._visit(target))
                if self._started < self._limits.max:
                    # The first ones connect all at once: let each get on the wire before
                    # the next, or the whole burst would count as latency of the first.
                    self._started += 1
                    await asyncio.sleep(0)

    async def _visit(self, target: Target) -> None:
        """Fetch one target and hand its result on; a cancelled visit leaves its place open."""
        queue = self._clock() - self._arrived.pop(target.index)
        self.live += 1
        try:
            result = await self._fetch(target)
        except (Exception, asyncio.CancelledError) as exc:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            error = failure.of(exc, None)  # also where something inside cancelled the fetch
            result = FetchResult(target=target, outcome=Outcome.ERROR, attempts=1, error=error)
        finally:
            self.live -= 1
        result = self._open[target.index] = replace(result, queue=queue)
        self._lanes.leave(target)
        await self._emit(result)
        del self._open[target.index]
        self._slots.release()

    def _ended(self, held: Target | FetchResult) -> FetchResult:
        """Return the record of an entry that was read but not emitted before the end."""
        if isinstance(held, FetchResult):
            return held
        return FetchResult(target=held, outcome=Outcome.UNREACHED)
