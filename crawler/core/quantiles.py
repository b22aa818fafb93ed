"""Values, one at a time -> their quantiles, in flat memory."""

import math


class Quantiles:
    """Nearest-rank quantiles in memory that does not grow with the count.

    Each quantile is a value that was inserted, and exceeds the exact nearest rank by less
    than the share `within`, because closer values share a bucket.
    """

    __slots__ = ("_counts", "_maxima", "_step", "count", "total")

    def __init__(self, within: float = 0.001) -> None:
        self.count = 0
        self.total = 0.0
        # Two tables of plain numbers: the garbage collector does not traverse them.
        self._counts: dict[int, int] = {}
        self._maxima: dict[int, float] = {}
        self._step = math.log1p(within)

    def insert(self, value: float) -> None:
        self.count += 1
        self.total += value
        key = int(math.log(value) // self._step) if value > 1e-9 else -(10**6)
        self._counts[key] = self._counts.get(key, 0) + 1
        if value > self._maxima.get(key, -math.inf):
            self._maxima[key] = value

    def at(self, *shares: float) -> list[float]:
        """Return the values at `shares` (0 to 1, ascending) of the sorted values."""
        ranks = [max(1, math.ceil(share * self.count)) for share in shares]
        found: list[float] = []
        seen = 0
        for key in sorted(self._counts):
            seen += self._counts[key]
            while len(found) < len(ranks) and ranks[len(found)] <= seen:
                found.append(self._maxima[key])
        return found
