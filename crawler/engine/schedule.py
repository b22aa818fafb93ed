"""Targets in, results out: what is asked, how often, and what happens at the end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

from crawler.core import retry, url
from crawler.engine import failure
from crawler.engine.clock import Clock, SystemClock
from crawler.engine.fetch import Fetch
from crawler.engine.flight import Flight, Slots
from crawler.engine.hedging import Hedging
from crawler.engine.visit import Hedge, Visit
from crawler.models import FetchResult, Limits, Outcome, Target, Try

Emit = Callable[[FetchResult], Awaitable[None]]
_AT_A_TIME = 50  # entries read before other tasks get their turn
_TRICKLE = 1_000  # bytes of a list in that time are no headway: it may never end
_LINE = 20  # bytes, about: what an entry stands for if nobody counts them
_ENDLESS = 5.0  # seconds that a list of unknown length is read on after the deadline
_STALLED = 1.0  # seconds that a list may make no headway after the deadline


class Crawling:
    """One crawl on its way: fan-out of entries over fetch tasks.

    `read` and `live` are how many targets were read and how many requests are under way;
    `emit` gets each result once, `stop` ends the crawl early. `fetch_fresh` sends second
    requests, over connections of their own; without it there are none. `has_end` says
    whether the list is known to have one: others are not read on for long at the deadline.
    `bytes_read` is how much of the list was read, duplicates and comments included.
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
        self.read = 0
        self._requests = 0
        self._fetch = fetch
        self._fetch_fresh = fetch_fresh
        self._limits = limits
        self._emit = emit
        self._has_end = has_end
        self._bytes_read = bytes_read or (lambda: self.read * _LINE)
        self._stop = stop
        self._clock = clock or SystemClock()
        self._slots = Slots(limits, self._clock)
        self._lanes = self._slots.lanes
        self._room = asyncio.Event()
        self._listed = False  # the list is through
        self._over = False  # nothing starts any more
        self._handing_on = False  # what is emitted without being asked
        # All that was read and is not emitted, by index. This alone says what a record is
        # still owed for: lanes and tasks only say what happens to it next.
        self._open: dict[int, Visit | FetchResult] = {}
        self._doubtful: list[Visit] = []
        self._hedging = Hedging(
            limits.hedge_budget if fetch_fresh else 0.0,
            self._clock,
            lambda hedge: self._lanes.add(hedge, first=True),
        )

    @property
    def live(self) -> int:
        return self._slots.live

    def least(self, total: int) -> float:
        """Return how many seconds the rates make a list of so many URLs take from now on."""
        rate, host_rate = self._limits.rate, self._limits.host_rate
        in_all = 0.0 if rate is None else max(0, total - self._requests) / rate
        on_a_host = 0.0 if host_rate is None else self._lanes.longest() / host_rate
        return max(in_all, on_a_host)

    async def run(self, entries: AsyncGenerator[Target | FetchResult, None]) -> None:
        """Fetch all entries, or until `stop` is set; every one that was read is emitted.

        At the deadline what is left of the list is read, and emitted as unreached. An
        exception of `entries` is raised once what came before it is done.
        """
        deadline = asyncio.Event()
        timer = None
        if self._limits.deadline is not None:
            timer = self._clock.call_at(self._clock.time() + self._limits.deadline, deadline.set)
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(self._feed(entries))
            working = group.create_task(self._work())
            stopped = group.create_task(self._stop.wait())
            late = group.create_task(deadline.wait())
            await asyncio.wait((working, stopped, late), return_when=asyncio.FIRST_COMPLETED)
            self._over = True
            working.cancel()
            self._room.set()
            if not stopped.done():
                await self._read_on(feeding, stopped)
            for task in (feeding, stopped, late):
                task.cancel()
        if timer is not None:
            timer.cancel()
        self._lanes.clear()
        for _, held in sorted(self._open.items()):
            await self._settle(held if isinstance(held, FetchResult) else held.ended())
        if not feeding.cancelled() and (broken := feeding.result()) is not None:
            raise broken

    async def _read_on(
        self, feeding: asyncio.Task[Exception | None], stopped: asyncio.Task[bool]
    ) -> None:
        """Let the list be read to its end, unless it stalls or may have none."""
        read = -_TRICKLE - 1
        begun = self._clock.time()
        while self._handing_on or self._bytes_read() - read > _TRICKLE:
            endless = not self._has_end() and self._clock.time() - begun > _ENDLESS
            if feeding.done() or stopped.done() or endless:
                return
            read = self._bytes_read()
            await asyncio.wait(
                (feeding, stopped), timeout=_STALLED, return_when=asyncio.FIRST_COMPLETED
            )

    async def _feed(self, entries: AsyncGenerator[Target | FetchResult, None]) -> Exception | None:
        """Read ahead, up to the window; return the exception that ended the list, if one did."""
        try:
            async with aclosing(entries):
                async for entry in entries:
                    self.read += 1
                    if isinstance(entry, FetchResult):
                        await self._hand_on(entry)
                    else:
                        visit = self._open[entry.index] = Visit(entry, self._clock.time())
                        self._lanes.add(visit)
                    while len(self._lanes) >= self._limits.window and not self._over:
                        self._room.clear()
                        await self._room.wait()
                    if self._over:
                        await self._give_up()
                    if self.read % _AT_A_TIME == 0:
                        await asyncio.sleep(0)
        except Exception as exc:
            return exc
        finally:
            self._listed = True
            self._lanes.nudge()
        return None

    async def _give_up(self) -> None:
        """Emit all that waits, after the deadline; what a stop keeps this from stays open."""
        for waiting in self._lanes.clear():
            if isinstance(waiting, Visit):
                await self._hand_on(waiting.ended())

    async def _hand_on(self, result: FetchResult) -> None:
        """Emit what is not asked, and say so meanwhile: an output may make it wait."""
        self._handing_on = True
        await self._settle(result)
        self._handing_on = False

    async def _settle(self, result: FetchResult) -> None:
        """Emit a final result; it stays open until `emit` has taken it, which it may never."""
        self._open[result.target.index] = result
        await self._emit(result)
        del self._open[result.target.index]

    async def _work(self) -> None:
        begun = 0
        async with asyncio.TaskGroup() as group:
            while True:
                await self._slots.acquire()
                while (asked := self._next()) is None:
                    if self._through():
                        return
                    await self._changed()
                if isinstance(asked, Flight):
                    asked.resume()  # its task goes on, and the slot is its own
                    continue
                group.create_task(self._ask_on(asked))
                begun += 1
                if begun < self._limits.max:
                    # The first ones connect all at once: let each get on the wire before
                    # the next, or the whole burst would count as latency of the first.
                    await asyncio.sleep(0)

    def _through(self) -> bool:
        """Whether all is settled; brings up what a second opinion is wanted on before that."""
        if not self._listed or len(self._open) > len(self._doubtful):
            return False
        if not self._doubtful:
            return True
        assert self._limits.confirm_after is not None
        self._lanes.one_at_a_time()
        due = self._clock.time() + self._limits.confirm_after
        for visit in sorted(self._doubtful, key=lambda visit: visit.target.index):
            visit.second_opinion = True
            self._lanes.add(visit, at=due)
        self._doubtful.clear()
        return False

    async def _changed(self) -> None:
        """Wait until something was added or is finished, or the time of something has come."""
        due = self._lanes.due()
        timer = None if due is None else self._clock.call_at(due, self._lanes.nudge)
        try:
            await self._lanes.changed()
        finally:
            if timer is not None:
                timer.cancel()

    def _next(self) -> Visit | Hedge | Flight | None:
        """Take the next one that may start, or None while there is none."""
        asked = self._lanes.take()
        if asked is None:
            return None
        if not isinstance(asked, Flight):
            self._requests += 1
        self._room.set()
        return asked

    async def _ask_on(self, asked: Visit | Hedge) -> None:
        """Send one request after the other, as long as there is one that may start at once.

        After each the others get their turn, so that requests go out in bursts: one by one
        they would wake server and writer each time, and cost a tenth more.
        """
        task = asyncio.current_task()
        assert task is not None
        while True:
            if not await self._ask(asked):
                self._room.set()  # it was called off while it waited in the lanes
                return
            await asyncio.sleep(0)
            following = None if task.cancelling() else self._next()
            if isinstance(following, Flight):
                following.resume()  # the slot is its own now
                return
            if following is None:
                break
            asked = following
        self._slots.release()

    async def _ask(self, asked: Visit | Hedge) -> bool:
        """Send one request for a visit, and do what its answer calls for.

        Return whether its slot is free for the next, or else was given away already.
        """
        visit = asked.visit if isinstance(asked, Hedge) else asked
        flight = Flight(self._slots, visit)
        try:
            final = await self._answer(asked, visit, flight)
        finally:
            flight.end()
        if final is not None:
            await self._settle(final)
            self._lanes.nudge()
        return flight.held

    async def _answer(
        self, asked: Visit | Hedge, visit: Visit, flight: Flight
    ) -> FetchResult | None:
        """Return the final result that a request leads to, None where it leads to none."""
        started = flight.started
        if not self._begin(asked, visit, started):
            return None
        result = await self._send(asked, visit, flight)
        if result is None:
            return None
        if flight.held:
            self._lanes.note(flight.host, result, flight.started)
        if visit.timestamp is None and result.timestamp is not None:
            visit.timestamp = result.timestamp - (started - visit.arrived - visit.queue)
        # No policy but the verdict's concerns an answer below 400: most are done with here.
        good = result.error is None and result.status is not None and result.status < 400
        chance = 0.0 if good else self._clock.chance()
        if not good:
            self._keep_hold(visit, result, chance)
        if self._hedging.on and self._other_may_do_better(visit, result):
            return None
        if not good and self._will_ask_again(visit, result, chance):
            return None
        return visit.final(result)

    def _begin(self, asked: Visit | Hedge, visit: Visit, started: float) -> bool:
        """Note that a request starts; False where it need not, as the other one was answered."""
        if isinstance(asked, Hedge):
            if visit.hedge is not asked:
                self._hedging.unsent()
                return False
            visit.hedge = None
            visit.hedged = True
            return True
        visit.attempts += 1
        if visit.attempts == 1:
            visit.queue = started - visit.arrived
        if self._hedging.on:
            self._hedging.watch(visit, started)
        return True

    async def _send(self, asked: Visit | Hedge, visit: Visit, flight: Flight) -> FetchResult | None:
        """Fetch; None where that was called off because the other request was answered."""
        task = asyncio.current_task()
        assert task is not None
        fetch = self._fetch
        if isinstance(asked, Hedge):
            assert self._fetch_fresh is not None
            fetch = self._fetch_fresh
        visit.running = (*visit.running, task)
        self._hedging.count()
        try:
            result = await fetch(visit.target, visit.queue, flight)
        except (Exception, asyncio.CancelledError) as exc:
            if task.cancelling() and task in visit.running:
                self._hedging.end(visit)
                raise
            error = failure.of(exc, None)  # also where something inside cancelled the fetch
            result = FetchResult(target=visit.target, outcome=Outcome.ERROR, error=error)
        if task not in visit.running:
            return None
        visit.running = tuple(other for other in visit.running if other is not task)
        return result

    def _keep_hold(self, visit: Visit, result: FetchResult, chance: float) -> None:
        """Start nothing more on a host for as long as it asks to be left alone."""
        seconds = retry.hold(result, self._limits, visit.retries + 1, chance)
        if seconds is not None:
            self._lanes.hold(_answering(result), self._clock.time() + seconds)

    def _will_ask_again(self, visit: Visit, result: FetchResult, chance: float) -> bool:
        """Do what an answer that is not good calls for; whether the visit goes on."""
        limits = self._limits
        if self._refuses_head(result):
            self._try_again(visit, result)
            visit.target = replace(visit.target, method="GET")
            self._lanes.add(visit, first=True)
            return True
        if visit.second_opinion:
            return False
        pause = retry.wait(result, limits, visit.retries + 1, chance)
        if pause is not None:
            visit.retries += 1
            self._try_again(visit, result)
            self._lanes.add(visit, at=self._clock.time() + pause)
            return True
        if limits.confirm_after is not None and retry.doubtful(result, limits):
            self._try_again(visit, result)
            self._doubtful.append(visit)
            return True
        return False

    def _refuses_head(self, result: FetchResult) -> bool:
        head_first = self._limits.head_first and result.target.method == "HEAD"
        return head_first and retry.refuses_head(result)

    def _try_again(self, visit: Visit, result: FetchResult) -> None:
        """Note an attempt that is not the last one; the visit is in the lanes, or put off."""
        kind = None if result.error is None else result.error.kind
        status = result.status if kind is None else None
        self._remember(visit, result)
        visit.tries = (*visit.tries, Try(method=result.target.method, kind=kind, status=status))

    def _remember(self, visit: Visit, result: FetchResult) -> None:
        """Keep the record of an attempt, in case the crawl ends before the next one has."""
        if not self._refuses_head(result):  # that says nothing about the URL
            visit.last = visit.final(result)

    def _other_may_do_better(self, visit: Visit, result: FetchResult) -> bool:
        """Whether the other one of two requests is to be waited for; if not, call it off.

        The first good answer wins: a failure that may pass waits for the other request,
        but not for one that has not started. That would be a retry, and is counted as one.
        """
        if result.outcome is Outcome.RESPONDED:
            self._hedging.answered(visit, result.latency or 0.0, self.live)
        if visit.running and (result.outcome is Outcome.ERROR or retry.may_pass(result)):
            self._remember(visit, result)
            return True
        self._hedging.end(visit)
        if visit.hedge is not None:
            if self._lanes.forget(visit.hedge):
                self._hedging.unsent()
                self._room.set()
            visit.hedge = None
        for task in visit.running:
            task.cancel()
        visit.running = ()
        return False


def _answering(result: FetchResult) -> str:
    """Return the host that a result came from, which a redirect may have led to."""
    if not result.redirects or result.final_url is None:
        return result.target.host
    return url.parse(result.final_url)[1]
