"""One host: its queue, its slots in use, and its throttling state."""

import math
from collections import OrderedDict, deque
from typing import Generic, Protocol, TypeVar

from crawler.core.pacing import AdaptiveSlots, Rate

_REMEMBERED = 60.0  # seconds for which an idle host's reduced slots are kept


class HasHost(Protocol):
    @property
    def host(self) -> str: ...


T = TypeVar("T", bound=HasHost)


class Lane(Generic[T]):
    """A host: its queue, its slots (`slots`, of which `in_use` are taken), its throttling state."""

    __slots__ = (
        "adaptive",
        "awaits_expiry",
        "due",
        "forget_at",
        "host",
        "in_use",
        "is_queued",
        "rate",
        "slots",
        "urgent",
        "waiting",
    )

    def __init__(self, host: str, slots: int, rate: Rate | None = None) -> None:
        self.host = host
        self.slots = slots
        self.waiting: deque[T] | None = None  # None while empty: an empty deque takes 600 bytes
        self.urgent: OrderedDict[T, None] | None = None  # entries that go before all of `waiting`
        self.in_use = 0
        self.is_queued = False  # in the queue of ready lanes, or in the heap of those not yet due
        self.awaits_expiry = False  # in the heap of idle hosts
        self.forget_at = 0.0  # only while it is idle
        self.adaptive: AdaptiveSlots | None = None
        self.rate = rate
        self.due = -math.inf  # the earliest time at which the next request may start

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
