"""The chosen workloads -> everything that was measured."""

from collections.abc import Collection
from dataclasses import dataclass

from benchmarks import floors, latency, pacing, soak, tables, turns, workloads
from benchmarks.floors import Floor
from benchmarks.latency import EngineLatency
from benchmarks.markdown import Table
from benchmarks.turns import Outcome

SERVED = ("one-host", "origins", "tls", "names", "redirects", "startup", "outputs", "memory")
ALL = (*SERVED, "latency", "pacing", "soak")
_TABLES = {"startup": tables.times, "memory": tables.memory}


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What was measured; `tables` show it all, the floors last."""

    quick: bool
    outcomes: list[Outcome]
    latencies: list[EngineLatency]
    floors: list[Floor]
    tables: list[Table]

    @property
    def good(self) -> bool:
        """Whether no client failed, and every floor that counts was reached."""
        failed = any(row.failed for outcome in self.outcomes for row in outcome.rows)
        judged = (floor for floor in self.floors if floor.counts(quick=self.quick))
        return not failed and all(floor.reached for floor in judged)


def run(chosen: Collection[str], rounds: int, *, quick: bool) -> Results:
    """Run the chosen of ALL workloads."""
    results = Results(quick=quick, outcomes=[], latencies=[], floors=[], tables=[])
    for workload in workloads.all_workloads(quick=quick):
        if workload.name in chosen:
            outcome = turns.run(workload, rounds)
            results.outcomes.append(outcome)
            results.tables.append(_TABLES.get(workload.name, tables.rates)(outcome))
            results.floors.extend(floors.of_outcome(outcome, quick=quick))
    if "latency" in chosen:
        results.latencies.extend(latency.run(rounds, quick=quick))
        results.tables.append(tables.latencies(results.latencies))
        results.floors.extend(floors.of_latency(results.latencies))
    if "pacing" in chosen:
        simulations = pacing.run(0.3, 0.2) if quick else pacing.run(20.0, 5.0)
        results.tables.extend([tables.makespans(simulations), tables.waits(simulations)])
        results.floors.extend(floors.of_pacing(simulations))
    if "soak" in chosen:
        for path in soak.PATHS:
            soaked = soak.run(5_000 if quick else 200_000, path)
            results.tables.append(tables.soak(soaked))
            results.floors.extend(floors.of_soak(soaked))
    if results.floors:
        results.tables.append(floors.table(results.floors, quick=quick))
    return results
