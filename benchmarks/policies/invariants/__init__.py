"""A run -> its violations: one function for each promise, by subject."""

from collections.abc import Callable

from benchmarks.policies.invariants import attempts, counts, limits, records, responses, timing
from benchmarks.policies.program import Run

Invariant = Callable[[Run], list[str]]

ALL: tuple[Invariant, ...] = tuple(
    invariant
    for subject in (records, counts, attempts, responses, limits, timing)
    for invariant in subject.ALL
)


def violations(run: Run) -> dict[str, list[str]]:
    """Return the complaints of each invariant that a run breaks, by the invariant's name."""
    found = {invariant.__name__: _judged(invariant, run) for invariant in ALL}
    return {name: complaints for name, complaints in found.items() if complaints}


def _judged(invariant: Invariant, run: Run) -> list[str]:
    try:
        return invariant(run)
    except (LookupError, TypeError, ValueError) as exc:  # such as a record without its keys
        return [f"cannot be judged: {exc!r}"]
