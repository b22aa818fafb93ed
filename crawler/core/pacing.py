"""How fast to ask: starts per second, slots of a host that pushes back, what fits a deadline."""

import math
from dataclasses import dataclass

from crawler.core.semantics import THROTTLING_STATUSES
from crawler.core.units import duration
from crawler.models import Attempt, ErrorKind

_LATE = 0.05  # seconds of starts that may be made up for after a late timer
_SOON = 0.1  # of a deadline: when its pace tells whether a crawl will make it
_EARLY = 3.0  # seconds, at least


@dataclass(slots=True)
class Rate:
    """Spaces starts so that there are `per_second` of them; `due` is when the next one may be.

    A start that came late does not delay those after it, up to 50 ms.
    """

    per_second: float
    due: float = -math.inf

    def reserve(self, now: float, count: int = 1) -> None:
        earliest = now if self.due == -math.inf else now - _LATE
        self.due = max(self.due, earliest) + count / self.per_second


@dataclass(slots=True)
class AdaptiveSlots:
    """How many requests a host gets at once: `slots`, of `most`.

    Additive increase, multiplicative decrease (Chiu and Jain, 1989): half of them when it
    pushes back, one more after a round of as many good answers as there are slots. It
    pushes back with 429, with 503, and when more requests of a round time out than of the
    one before. Answers to what was sent before the last decrease do not count.
    """

    most: int
    slots: int
    _cut: float = -math.inf
    _clean: int = 0
    _answers: int = 0
    _timeouts: int = 0
    _timeouts_before: int = 0

    @property
    def unthrottled(self) -> bool:
        """Whether there is nothing to remember about this host."""
        return self.slots == self.most and not self._timeouts and not self._timeouts_before

    def observe_attempt(self, attempt: Attempt | None, started: float, now: float) -> None:
        """Take an answer to a request that was started then. Times are in seconds.

        None stands for a redirect that was followed: a good answer.
        """
        if started < self._cut:
            return
        error = None if attempt is None else attempt.error
        timed_out = error is not None and error.kind is ErrorKind.TIMEOUT
        pushed = attempt is not None and attempt.status in THROTTLING_STATUSES
        self._answers += 1
        self._timeouts += timed_out
        rising = timed_out and self._timeouts > max(1, self._timeouts_before)
        if pushed or rising:
            self._clean = 0
            self.slots = max(1, self.slots // 2)
            self._cut = now
            self._new_round()
            return
        self._clean = self._clean + 1 if error is None else 0
        if self._clean >= self.slots:
            self.slots = min(self.most, self.slots + 1)
            self._clean = 0
            self._new_round()
        elif self._answers >= self.slots:
            self._new_round()

    def _new_round(self) -> None:
        self._timeouts_before, self._timeouts = self._timeouts, 0
        self._answers = 0


def deadline_warning(
    *, deadline: float, elapsed: float, done: int, total: int | None, least: float
) -> str | None:
    """Return a sentence when a crawl will not be through by its deadline, else None.

    `least` is how many seconds the rates make it take from now on: that is known at once.
    The pace so far counts once a tenth of the time has passed. `total` is how many URLs
    there are in all, None while unknown.
    """
    if total is None or elapsed >= deadline:
        return None
    needed = least
    if elapsed >= max(_EARLY, deadline * _SOON) and done:
        needed = max(needed, (total - done) * elapsed / done)
    if elapsed + needed <= deadline * 1.05:
        return None
    return (
        f"the {total:,} URLs will take about {duration(elapsed + needed)} at this pace: "
        f"the deadline of {duration(deadline)} will leave some unreached"
    )
