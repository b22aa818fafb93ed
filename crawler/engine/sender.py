"""A visit or its hedge, with its slots -> the attempt, if this request is the one that counts."""

import asyncio
from collections.abc import Callable

from crawler.core import retry
from crawler.engine import failure
from crawler.engine.fetch import Fetch
from crawler.engine.hedging import Hedging
from crawler.engine.race import Hedge, Race
from crawler.engine.slots import Flight, Slots
from crawler.engine.visit import Visit
from crawler.models import Attempt, Limits


class Sender:
    """Sends the requests of visits; without `fetch_fresh` none of them is hedged.

    `withdrawn` is called when a hedge has left the lanes unsent.
    """

    def __init__(
        self,
        fetch: Fetch,
        fetch_fresh: Fetch | None,
        limits: Limits,
        slots: Slots,
        withdrawn: Callable[[], None],
    ) -> None:
        self._fetch = fetch
        self._fetch_fresh = fetch_fresh
        self._limits = limits
        self._slots = slots
        self._withdrawn = withdrawn
        self._hedging = Hedging(
            limits.hedge_budget if fetch_fresh else 0.0,
            slots.clock,
            lambda hedge: slots.lanes.enqueue(hedge, urgent=True),
        )

    async def send(self, entry: Visit | Hedge[Visit], flight: Flight) -> Attempt | None:
        """Return the attempt; None if the hedge came too late, or the other request counts."""
        task = asyncio.current_task()
        assert task is not None
        race = self._join_race(entry, flight, task)
        fetch = self._fetch
        if isinstance(entry, Hedge):
            assert self._fetch_fresh is not None
            if race is None:
                self._hedging.refund()
                return None
            fetch = self._fetch_fresh
        self._hedging.count_request()
        try:
            attempt = await fetch(flight.visit.target, flight)
        except (Exception, asyncio.CancelledError) as exc:
            if race is not None and not race.remove(task):
                return None
            if task.cancelling():
                if race is not None:
                    race.cancel()
                raise
            # Also if something inside cancelled the fetch.
            error = failure.from_exception(exc, None)
            return Attempt(method=flight.visit.target.method, error=error)
        if race is not None and not race.remove(task):
            return None
        return attempt

    def _join_race(
        self, entry: Visit | Hedge[Visit], flight: Flight, task: asyncio.Task[object]
    ) -> Race[Visit] | None:
        """Start an attempt, or let a hedge take part in one; None if there is no race."""
        if isinstance(entry, Visit):
            entry.start_attempt(flight.began)
            if self._hedging.enabled:
                entry.race = Race(entry, task)
                self._hedging.watch(entry.race, flight.began)
            return entry.race
        if not entry.race.start_hedge(task):
            return None
        entry.visit.hedged = True
        return entry.race

    def settle(self, visit: Visit, attempt: Attempt) -> bool:
        """Settle the race for an attempt: False while its other request is awaited.

        The first good response wins: after a transient failure the other request is
        awaited, but not one that has not started. That would be a retry, and is counted as
        one.
        """
        race = visit.race
        assert race is not None
        if attempt.responded:
            in_flight = self._slots.requests_in_flight
            self._hedging.record_latency(visit.host, attempt.latency or 0.0, in_flight)
        result = visit.result(attempt)
        if race.has_requests and (attempt.error is not None or retry.is_transient(result)):
            if not visit.refuses_head(attempt, self._limits):
                visit.latest = result
            return False
        hedge = race.cancel()
        if hedge is not None and self._slots.lanes.withdraw(hedge):
            self._hedging.refund()
            self._withdrawn()
        return True
