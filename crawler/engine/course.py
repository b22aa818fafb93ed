"""How the scheduler has attempts made without its workers; what those on the fast path share."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from crawler.engine.headers import Header, RequestHeaders
from crawler.engine.slots import Flight
from crawler.engine.suspensions import Suspensions
from crawler.engine.timeouts import AttemptTimeouts
from crawler.engine.transports.connector import Connector
from crawler.models import Attempt, Limits, Target

Ended = Callable[[Flight, Attempt], None]
"""Called once with the facts of an attempt that has ended."""


class Path(Protocol):
    """Makes the attempts of a run without the workers of the scheduler, and without hedges."""

    def start(self, target: Target, flight: Flight, ended: Ended) -> None:
        """Start an attempt; `ended` may be called before this returns."""

    async def cancel(self) -> None:
        """Cancel all attempts: their `ended` is not called any more."""


class InFlight(Protocol):
    def cancel(self) -> asyncio.Task[None] | None:
        """End without a call of `Ended`; return the task that must end first, if there is one."""


class Course:
    """What all attempts of a run share; the arguments are those of `FastPath`."""

    __slots__ = (
        "clock",
        "connector",
        "headers",
        "in_flight",
        "limits",
        "now",
        "suspensions",
        "timeouts",
    )

    def __init__(
        self,
        connector: Connector,
        limits: Limits,
        headers: Sequence[Header],
        suspensions: Suspensions,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self.connector = connector
        self.limits = limits
        self.headers = RequestHeaders(headers)
        self.suspensions = suspensions
        self.timeouts = AttemptTimeouts(limits.timeout, suspensions)
        self.clock = clock
        self.now = now
        self.in_flight: set[InFlight] = set()
