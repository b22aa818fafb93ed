"""An attempt in flight: the slots that it holds, and what its further requests wait for."""

import asyncio
from typing import TYPE_CHECKING

from crawler.engine.clock import Clock
from crawler.engine.lanes import Lanes
from crawler.engine.visit import Visit
from crawler.models import Limits

if TYPE_CHECKING:
    from crawler.engine.race import Hedge


class Slots:
    """The slots of a crawl: those of each host, which its lanes count, and `limits.max` in all.

    `requests_in_flight` is how many requests are in flight.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.requests_in_flight = 0
        self.clock = clock
        # No host has more slots than there are in all: else the first times that it
        # throttles would only take away slots that it never had.
        self.lanes: Lanes[Visit | Hedge[Visit] | Flight] = Lanes(
            per_host=min(limits.per_host, limits.max),
            rate=limits.rate,
            host_rate=limits.host_rate,
            clock=clock.time,
        )
        self._free = asyncio.Semaphore(limits.max)
        self.acquire = self._free.acquire
        self.release = self._free.release


class Flight:
    """One attempt, which sends one request after the other: redirects lead to others.

    Each of them, and a request that is sent once more, starts when its host may get one and
    not before. If that is not at once, the attempt gives its slots back and waits in the
    lane of that host, before all that has not begun: who waits occupies nothing, so two
    hosts that redirect to each other never block each other. `holds_slots` is false for that time.
    """

    __slots__ = ("_slots", "_to", "_turn", "_visit", "holds_slots", "host", "started")

    def __init__(self, slots: Slots, visit: Visit) -> None:
        """Begin with the slots that its first request was given."""
        self.host = visit.host  # which the present request goes to
        self.holds_slots = True
        self.started = slots.clock.time()  # of the present request
        self._slots = slots
        self._visit = visit
        self._to = self.host
        self._turn: asyncio.Future[None] | None = None
        slots.requests_in_flight += 1

    def try_hop(self, host: str) -> bool:
        """Whether the request that a redirect leads to may start now; if so, it has."""
        self._slots.lanes.record_attempt(self.host, None, self.started)
        return self._send(host)

    def try_resend(self) -> bool:
        """Whether the present request may be sent once more now; if so, it is."""
        return self._send(self.host)

    async def wait_for_turn(self) -> None:
        """Wait until the request that may not start at once may, and start it."""
        self.release_host()
        self.holds_slots = False
        self.host = self._to
        self._turn = asyncio.get_running_loop().create_future()
        self._slots.lanes.enqueue(self, urgent=True)
        self._slots.release()
        race = self._visit.race
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
        """Start the request that waits, with the slots that it is given now."""
        assert self._turn is not None
        self.holds_slots = True
        self.started = self._slots.clock.time()
        self._slots.requests_in_flight += 1
        if not self._turn.done():  # else it was cancelled a moment ago, and will see that
            self._turn.set_result(None)

    def release_host(self) -> None:
        """Free the host's slot; the one in all is the caller's to free or to use."""
        if self.holds_slots:
            self._slots.lanes.release(self)
            self._slots.requests_in_flight -= 1

    def _send(self, host: str) -> bool:
        if self._slots.lanes.transfer(self.host, host):
            self.host = host
            self.started = self._slots.clock.time()
            return True
        self._to = host
        return False
