"""One figure with a required bound, and whether it was reached."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.markdown import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """One figure: its bound as text, the measured value, and whether it reached the bound.

    `reached` is None if it could not be measured. It is judged by `measured`, which is a
    median of runs where there are several; `best` is the same figure of the best runs.
    """

    workload: str
    figure: str
    bound: str
    measured: str
    reached: bool | None
    best: str = "-"

    def counts(self, *, quick: bool) -> bool:
        """Whether it is judged: a quick run is large enough for a soak only."""
        return not quick or self.workload == "soak"


def verdict(floor: Floor, *, quick: bool) -> str:
    verdicts = {True: "pass", False: "FAIL", None: "not measured"}
    return verdicts[floor.reached] if floor.counts(quick=quick) else "not judged"


def table(floors: Sequence[Floor], *, quick: bool) -> Table:
    """Return all floors; the speed of a quick run is shown but not judged."""
    note = "Too few URLs and rounds to judge speed." if quick else ""
    return Table(
        title="Floors",
        note=note,
        columns=("workload", "figure", "floor", "measured", "best runs", "verdict"),
        rows=tuple(_row(floor, quick=quick) for floor in floors),
        words=3,
    )


def not_measured(
    workload: str, figure: str, bound: str, measured: str = "nothing to compare"
) -> Floor:
    return Floor(workload=workload, figure=figure, bound=bound, measured=measured, reached=None)


def _row(floor: Floor, *, quick: bool) -> tuple[str, ...]:
    figures = (floor.workload, floor.figure, floor.bound, floor.measured, floor.best)
    return (*figures, verdict(floor, quick=quick))
