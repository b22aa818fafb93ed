"""Schedules targets: concurrency, retries, rechecks, hedges and an orderly end."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from crawler.core import retry, url
from crawler.engine.clock import Clock, SystemClock
from crawler.engine.course import Path
from crawler.engine.intake import Emit, Entries, Intake, Pending
from crawler.engine.race import Hedge
from crawler.engine.slots import Flight, Slots
from crawler.engine.visit import FallBackToGet, Recheck, Retry, Visit, VisitState
from crawler.models import Attempt, Limits, Result

# Runs on the fast path start faster without their modules.
if TYPE_CHECKING:
    from crawler.engine.fetch import Fetch
    from crawler.engine.sender import Sender

_DONE = VisitState.DONE
_BURST = 25  # requests started before other tasks run: a response that comes waits for them


class Scheduler:
    """Runs one crawl: fans entries out over fetch tasks, and emits each result once.

    `stop` ends the crawl early. A `fast_path` makes the attempts without a task for each, and
    without hedges; it makes `fetch` unnecessary. `fetch_fresh` sends hedges, over connections
    of their own; without it there are none.
    """

    def __init__(
        self,
        fetch: "Fetch | None",
        limits: Limits,
        emit: Emit,
        stop: asyncio.Event,
        *,
        fetch_fresh: "Fetch | None" = None,
        fast_path: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._limits = limits
        self._stop = stop
        self._clock = clock or SystemClock()
        self._slots = Slots(limits, self._clock)
        self._lanes = self._slots.lanes
        self._pending = Pending(emit)
        self._intake = Intake(self._slots, self._pending, limits, self._clock)
        self._fast_path = fast_path
        self._sender = None if fetch is None else self._make_sender(fetch, fetch_fresh)
        self._deferred: list[Visit] = []
        self._fault: Exception | None = None  # in what a callback called
        self._requests = 0

    def _make_sender(self, fetch: "Fetch", fetch_fresh: "Fetch | None") -> "Sender":
        from crawler.engine.sender import Sender

        return Sender(fetch, fetch_fresh, self._limits, self._slots, self._intake.resume)

    @property
    def read(self) -> int:
        """How many entries were read."""
        return self._intake.read

    @property
    def in_flight(self) -> int:
        """How many requests are in flight."""
        return self._slots.requests_in_flight

    def least_seconds(self, total: int) -> float:
        """Return how long the rates make a list of `total` URLs take from now on, at least."""
        rate, host_rate = self._limits.rate, self._limits.host_rate
        in_all = 0.0 if rate is None else max(0, total - self._requests) / rate
        on_a_host = 0.0 if host_rate is None else self._lanes.longest_queue() / host_rate
        return max(in_all, on_a_host)

    async def run(
        self,
        entries: Entries,
        *,
        has_end: Callable[[], bool] = lambda: True,
        bytes_read: Callable[[], int] | None = None,
    ) -> None:
        """Fetch all entries, or until `stop` is set; every entry that was read is emitted.

        At the deadline the rest of the list is read, and emitted as unreached: only for a
        few seconds unless `has_end` says that the list is known to end. `bytes_read` counts
        duplicates and comments too. An exception of `entries` is raised after the results of
        all entries before it.
        """
        deadline = asyncio.Event()
        timer = None
        if self._limits.deadline is not None:
            timer = self._clock.call_at(self._clock.time() + self._limits.deadline, deadline.set)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._intake.run(entries))
            working = group.create_task(self._work())
            stopped = group.create_task(self._stop.wait())
            late = group.create_task(deadline.wait())
            await asyncio.wait((working, stopped, late), return_when=asyncio.FIRST_COMPLETED)
            working.cancel()
            self._intake.close()
            if not stopped.done():
                await self._intake.finish_reading(reading, stopped, has_end, bytes_read)
            for task in (reading, stopped, late):
                task.cancel()
        if timer is not None:
            timer.cancel()
        self._lanes.clear()
        await self._pending.emit_all()
        if not reading.cancelled() and (broken := reading.result()) is not None:
            raise broken

    async def _work(self) -> None:
        """Start everything that may start, until nothing is pending."""
        started = 0
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    if not self._slots.take_over():
                        await self._slots.acquire()
                    if self._pending.has_finished:
                        await self._pending.emit_finished()
                    entry = self._take() or await self._wait_for_entry()
                    if entry is None:
                        return
                    self._start(entry, group)
                    started += 1
                    # The first requests all connect: each gets on the wire before the next
                    # one starts, or the whole burst would count as latency of the first.
                    if started < self._limits.max or not started % _BURST:
                        await asyncio.sleep(0)
        finally:
            if self._fast_path is not None:
                await self._fast_path.cancel()

    async def _wait_for_entry(self) -> Visit | Hedge[Visit] | Flight | None:
        """Return the next entry once one may start, or None if nothing is pending any more."""
        while True:
            if self._fault is not None:
                raise self._fault
            if self._intake.ended and not self._lanes:
                if not self._pending:
                    return None
                if len(self._pending) == len(self._deferred):
                    self._start_rechecks()
            self._intake.look_further()
            await self._wait_for_change()
            await self._pending.emit_finished()
            if (entry := self._take()) is not None:
                return entry

    def _start(self, entry: Visit | Hedge[Visit] | Flight, group: asyncio.TaskGroup) -> None:
        """Start a request with the slot that was acquired for it."""
        if isinstance(entry, Flight):
            entry.resume()  # in its own task, which owns the slot from now on
        elif isinstance(entry, Visit) and self._fast_path is not None:
            flight = Flight(self._slots, entry)
            entry.start_attempt(flight.began)
            self._fast_path.start(entry.target, flight, self._attempt_ended)
        else:
            group.create_task(self._worker(entry))

    def _attempt_ended(self, flight: Flight, attempt: Attempt) -> None:
        """Carry out the next step after an attempt on the fast path."""
        result = None
        try:
            result = self._follow_up(flight.visit, attempt, flight)
        except Exception as exc:
            self._fault = exc
            self._lanes.notify()
        flight.release_host()
        if result is not None:
            self._pending.finish(result)
        if flight.holds_slots:
            self._slots.pass_on()
        else:
            self._intake.resume()  # it ended while it waited in the lanes
            self._lanes.notify()

    async def _worker(self, entry: Visit | Hedge[Visit]) -> None:
        """Send one request after another, as long as one may start at once.

        Other tasks run in between, so that requests go out in bursts: one by one they would
        wake server and writer each time, and cost a tenth more.
        """
        task = asyncio.current_task()
        assert task is not None
        while True:
            if not await self._request(entry):
                self._intake.resume()  # it was cancelled while it waited in the lanes
                return
            await asyncio.sleep(0)
            following = None if task.cancelling() else self._take()
            if isinstance(following, Flight):
                following.resume()  # it owns the slot from now on
                return
            if following is None:
                break
            entry = following
        self._slots.release()

    async def _request(self, entry: Visit | Hedge[Visit]) -> bool:
        """Send one request for a visit, and carry out the next step.

        Return whether its slot is free for the next request; otherwise it was given away.
        """
        visit = entry.visit if isinstance(entry, Hedge) else entry
        flight = Flight(self._slots, visit)
        result = None
        try:
            assert self._sender is not None
            attempt = await self._sender.send(entry, flight)
            if attempt is not None:
                result = self._follow_up(visit, attempt, flight)
        finally:
            flight.release_host()
        if result is not None:
            await self._pending.emit(result)
            self._lanes.notify()
        return flight.holds_slots

    def _follow_up(self, visit: Visit, attempt: Attempt, flight: Flight) -> Result | None:
        """Carry out the next step after an attempt; return the result if the visit is done."""
        if visit.timestamp is None:
            visit.set_timestamp(attempt, flight.began)
        if flight.holds_slots:
            self._lanes.record_attempt(flight.host, attempt, flight.started)
        chance = 0.0
        if not attempt.succeeded:
            chance = self._clock.chance()
            self._pause_host(visit, attempt, chance)
        if visit.race is not None:
            assert self._sender is not None
            if not self._sender.settle(visit, attempt):
                return None
        step = visit.next(attempt, self._limits, chance)
        match step:
            case Result():
                visit.state = _DONE
                return step
            case Retry(delay):
                visit.advance(step, attempt)
                self._lanes.enqueue(visit, at=self._clock.time() + delay)
            case FallBackToGet():
                visit.advance(step, attempt)
                self._lanes.enqueue(visit, urgent=True)
            case Recheck():
                visit.advance(step, attempt)
                self._deferred.append(visit)
        return None

    def _pause_host(self, visit: Visit, attempt: Attempt, chance: float) -> None:
        """Pause the host that responded for its Retry-After."""
        seconds = retry.host_pause(visit.result(attempt), self._limits, visit.retries + 1, chance)
        if seconds is not None:
            self._lanes.pause_host(_responding_host(visit, attempt), self._clock.time() + seconds)

    def _start_rechecks(self) -> None:
        """Queue the deferred visits, one at a time for each host."""
        assert self._limits.confirm_after is not None
        self._lanes.one_at_a_time()
        due = self._clock.time() + self._limits.confirm_after
        for visit in sorted(self._deferred, key=lambda visit: visit.target.index):
            visit.is_recheck = True
            visit.state = VisitState.WAITING
            self._lanes.enqueue(visit, at=due)
        self._deferred.clear()

    def _take(self) -> Visit | Hedge[Visit] | Flight | None:
        """Take the next entry that may start, or None if there is none now."""
        entry = self._lanes.take()
        if entry is not None:
            self._requests += not isinstance(entry, Flight)
            self._intake.resume()
        return entry

    async def _wait_for_change(self) -> None:
        """Wait until something was queued or has finished, or until an entry is due."""
        due = self._lanes.next_due()
        timer = None if due is None else self._clock.call_at(due, self._lanes.notify)
        try:
            await self._lanes.changed()
        finally:
            if timer is not None:
                timer.cancel()


def _responding_host(visit: Visit, attempt: Attempt) -> str:
    """Return the host of an attempt's last response, to which redirects may have led."""
    if not attempt.redirects or attempt.final_url is None:
        return visit.host
    return url.parse(attempt.final_url)[1]
