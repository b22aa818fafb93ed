"""A target on its way through the schedule, and the second request that it may get."""

import asyncio
from dataclasses import dataclass
from typing import Any

from crawler.engine.clock import Timer
from crawler.models import FetchResult, Target, Try


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
    timer: Timer | None = None

    @property
    def host(self) -> str:
        return self.target.host

    def waits(self, attempt: int) -> bool:
        """Whether the answer to that attempt is still to come."""
        return bool(self.running) and self.attempts == attempt


@dataclass(slots=True, eq=False)
class Hedge:
    """A second request beside the one that a visit waits for."""

    visit: Visit

    @property
    def host(self) -> str:
        return self.visit.host
