"""Which request has waited so long that a second one is worth sending.

Dean and Barroso, The Tail at Scale, Communications of the ACM 56(2), 2013.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from crawler.core.quantiles import Quantiles

SAMPLES = 20  # answers before a host's own percentile counts
_SHARE = 0.95
_WITHIN = 0.05  # how fine a percentile has to be here; finer ones cost memory for each host
_HOSTS = 10_000  # remembered
_AGAIN = 1.1  # growth of the number of answers after which a percentile is looked up again


@dataclass(slots=True)
class _Percentile:
    """The 95th percentile of what was added, looked up only now and then."""

    needed: int = SAMPLES
    _values: Quantiles = field(default_factory=lambda: Quantiles(within=_WITHIN))
    _found: float = 0.0
    _next: float = 0.0

    def observe(self, value: float) -> None:
        self._values.insert(value)
        count = self._values.count
        if count >= max(self.needed, self._next):
            self._next = count * _AGAIN
            (self._found,) = self._values.at(_SHARE)

    @property
    def value(self) -> float | None:
        return self._found if self._values.count >= self.needed else None


class HedgeDelay:
    """How long answers take: `limit` is when one is late, in seconds from its request.

    That is the 95th percentile of its host, of all hosts until that has 20 answers, and
    None until there are as many in all: more where more were asked at once, as the first
    ones to answer are the fastest of those.
    """

    def __init__(self) -> None:
        self._all: _Percentile | None = None
        self._hosts: OrderedDict[str, _Percentile] = OrderedDict()

    def observe_latency(self, host: str, latency: float, in_flight: int = 1) -> None:
        """Take the latency of an answer; `in_flight` is how many were waited for then."""
        if self._all is None:
            self._all = _Percentile(needed=max(SAMPLES, math.ceil(_SHARE * in_flight)))
        self._all.observe(latency)
        own = self._hosts.setdefault(host, _Percentile())
        own.observe(latency)
        self._hosts.move_to_end(host)
        if len(self._hosts) > _HOSTS:
            self._hosts.popitem(last=False)

    def seconds(self, host: str) -> float | None:
        own, every = self._hosts.get(host), self._all
        return (own.value if own is not None else None) or (every.value if every else None)


@dataclass(slots=True)
class HedgeQuota:
    """Second requests: never more than a share of all that are sent, themselves included."""

    share: float
    sent: int = 0
    hedges: int = 0

    @property
    def allows(self) -> bool:
        """Whether one more would keep the share."""
        return self.hedges + 1 <= self.share * (self.sent + 1)
