"""Which requests under way get a second one, and when."""

from collections import deque
from collections.abc import Callable

from crawler.core.hedge import Budget, Patience
from crawler.engine.clock import Clock
from crawler.engine.stops import Stops
from crawler.engine.visit import Hedge, Visit

_SAFE = ("GET", "HEAD")  # what may be sent twice at once
_FEW = 50  # requests remembered beside those under way


class Hedging:
    """Watches requests, and gives `send` a `Hedge` for each that is slow, within `share`.

    A visit is watched for one attempt at a time. Those that have waited longest come first.
    """

    def __init__(self, share: float, clock: Clock, send: Callable[[Hedge], None]) -> None:
        self.on = share > 0
        self._budget = Budget(share)
        self._patience = Patience()
        self._clock = clock
        self._send = send
        self._slow: deque[tuple[Visit, int]] = deque()
        self._unmeasured: list[tuple[Visit, int, float]] = []
        self._prune_at = _FEW

    def count(self) -> None:
        """Count a request that is sent, of whichever kind."""
        self._budget.sent += 1

    def watch(self, visit: Visit, started: float) -> None:
        """See to it that the request of this attempt is hedged when it gets slow."""
        if visit.target.method not in _SAFE:
            return
        limit = self._patience.limit(visit.host)
        if limit is None:
            self._prune()
            self._unmeasured.append((visit, visit.attempts, started))
        else:
            self._watch_until(started + limit, visit, visit.attempts)
        self._hedge()

    def answered(self, visit: Visit, latency: float, in_flight: int) -> None:
        """Learn from an answer how long they take; `in_flight` requests wait for theirs."""
        self._patience.note(visit.host, latency, in_flight)
        if self._unmeasured and self._patience.limit(visit.host) is not None:
            for other, attempt, started in self._unmeasured:
                if other.waits(attempt):
                    limit = self._patience.limit(other.host) or 0.0
                    self._watch_until(started + limit, other, attempt)
            self._unmeasured.clear()

    def end(self, visit: Visit) -> None:
        """Watch a visit no longer."""
        if visit.timer is not None:
            visit.timer.cancel()
            visit.timer = None

    def unsent(self) -> None:
        """Take back a second request that was not sent after all."""
        self._budget.hedges -= 1

    def _watch_until(self, when: float, visit: Visit, attempt: int) -> None:
        def slow() -> None:
            now = self._clock.time()
            if now - when >= Stops.LEAST:  # we stood still: its response may have long been here
                self._watch_until(now + Stops.LEAST, visit, attempt)
                return
            self._slow.append((visit, attempt))
            self._hedge()

        visit.timer = self._clock.call_at(when, slow)

    def _hedge(self) -> None:
        """Send second requests as far as the budget goes."""
        while self._slow:
            visit, attempt = self._slow[0]
            if visit.waits(attempt):
                if not self._budget.allows:
                    return
                visit.hedge = Hedge(visit)
                self._budget.hedges += 1
                self._send(visit.hedge)
            self._slow.popleft()

    def _prune(self) -> None:
        """Let go of what has ended without an answer that could be measured."""
        if len(self._unmeasured) >= self._prune_at:
            self._unmeasured = [one for one in self._unmeasured if one[0].waits(one[1])]
            self._prune_at = 2 * len(self._unmeasured) + _FEW
