"""A target and an attempt on it -> the next step: its result, retry, fall back to GET, recheck."""

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from crawler.core import expect, retry
from crawler.models import NO_ATTEMPT, Attempt, Limits, Outcome, Result, Target

if TYPE_CHECKING:
    from crawler.engine.race import Race


class VisitState(Enum):
    """Where a visit stands; DONE means that its result is final."""

    WAITING = "waiting"  # in its host's lane, or until a time
    IN_FLIGHT = "in flight"
    DEFERRED = "deferred"  # until the recheck
    DONE = "done"


_WAITING, _IN_FLIGHT = VisitState.WAITING, VisitState.IN_FLIGHT  # looked up for each attempt


class Retry(NamedTuple):
    """Request the target again after a delay in seconds."""

    delay: float


class FallBackToGet:
    """The server refuses HEAD: request the target again with GET, at once."""


class Recheck:
    """A transient failure: request the target once more after all others are finished."""


Step = Result | Retry | FallBackToGet | Recheck


class Visit:
    """A target on its way through the schedule: state, attempts so far, provisional result."""

    __slots__ = (
        "arrived",
        "earlier",
        "hedged",
        "host",
        "is_recheck",
        "latest",
        "queue",
        "race",
        "retries",
        "started",
        "state",
        "target",
        "timestamp",
    )

    def __init__(self, target: Target, arrived: float) -> None:
        self.target = target
        self.host = target.host
        self.arrived = arrived  # time at which its entry was read
        self.state = _WAITING
        self.queue = 0.0  # seconds before the first attempt
        self.timestamp: float | None = None  # of the first attempt
        self.started = False
        self.retries = 0
        self.earlier: tuple[Attempt, ...] = ()
        self.is_recheck = False
        self.hedged = False
        self.race: Race[Visit] | None = None  # of the present attempt, if hedging is on
        self.latest: Result | None = None  # of the last attempt that ended, while another follows

    def start_attempt(self, now: float) -> None:
        """Start an attempt."""
        self.state = _IN_FLIGHT
        if not self.started:
            self.started = True
            self.queue = now - self.arrived

    def set_timestamp(self, attempt: Attempt, began: float) -> None:
        """Set the first attempt's timestamp from that of an attempt begun then, perhaps a hedge."""
        if self.timestamp is None and attempt.timestamp is not None:
            self.timestamp = attempt.timestamp - (began - self.arrived - self.queue)

    def next(self, attempt: Attempt, limits: Limits, chance: float) -> Step:
        """Return the next step after an attempt, or its result if that is final; changes nothing.

        `chance` is a random number from 0 to 1.
        """
        result = self.result(attempt)
        # Most visits end here: below 400 only the verdict may object.
        if attempt.succeeded:
            return result
        if self.refuses_head(attempt, limits):
            return FallBackToGet()
        if self.is_recheck:
            return result
        delay = retry.delay(result, limits, self.retries + 1, chance)
        if delay is not None:
            return Retry(delay)
        if limits.confirm_after is not None and retry.worth_rechecking(result, limits):
            return Recheck()
        return result

    def advance(self, step: Retry | FallBackToGet | Recheck, attempt: Attempt) -> None:
        """Take a step; `attempt` becomes one of the earlier ones."""
        self.state = VisitState.DEFERRED if isinstance(step, Recheck) else VisitState.WAITING
        self.race = None
        if isinstance(step, FallBackToGet):
            self.target = replace(self.target, method="GET")
        else:
            self.latest = self.result(attempt)
            self.retries += isinstance(step, Retry)
        self.earlier = (*self.earlier, attempt)

    def refuses_head(self, attempt: Attempt, limits: Limits) -> bool:
        """Whether the server refused HEAD, so that GET may get another response."""
        head_first = limits.head_first and attempt.method == "HEAD"
        return head_first and retry.refuses_head(self.result(attempt))

    def result(self, attempt: Attempt) -> Result:
        """Return the result if this is the last attempt."""
        result = Result(
            target=self.target,
            outcome=Outcome.RESPONDED if attempt.error is None else Outcome.ERROR,
            attempt=attempt,
            queue=self.queue,
            timestamp=self.timestamp,
            earlier=self.earlier,
            hedged=self.hedged,
        )
        if self.is_recheck and expect.accepted(result):
            return replace(result, flaky=True)
        return result

    def unfinished(self) -> Result:
        """Return the result of a visit cut short: of its last finished attempt, if any."""
        if self.latest is not None:
            return self.latest
        return Result(target=self.target, outcome=Outcome.UNREACHED, attempt=NO_ATTEMPT)
