"""One attempt that may be requested twice: the first request, its hedge, and which one counts."""

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic

from crawler.engine.lane import T

if TYPE_CHECKING:
    from crawler.engine.clock import Timer


class Hedge(Generic[T]):
    """A second request for a visit whose first one is slow, while it waits for its start."""

    __slots__ = ("race",)

    def __init__(self, race: "Race[T]") -> None:
        self.race = race

    @property
    def visit(self) -> T:
        return self.race.visit

    @property
    def host(self) -> str:
        return self.race.visit.host


class RaceState(Enum):
    """How an attempt is requested; a race that is OVER ignores what its requests still give."""

    SINGLE = "one request"
    WAITING = "the hedge waits for its start"
    DOUBLE = "two requests"
    OVER = "over"


class Race(Generic[T]):
    """Owns the tasks of one attempt: starts the hedge, ends with the request that counts.

    `waits_for_host` says that a request waits for its host, which is nobody's slowness.
    """

    __slots__ = ("_hedge", "_tasks", "state", "timer", "visit", "waits_for_host")

    def __init__(self, visit: T, task: asyncio.Task[Any]) -> None:
        self.visit = visit
        self.state = RaceState.SINGLE
        self.waits_for_host = False
        self.timer: Timer | None = None
        self._tasks = {task}
        self._hedge: Hedge[T] | None = None

    @property
    def may_be_hedged(self) -> bool:
        """Whether the response is still to come, is its server's to give, and is not hedged."""
        return self.state is RaceState.SINGLE and bool(self._tasks) and not self.waits_for_host

    def prepare_hedge(self) -> Hedge[T]:
        """Return the hedge, which waits for its start from now on."""
        self.state = RaceState.WAITING
        self._hedge = Hedge(self)
        return self._hedge

    def start_hedge(self, task: asyncio.Task[Any]) -> bool:
        """Let the hedge take part; False if the race is over."""
        if self.state is not RaceState.WAITING:
            return False
        self.state = RaceState.DOUBLE
        self._hedge = None
        self._tasks.add(task)
        return True

    def remove(self, task: asyncio.Task[Any]) -> bool:
        """Take out a request that has ended; False if the race was over before."""
        if task not in self._tasks:
            return False
        self._tasks.remove(task)
        return True

    @property
    def has_requests(self) -> bool:
        """Whether another request is in flight."""
        return bool(self._tasks)

    def cancel(self) -> Hedge[T] | None:
        """Cancel what is in flight; return the hedge if it waits still, to be withdrawn."""
        self.state = RaceState.OVER
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        hedge, self._hedge = self._hedge, None
        return hedge
