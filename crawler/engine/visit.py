"""A target on its way through the schedule, and the second request that it may get."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from crawler.core import expect
from crawler.engine.clock import Timer
from crawler.models import FetchResult, Outcome, Target, Try


@dataclass(slots=True, eq=False)
class Visit:
    """A target: how often it was asked, and what came of that so far."""

    target: Target
    arrived: float
    queue: float = 0.0
    attempts: int = 0
    retries: int = 0
    tries: tuple[Try, ...] = ()
    last: FetchResult | None = None  # the record, should the next attempt not come to its end
    timestamp: float | None = None  # of the first attempt
    second_opinion: bool = False
    running: tuple[asyncio.Task[Any], ...] = ()  # without one that was called off
    hedge: "Hedge | None" = None  # while it waits for its start
    hedged: bool = False
    held_back: bool = False  # its request waits for its host: nobody's slowness
    timer: Timer | None = None

    @property
    def host(self) -> str:
        return self.target.host

    def final(self, result: FetchResult) -> FetchResult:
        """Return a result with what only the visit knows; most first attempts know all."""
        first = self.attempts == result.attempts == 1 and not self.hedged
        if first and result.queue == self.queue:
            return result
        return replace(
            result,
            queue=self.queue,
            attempts=self.attempts,
            retried=self.tries,
            timestamp=self.timestamp,
            flaky=self.second_opinion and expect.accepted(result),
            hedged=self.hedged,
        )

    def ended(self) -> FetchResult:
        """Return the record of a visit that the end of the crawl has overtaken.

        The last attempt that had come to an end, if one had: that one is a fact.
        """
        return self.last or FetchResult(target=self.target, outcome=Outcome.UNREACHED)

    def waits(self, attempt: int) -> bool:
        """Whether the answer to that attempt is still to come, and its server's to give."""
        return bool(self.running) and self.attempts == attempt and not self.held_back


@dataclass(slots=True, eq=False)
class Hedge:
    """A second request beside the one that a visit waits for."""

    visit: Visit

    @property
    def host(self) -> str:
        return self.visit.host
