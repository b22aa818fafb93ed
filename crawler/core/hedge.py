"""Which request has waited so long that a second one is worth sending.

Dean and Barroso, The Tail at Scale, Communications of the ACM 56(2), 2013.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from crawler.core.summary import Quantiles

SAMPLES = 20  # answers before a host's own percentile counts
_SHARE = 0.95
_HOSTS = 10_000  # remembered
_AGAIN = 1.1  # growth of the number of answers after which a percentile is looked up again


@dataclass(slots=True)
class _Percentile:
    """The 95th percentile of what was added, looked up only now and then."""

    _values: Quantiles = field(default_factory=Quantiles)
    _found: float = 0.0
    _next: float = SAMPLES

    def add(self, value: float) -> None:
        self._values.add(value)
        if self._values.count >= self._next:
            (self._found,) = self._values.at(_SHARE)
            self._next = self._values.count * _AGAIN

    @property
    def value(self) -> float | None:
        return self._found if self._values.count >= SAMPLES else None


@dataclass(slots=True)
class Patience:
    """How long answers take: `limit` is when one is late, in seconds from its request.

    That is the 95th percentile of its host, of all hosts until that has 20 answers, and
    None until there are as many in all.
    """

    _all: _Percentile = field(default_factory=_Percentile)
    _hosts: OrderedDict[str, _Percentile] = field(default_factory=OrderedDict)

    def note(self, host: str, latency: float) -> None:
        self._all.add(latency)
        own = self._hosts.setdefault(host, _Percentile())
        own.add(latency)
        self._hosts.move_to_end(host)
        if len(self._hosts) > _HOSTS:
            self._hosts.popitem(last=False)

    def limit(self, host: str) -> float | None:
        own = self._hosts.get(host)
        return (own.value if own is not None else None) or self._all.value


@dataclass(slots=True)
class Budget:
    """Second requests: never more than a share of all that are sent, themselves included."""

    share: float
    sent: int = 0
    hedges: int = 0

    @property
    def allows(self) -> bool:
        """Whether one more would keep the share."""
        return self.hedges + 1 <= self.share * (self.sent + 1)
