"""A request and its hedge -> the one that counts."""

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic

from crawler.engine.lane import T

if TYPE_CHECKING:
    from crawler.engine.clock import Timer


class Hedge(Generic[T]):
    """A second request for a visit whose first one is slow, waiting to start."""

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
    """The requests of one attempt; once OVER, whatever they still return is ignored."""

    SINGLE = "one request"
    WAITING = "one request, and a hedge that waits to start"
    DOUBLE = "two requests"
    OVER = "over"


class Race(Generic[T]):
    """Owns the tasks of one attempt's requests: starts the hedge, and cancels the loser.

    `waits_for_host` is true while a request waits for a slot or a rate: the server is not
    slow then.
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
        """Whether there is no hedge yet, and the server alone keeps the response waiting."""
        return self.state is RaceState.SINGLE and bool(self._tasks) and not self.waits_for_host

    def prepare_hedge(self) -> Hedge[T]:
        """Return a hedge, which waits to start from now on."""
        self.state = RaceState.WAITING
        self._hedge = Hedge(self)
        return self._hedge

    def start_hedge(self, task: asyncio.Task[Any]) -> bool:
        """Let the hedge take part; return False if the race is over."""
        if self.state is not RaceState.WAITING:
            return False
        self.state = RaceState.DOUBLE
        self._hedge = None
        self._tasks.add(task)
        return True

    def remove(self, task: asyncio.Task[Any]) -> bool:
        """Remove a request that has ended; return False if the race was over before."""
        if task not in self._tasks:
            return False
        self._tasks.remove(task)
        return True

    @property
    def has_requests(self) -> bool:
        """Whether a request is in flight."""
        return bool(self._tasks)

    def cancel(self) -> Hedge[T] | None:
        """Cancel the requests in flight; return the hedge if it is still to be withdrawn."""
        self.state = RaceState.OVER
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        hedge, self._hedge = self._hedge, None
        return hedge
