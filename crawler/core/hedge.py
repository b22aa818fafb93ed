"""When to hedge a slow request, and how many hedges to send.

Dean and Barroso, The Tail at Scale, Communications of the ACM 56(2), 2013.
"""

import math
from collections import OrderedDict

from crawler.core.quantiles import Quantiles

DEFAULT_BUDGET = 0.02  # share of requests that may be hedges, if hedging is on
SAMPLES = 20  # latencies before a host's own percentile is used
_SHARE = 0.95
_WITHIN = 0.05  # relative error of a percentile; a smaller one costs memory for each host
_HOSTS = 10_000  # remembered
_GROWTH = 1.1  # of the number of latencies until the percentile is computed again


class _Percentile:
    """The 95th percentile of the values observed, computed again only as they grow in number."""

    __slots__ = ("_found", "_needed", "_next", "_values")

    def __init__(self, needed: int = SAMPLES) -> None:
        self._needed = needed
        self._values = Quantiles(within=_WITHIN)
        self._found = 0.0
        self._next = 0.0

    def observe(self, value: float) -> None:
        self._values.insert(value)
        count = self._values.count
        if count >= max(self._needed, self._next):
            self._next = count * _GROWTH
            (self._found,) = self._values.at(_SHARE)

    @property
    def value(self) -> float | None:
        return self._found if self._values.count >= self._needed else None


class HedgeDelay:
    """After how many seconds a request is slow enough to hedge.

    That is the 95th percentile of the latencies of its host; with fewer than 20 of them, of
    all hosts. The first responses are the fastest of the requests in flight with them, so
    the percentile of all hosts needs 95 % as many latencies as requests were in flight.
    """

    def __init__(self) -> None:
        self._all: _Percentile | None = None
        self._hosts: OrderedDict[str, _Percentile] = OrderedDict()

    def observe_latency(self, host: str, latency: float, in_flight: int = 1) -> None:
        """Record the latency of a response; `in_flight` is the number of requests in flight."""
        if self._all is None:
            self._all = _Percentile(needed=max(SAMPLES, math.ceil(_SHARE * in_flight)))
        self._all.observe(latency)
        own = self._hosts.setdefault(host, _Percentile())
        own.observe(latency)
        self._hosts.move_to_end(host)
        if len(self._hosts) > _HOSTS:
            self._hosts.popitem(last=False)

    def seconds(self, host: str) -> float | None:
        """Return the delay of a hedge; None while too few latencies are known."""
        own, every = self._hosts.get(host), self._all
        return (own.value if own is not None else None) or (every.value if every else None)


class HedgeQuota:
    """Limits hedges to a share of all requests sent, hedges included."""

    __slots__ = ("hedges", "sent", "share")

    def __init__(self, share: float, sent: int = 0, hedges: int = 0) -> None:
        self.share = share
        self.sent = sent
        self.hedges = hedges

    @property
    def allows(self) -> bool:
        """Whether one more hedge stays within the share."""
        return self.hedges + 1 <= self.share * (self.sent + 1)
