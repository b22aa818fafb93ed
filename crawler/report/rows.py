"""Checks, as they come -> the few that a table shows, in input order and bounded memory."""

import heapq
from dataclasses import dataclass, field
from typing import Any

from crawler.models import Check, Outcome

ALL_UP_TO = 100
FAILURES = 50
NOTED = 20
SLOWEST = 10


@dataclass(slots=True)
class Rows:
    """Keeps every check up to `ALL_UP_TO`; of more, the first that call for a look and the slowest.

    A look is called for by failures, warnings, and passes at the second opinion only.

    With `everything` all are kept.
    """

    everything: bool = False
    total: int = 0
    _all: list[Check] = field(default_factory=list)
    _failures: list[tuple[int, Check]] = field(default_factory=list)
    _noted: list[tuple[int, Check]] = field(default_factory=list)
    _slowest: list[tuple[float, int, Check]] = field(default_factory=list)

    def add(self, check: Check) -> None:
        self.total += 1
        if self.everything or self.total <= ALL_UP_TO:
            self._all.append(check)
        elif self._all:
            self._all.clear()
        if self.everything:
            return
        index = check.result.target.index
        if check.ok is False:
            _keep(self._failures, (-index, check), FAILURES)
        elif check.verdict.warnings or check.result.flaky:
            _keep(self._noted, (-index, check), NOTED)
        elif check.result.outcome is Outcome.RESPONDED:
            _keep(self._slowest, (check.result.attempt.latency or 0.0, -index, check), SLOWEST)

    def shown(self) -> list[Check]:
        """Return the checks to show, in input order."""
        if len(self._all) == self.total:
            chosen = self._all
        else:
            chosen = [check for _, check in (*self._failures, *self._noted)]
            chosen += [check for _, _, check in self._slowest]
        return sorted(chosen, key=lambda check: check.result.target.index)


def remark(check: Check) -> str:
    """Return what there is to say about a check in words; nothing for a plain pass."""
    result, verdict = check.result, check.verdict
    parts = [*verdict.reasons, *(f"warning: {warning}" for warning in verdict.warnings)]
    if result.flaky and result.earlier:
        before = result.earlier[0]
        error = before.error
        first = error.kind.value.replace("_", " ") if error else f"status {before.status}"
        parts.append(f"flaky: {first} on the first attempt")
    return "; ".join(parts)


def _keep(heap: list[Any], item: Any, most: int) -> None:
    if len(heap) < most:
        heapq.heappush(heap, item)
    else:
        heapq.heappushpop(heap, item)
