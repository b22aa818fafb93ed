"""Rate limiting, adaptive concurrency per host, and deadline forecasts."""

import math

from crawler.core.semantics import THROTTLING_STATUSES
from crawler.core.units import duration
from crawler.models import Attempt, ErrorKind

_CATCH_UP = 0.05  # seconds of starts that may be made up for after a late timer
_MEASURED_SHARE = 0.1  # of a deadline, after which the throughput so far is a forecast
_MEASURED_SECONDS = 3.0  # at least


class Rate:
    """Spaces request starts evenly; `due` is the earliest time of the next one.

    A late start does not delay those after it, up to 50 ms.
    """

    __slots__ = ("due", "per_second")

    def __init__(self, per_second: float, due: float = -math.inf) -> None:
        self.per_second = per_second
        self.due = due

    def reserve(self, now: float, count: int = 1) -> None:
        """Record `count` starts at `now`."""
        earliest = now if self.due == -math.inf else now - _CATCH_UP
        self.due = max(self.due, earliest) + count / self.per_second


class AdaptiveSlots:
    """The `slots` of a host, at most `most`: its limit of concurrent requests.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989): half as many when the
    host throttles, one more after as many successes in a row as there are slots. It throttles
    by 429, by 503, and if more requests of a round (as many as slots) time out than of the
    round before. Requests that started before the last decrease do not count.
    """

    __slots__ = (
        "_cut",
        "_observed",
        "_successes",
        "_timeouts",
        "_timeouts_before",
        "most",
        "slots",
    )

    def __init__(self, most: int, slots: int) -> None:
        self.most = most
        self.slots = slots
        self._cut = -math.inf
        self._successes = 0  # in a row
        self._observed = 0  # in this round
        self._timeouts = 0
        self._timeouts_before = 0

    @property
    def unthrottled(self) -> bool:
        """Whether the host has all its slots and no recent timeouts: nothing to remember."""
        return self.slots == self.most and not self._timeouts and not self._timeouts_before

    def observe_attempt(self, attempt: Attempt | None, started: float, now: float) -> None:
        """Adapt to an attempt that lasted from `started` to `now`; times in seconds.

        None stands for a redirect that was followed, which is a success.
        """
        if started < self._cut:
            return
        error = None if attempt is None else attempt.error
        timed_out = error is not None and error.kind is ErrorKind.TIMEOUT
        throttled = attempt is not None and attempt.status in THROTTLING_STATUSES
        self._observed += 1
        self._timeouts += timed_out
        more_timeouts = timed_out and self._timeouts > max(1, self._timeouts_before)
        if throttled or more_timeouts:
            self._successes = 0
            self.slots = max(1, self.slots // 2)
            self._cut = now
            self._new_round()
            return
        self._successes = self._successes + 1 if error is None else 0
        if self._successes >= self.slots:
            self.slots = min(self.most, self.slots + 1)
            self._successes = 0
            self._new_round()
        elif self._observed >= self.slots:
            self._new_round()

    def _new_round(self) -> None:
        self._timeouts_before, self._timeouts = self._timeouts, 0
        self._observed = 0


def deadline_warning(
    *, deadline: float, elapsed: float, done: int, total: int | None, least: float
) -> str | None:
    """Return a warning if a crawl will probably not finish by its deadline, else None.

    `least` is the number of seconds that the configured rates require from now on. The
    throughput so far counts once a tenth of the deadline has passed. `total` is the number
    of URLs, None while unknown. Times are in seconds.
    """
    if total is None or elapsed >= deadline:
        return None
    needed = least
    if elapsed >= max(_MEASURED_SECONDS, deadline * _MEASURED_SHARE) and done:
        needed = max(needed, (total - done) * elapsed / done)
    if elapsed + needed <= deadline * 1.05:
        return None
    return (
        f"at this rate the {total:,} URLs take about {duration(elapsed + needed)}: "
        f"some will not be checked before the deadline of {duration(deadline)}"
    )
