"""One host: what waits for it, its slots in use, and how fast it may get requests."""

import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from crawler.core.pacing import Pace, Rate

_EASES = 60.0  # seconds that an idle host's fewer slots are remembered


class HasHost(Protocol):
    @property
    def host(self) -> str: ...


T = TypeVar("T", bound=HasHost)


@dataclass(slots=True)
class Lane(Generic[T]):
    """A host: what waits for it, how many slots are taken, and how it wants to be treated."""

    host: str
    slots: int
    waiting: deque[T] | None = None  # an idle host needs none, and an empty one takes 600 bytes
    first: OrderedDict[T, None] | None = None  # what goes before all others
    live: int = 0
    queued: bool = False  # in the queue of the ready ones, or of those held back
    expires: bool = False  # in the queue of the idle ones
    until: float = 0.0  # while it is idle: when to forget it
    pace: Pace | None = None
    rate: Rate | None = None
    due: float = -math.inf  # when the next one may start, as far as time is concerned

    @property
    def idle(self) -> bool:
        return not (self.live or self.waiting or self.first)

    def next(self) -> T:
        """Take out the entry whose turn it is; one must wait."""
        if self.first:
            return self.first.popitem(last=False)[0]
        assert self.waiting is not None
        return self.waiting.popleft()

    def remembered(self, now: float) -> float:
        """Return until when this host, if idle, differs from one never heard of."""
        eased = self.pace is None or self.pace.eased
        return self.due if eased else max(self.due, now + _EASES)
