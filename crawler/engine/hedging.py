"""Requests in flight -> which of them are hedged, and when."""

from collections import deque
from collections.abc import Callable

from crawler.core.hedge import HedgeDelay, HedgeQuota
from crawler.core.semantics import HEDGED_METHODS
from crawler.engine.clock import Clock
from crawler.engine.race import Hedge, Race
from crawler.engine.suspensions import Suspensions
from crawler.engine.visit import Visit

_FEW = 50  # finished races remembered, in addition to those in flight


class Hedging:
    """Watches races, and passes `send` a `Hedge` for each slow one, within `share` of all requests.

    Those that have been slow for longest come first.
    """

    def __init__(self, share: float, clock: Clock, send: Callable[[Hedge[Visit]], None]) -> None:
        self.enabled = share > 0
        self._quota = HedgeQuota(share)
        self._delay = HedgeDelay()
        self._clock = clock
        self._send = send
        self._slow: deque[Race[Visit]] = deque()
        self._unmeasured: list[
            tuple[Race[Visit], float]
        ] = []  # and their start, until latencies are known
        self._prune_at = _FEW

    def count_request(self) -> None:
        """Count a request that is sent, hedge or not."""
        self._quota.sent += 1

    def watch(self, race: Race[Visit], started: float) -> None:
        """Hedge this attempt once it is slow."""
        if race.visit.target.method not in HEDGED_METHODS:
            return
        limit = self._delay.seconds(race.visit.host)
        if limit is None:
            self._prune()
            self._unmeasured.append((race, started))
        else:
            self._hedge_at(started + limit, race)
        self._hedge_the_slow()

    def record_latency(self, host: str, latency: float, in_flight: int) -> None:
        """Record the latency of a response, received while `in_flight` requests were in flight."""
        self._delay.observe_latency(host, latency, in_flight)
        if self._unmeasured and self._delay.seconds(host) is not None:
            for race, started in self._unmeasured:
                if race.may_be_hedged:
                    limit = self._delay.seconds(race.visit.host) or 0.0
                    self._hedge_at(started + limit, race)
            self._unmeasured.clear()

    def refund(self) -> None:
        """Give the quota back a hedge that was not sent after all."""
        self._quota.hedges -= 1

    def _hedge_at(self, when: float, race: Race[Visit]) -> None:
        def slow() -> None:
            now = self._clock.time()
            if now - when >= Suspensions.SHORTEST:  # suspended: the response may be here already
                self._hedge_at(now + Suspensions.SHORTEST, race)
                return
            self._slow.append(race)
            self._hedge_the_slow()

        race.timer = self._clock.call_at(when, slow)

    def _hedge_the_slow(self) -> None:
        """Send hedges as far as the quota allows."""
        while self._slow:
            race = self._slow[0]
            if race.may_be_hedged:
                if not self._quota.allows:
                    return
                self._quota.hedges += 1
                self._send(race.prepare_hedge())
            self._slow.popleft()

    def _prune(self) -> None:
        """Drop races that ended without a latency sample."""
        if len(self._unmeasured) >= self._prune_at:
            self._unmeasured = [one for one in self._unmeasured if one[0].may_be_hedged]
            self._prune_at = 2 * len(self._unmeasured) + _FEW
