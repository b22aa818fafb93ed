"""One host: its queue, its slots in use, and its throttling state."""

import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from crawler.core.pacing import AdaptiveSlots, Rate

_REMEMBERED = 60.0  # seconds for which an idle host's reduced slots are kept


class HasHost(Protocol):
    @property
    def host(self) -> str: ...


T = TypeVar("T", bound=HasHost)


@dataclass(slots=True, eq=False, repr=False)
class Lane(Generic[T]):
    """A host: its queue, its slots (`slots`, of which `in_use` are taken), its throttling state."""

    host: str
    slots: int
    waiting: deque[T] | None = None  # None while empty: an empty deque takes 600 bytes
    urgent: OrderedDict[T, None] | None = None  # entries that go before all of `waiting`
    in_use: int = 0
    is_queued: bool = False  # in the queue of ready lanes, or in the heap of those not yet due
    awaits_expiry: bool = False  # in the heap of idle hosts
    forget_at: float = 0.0  # only while it is idle
    adaptive: AdaptiveSlots | None = None
    rate: Rate | None = None
    due: float = -math.inf  # the earliest time at which the next request may start

    @property
    def idle(self) -> bool:
        return not (self.in_use or self.waiting or self.urgent)

    def pop(self) -> T:
        """Remove and return the next entry; there must be one."""
        if self.urgent:
            return self.urgent.popitem(last=False)[0]
        assert self.waiting is not None
        return self.waiting.popleft()

    def differs_until(self, now: float) -> float:
        """Return until when this host, if it stays idle, differs from an unknown one."""
        eased = self.adaptive is None or self.adaptive.unthrottled
        return self.due if eased else max(self.due, now + _REMEMBERED)
