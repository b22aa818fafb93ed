"""Schedules targets: concurrency, retries, rechecks, hedges and an ordinary ending."""

import asyncio
from collections.abc import Callable

from crawler.core import retry, url
from crawler.engine import failure
from crawler.engine.clock import Clock, SystemClock
from crawler.engine.fetch import Fetch
from crawler.engine.flight import Flight, Slots
from crawler.engine.hedging import Hedging
from crawler.engine.intake import Emit, Entries, Intake, Pending
from crawler.engine.race import Hedge, Race
from crawler.engine.visit import Done, FallBackToGet, Recheck, Retry, Visit, VisitState
from crawler.models import Attempt, Limits, Result


class Scheduler:
    """Runs one crawl: fans entries out over fetch tasks, and emits each result once.

    `stop` ends the crawl early. `fetch_fresh` sends hedges, over connections of their own;
    without it there are none. `has_end` says whether the list is known to have an end:
    others are read only for a few seconds past the deadline. `bytes_read` is how much of
    the list was read, duplicates and comments included.
    """

    def __init__(
        self,
        fetch: Fetch,
        limits: Limits,
        emit: Emit,
        stop: asyncio.Event,
        *,
        fetch_fresh: Fetch | None = None,
        has_end: Callable[[], bool] = lambda: True,
        bytes_read: Callable[[], int] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._fetch = fetch
        self._fetch_fresh = fetch_fresh
        self._limits = limits
        self._stop = stop
        self._clock = clock or SystemClock()
        self._slots = Slots(limits, self._clock)
        self._lanes = self._slots.lanes
        self._pending = Pending(emit)
        self._intake = Intake(self._slots, self._pending, limits, has_end, bytes_read, self._clock)
        self._deferred: list[Visit] = []
        self._hedging = Hedging(
            limits.hedge_budget if fetch_fresh else 0.0,
            self._clock,
            lambda hedge: self._lanes.enqueue(hedge, urgent=True),
        )
        self._requests = 0

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

    async def run(self, entries: Entries) -> None:
        """Fetch all entries, or until `stop` is set; every one that was read is emitted.

        At the deadline the rest of the list is read, and emitted as unreached. An exception
        of `entries` is raised once what came before it is done.
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
                await self._intake.finish_reading(reading, stopped)
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
        async with asyncio.TaskGroup() as group:
            while True:
                await self._slots.acquire()
                while (entry := self._take()) is None:
                    if not self._lanes and self._intake.ended:
                        if not self._pending:
                            return
                        if len(self._pending) == len(self._deferred):
                            self._start_rechecks()
                    await self._wait_for_change()
                if isinstance(entry, Flight):
                    entry.resume()  # its task goes on, and owns the slot now
                    continue
                group.create_task(self._worker(entry))
                started += 1
                if started < self._limits.max:
                    # The first ones connect all at once: let each get on the wire before
                    # the next, or the whole burst would count as latency of the first.
                    await asyncio.sleep(0)

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

    async def _wait_for_change(self) -> None:
        """Wait until something was queued or is finished, or the time of something has come."""
        due = self._lanes.next_due()
        timer = None if due is None else self._clock.call_at(due, self._lanes.notify)
        try:
            await self._lanes.changed()
        finally:
            if timer is not None:
                timer.cancel()

    def _take(self) -> Visit | Hedge[Visit] | Flight | None:
        """Take the next entry that may start, or None if there is none now."""
        entry = self._lanes.take()
        if entry is not None:
            self._requests += not isinstance(entry, Flight)
            self._intake.resume()
        return entry

    async def _worker(self, entry: Visit | Hedge[Visit]) -> None:
        """Send one request after the other, as long as there is one that may start at once.

        After each the others get their turn, so that requests go out in bursts: one by one
        they would wake server and writer each time, and cost a tenth more.
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
                following.resume()  # it owns the slot now
                return
            if following is None:
                break
            entry = following
        self._slots.release()

    async def _request(self, entry: Visit | Hedge[Visit]) -> bool:
        """Send one request for a visit, and carry out what follows from it.

        Return whether its slot is free for the next; otherwise it was given away already.
        """
        visit = entry.visit if isinstance(entry, Hedge) else entry
        flight = Flight(self._slots, visit)
        try:
            result = await self._attempt(entry, visit, flight)
        finally:
            flight.release_host()
        if result is not None:
            await self._pending.emit(result)
            self._lanes.notify()
        return flight.holds_slots

    async def _attempt(
        self, entry: Visit | Hedge[Visit], visit: Visit, flight: Flight
    ) -> Result | None:
        """Return the final result that a request leads to, or None if it leads to none."""
        started = flight.started
        race = self._enter_race(entry, visit, started)
        if race is None and isinstance(entry, Hedge):
            self._hedging.refund()
            return None
        attempt = await self._fetch_attempt(entry, visit, race, flight)
        if attempt is None:
            return None
        if flight.holds_slots:
            self._lanes.record_attempt(flight.host, attempt, flight.started)
        if visit.timestamp is None and attempt.timestamp is not None:
            visit.timestamp = attempt.timestamp - (started - visit.arrived - visit.queue)
        chance = 0.0
        if not attempt.succeeded:
            chance = self._clock.chance()
            self._pause_host(visit, attempt, chance)
        if race is not None and self._awaits_other(race, visit, attempt):
            return None
        return self._follow_up(visit, attempt, chance)

    def _enter_race(
        self, entry: Visit | Hedge[Visit], visit: Visit, now: float
    ) -> Race[Visit] | None:
        """Begin an attempt, or let a hedge take part in one; None if there is no race."""
        if isinstance(entry, Visit):
            visit.start_attempt(now)
        if not self._hedging.enabled:
            return None
        task = asyncio.current_task()
        assert task is not None
        if isinstance(entry, Visit):
            visit.race = Race(visit, task)
            self._hedging.watch(visit.race, now)
        elif entry.race.start_hedge(task):
            visit.hedged = True
        else:
            return None
        return visit.race

    async def _fetch_attempt(
        self, entry: Visit | Hedge[Visit], visit: Visit, race: Race[Visit] | None, flight: Flight
    ) -> Attempt | None:
        """Fetch; None if the request was cancelled because the other one counts."""
        task = asyncio.current_task()
        assert task is not None
        fetch = self._fetch
        if isinstance(entry, Hedge):
            assert self._fetch_fresh is not None
            fetch = self._fetch_fresh
        self._hedging.count_request()
        try:
            attempt = await fetch(visit.target, flight)
        except (Exception, asyncio.CancelledError) as exc:
            lost = race is not None and not race.remove(task)
            if task.cancelling() and not lost:
                if race is not None:
                    race.cancel()
                raise
            if lost:
                return None
            # Also if something inside cancelled the fetch.
            return Attempt(method=visit.target.method, error=failure.from_exception(exc, None))
        if race is not None and not race.remove(task):
            return None
        return attempt

    def _pause_host(self, visit: Visit, attempt: Attempt, chance: float) -> None:
        """Start nothing more on a host for as long as its Retry-After says."""
        seconds = retry.host_pause(visit.result(attempt), self._limits, visit.retries + 1, chance)
        if seconds is not None:
            self._lanes.pause_host(_responding_host(visit, attempt), self._clock.time() + seconds)

    def _awaits_other(self, race: Race[Visit], visit: Visit, attempt: Attempt) -> bool:
        """Settle a race: return whether the other request is awaited; if not, it is cancelled.

        The first good response wins: after a transient failure the other request is
        awaited, but not one that has not started. That would be a retry, and is counted as
        one.
        """
        if attempt.responded:
            self._hedging.record_latency(visit.host, attempt.latency or 0.0, self.in_flight)
        result = visit.result(attempt)
        if race.has_requests and (attempt.error is not None or retry.is_transient(result)):
            if not visit.refuses_head(attempt, self._limits):
                visit.latest = result
            return True
        hedge = race.cancel()
        if hedge is not None and self._lanes.withdraw(hedge):
            self._hedging.refund()
            self._intake.resume()
        return False

    def _follow_up(self, visit: Visit, attempt: Attempt, chance: float) -> Result | None:
        """Carry out the next step of a visit; return its result if it is done."""
        step = visit.next(attempt, self._limits, chance)
        match step:
            case Done(result):
                visit.state = VisitState.DONE
                return result
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


def _responding_host(visit: Visit, attempt: Attempt) -> str:
    """Return the host that an attempt's response came from, which a redirect may lead to."""
    if not attempt.redirects or attempt.final_url is None:
        return visit.host
    return url.parse(attempt.final_url)[1]
