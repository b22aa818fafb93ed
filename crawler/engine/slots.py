"""The slots of a crawl, and an attempt in flight: those it holds, or waits for."""

import asyncio
from typing import TYPE_CHECKING

from crawler.engine.clock import Clock
from crawler.engine.lanes import Lanes
from crawler.engine.visit import Visit
from crawler.models import Limits

if TYPE_CHECKING:
    from crawler.engine.race import Hedge


class Slots:
    """The slots of a crawl: `limits.max` in all, and those of each host, in `lanes`.

    A semaphore bounds the requests in flight. A slot that is passed on instead of released
    goes to the next request without it, at a tenth of the cost.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.requests_in_flight = 0
        self.clock = clock
        # No host has more slots than there are in all: otherwise its first throttled
        # responses would only take away slots that it could never use.
        self.lanes: Lanes[Visit | Hedge[Visit] | Flight] = Lanes(
            per_host=min(limits.per_host, limits.max),
            rate=limits.rate,
            host_rate=limits.host_rate,
            clock=clock.time,
        )
        self._free = asyncio.Semaphore(limits.max)
        self._passed_on = 0
        self._is_awaited = False
        self.release = self._free.release

    async def acquire(self) -> None:
        """Wait for a free slot."""
        self._is_awaited = True
        await self._free.acquire()
        self._is_awaited = False

    def pass_on(self) -> None:
        """Keep the slot of a request that has ended for `take_over`, or end `acquire` with it."""
        if self._is_awaited:
            self._is_awaited = False
            self._free.release()
        else:
            self._passed_on += 1

    def take_over(self) -> bool:
        """Take a slot that was passed on, if there is one."""
        if not self._passed_on:
            return False
        self._passed_on -= 1
        return True


class Flight:
    """The slots of one attempt, and the `Gate` of its further requests: redirects, resends.

    Each of these starts only when its host may get a request. If that is not at once, the
    attempt gives its slots back and waits in that host's lane, ahead of visits that have not
    started: a waiting attempt occupies nothing, so two hosts that redirect to each other
    never deadlock. `holds_slots` is false while it waits.
    """

    __slots__ = ("_slots", "_to", "_turn", "began", "holds_slots", "host", "started", "visit")

    def __init__(self, slots: Slots, visit: Visit) -> None:
        """Start the attempt's first request, whose slots are taken already."""
        self.visit = visit
        self.host = visit.host  # of the present request
        self.holds_slots = True
        self.began = slots.clock.time()
        self.started = self.began  # the present request
        self._slots = slots
        self._to = self.host
        self._turn: asyncio.Future[None] | None = None
        slots.requests_in_flight += 1

    def try_hop(self, host: str) -> bool:
        """Start the request that a redirect leads to, if it may start now; else return False."""
        self._slots.lanes.record_attempt(self.host, None, self.started)
        return self._try_start(host)

    def try_resend(self) -> bool:
        """Start the present request again, if it may start now; else return False."""
        return self._try_start(self.host)

    async def wait_for_turn(self) -> None:
        """Wait until the request that was refused may start, and start it."""
        self.release_host()
        self.holds_slots = False
        self.host = self._to
        self._turn = asyncio.get_running_loop().create_future()
        self._slots.lanes.enqueue(self, urgent=True)
        self._slots.release()
        race = self.visit.race
        if race is not None:
            race.waits_for_host = True
        try:
            await self._turn
        finally:
            if race is not None:
                race.waits_for_host = False
            if not self.holds_slots:
                self._slots.lanes.withdraw(self)

    def resume(self) -> None:
        """Start the request that waits, with the slots that were taken for it."""
        assert self._turn is not None
        self.holds_slots = True
        self.started = self._slots.clock.time()
        self._slots.requests_in_flight += 1
        if not self._turn.done():  # otherwise it was cancelled, and its task is about to end
            self._turn.set_result(None)

    def release_host(self) -> None:
        """Release the host's slot; the one of `limits.max` is the caller's to reuse or release."""
        if self.holds_slots:
            self._slots.lanes.release(self)
            self._slots.requests_in_flight -= 1

    def _try_start(self, host: str) -> bool:
        if self._slots.lanes.transfer(self.host, host):
            self.host = host
            self.started = self._slots.clock.time()
            return True
        self._to = host
        return False
