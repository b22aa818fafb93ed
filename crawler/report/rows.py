"""Checks in completion order -> those that the table shows, in input order, in bounded memory."""

import heapq
from dataclasses import dataclass, field
from typing import Any

from crawler.models import Check, Outcome

ALL_UP_TO = 100
FAILURES = 50
FLAGGED = 20
SLOWEST = 10


@dataclass(slots=True)
class Rows:
    """Keeps all checks up to `ALL_UP_TO`, or all of them with `all_rows`.

    Beyond that, keeps the first failures, the first flagged checks (warnings and flaky
    passes) and the slowest.
    """

    all_rows: bool = False
    total: int = 0
    _all: list[Check] = field(default_factory=list)
    _failures: list[tuple[int, Check]] = field(default_factory=list)
    _flagged: list[tuple[int, Check]] = field(default_factory=list)
    _slowest: list[tuple[float, int, Check]] = field(default_factory=list)

    def consider(self, check: Check) -> None:
        """Count a check, and keep it if it may be shown."""
        self.total += 1
        if self.all_rows or self.total <= ALL_UP_TO:
            self._all.append(check)
        elif self._all:
            self._all.clear()
        if self.all_rows:
            return
        index = check.result.target.index
        if check.ok is False:
            _keep(self._failures, (-index, check), FAILURES)
        elif check.verdict.warnings or check.result.flaky:
            _keep(self._flagged, (-index, check), FLAGGED)
        elif check.result.outcome is Outcome.RESPONDED:
            _keep(self._slowest, (check.result.attempt.latency or 0.0, -index, check), SLOWEST)

    def selected(self) -> list[Check]:
        """Return the checks to show, in input order."""
        if len(self._all) == self.total:
            selected = self._all
        else:
            selected = [check for _, check in (*self._failures, *self._flagged)]
            selected += [check for _, _, check in self._slowest]
        return sorted(selected, key=lambda check: check.result.target.index)


def remark(check: Check) -> str:
    """Return the reasons and warnings of a check in one line; empty for a plain pass."""
    result, verdict = check.result, check.verdict
    parts = [*verdict.reasons, *(f"warning: {warning}" for warning in verdict.warnings)]
    if result.flaky and result.earlier:
        first = result.earlier[0]
        error = first.error
        failure = error.kind.value.replace("_", " ") if error else f"status {first.status}"
        parts.append(f"flaky: {failure} on the first attempt")
    return "; ".join(parts)


def _keep(heap: list[Any], item: Any, capacity: int) -> None:
    """Push an item; drop the smallest one if the heap is full."""
    if len(heap) < capacity:
        heapq.heappush(heap, item)
    else:
        heapq.heappushpop(heap, item)
