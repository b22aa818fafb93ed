"""Simulated loads and soaks -> floors of makespans, hedges, and what is left behind."""

from benchmarks import measure, pacing
from benchmarks.floors.floor import Floor, not_measured
from benchmarks.pacing import Load, Simulation, Simulations
from benchmarks.soak import SoakResult

_MOST_GROWTH = 10.0  # megabytes of memory growth in a soak after its first quarter
_MAKESPAN = 1.05
_MOST_CPU_WAIT = 0.02  # share of a makespan


def of_pacing(simulations: Simulations) -> list[Floor]:
    """Return the floors of makespans, and of the benefit and number of hedges."""
    floors = [_makespan(one, "makespan / lower bound", one.load.bound) for one in simulations.early]
    floors += [
        _makespan(one, "makespan / greedy's, any order", one.load.greedy)
        for one, _ in simulations.anywhere
    ]
    for without, with_them in simulations.anywhere:
        slow, quick = (measure.percentile(one.waits, 0.99) for one in (without, with_them))
        floors.append(_at_most_ratio(without.load, "p99 with hedges / without", 1.0, quick / slow))
    for _, one in simulations.anywhere:
        share = one.hedges / one.requests
        floors.append(_at_most_ratio(one.load, "hedges / requests", pacing.BUDGET, share, ".4f"))
    return floors


def of_soak(soaked: SoakResult) -> list[Floor]:
    """Return the floors of what a soak leaves behind, and of its records."""
    after, before = soaked.after, soaked.before
    left: list[tuple[str, int | None]] = [
        ("tasks left", after.tasks - before.tasks),
        ("timers left", after.timers - before.timers),
        ("threads left", after.threads - before.threads),
        ("URLs without a record", soaked.missing),
        ("URLs with two records", soaked.duplicated),
        ("wrong records", soaked.wrong_by_kind.total()),
    ]
    sockets = None
    if after.sockets is not None and before.sockets is not None:
        sockets = after.sockets - before.sockets
    left.insert(0, ("sockets left", sockets))
    floors = [
        Floor(
            workload="soak",
            figure=f"{figure}, {soaked.path}",
            bound="0",
            measured="unknown on this system" if count is None else f"{count:,}",
            reached=None if count is None else count == 0,
        )
        for figure, count in left
    ]
    growth = soaked.growth
    floors.append(
        Floor(
            workload="soak",
            figure=f"growth of memory after the first quarter, {soaked.path}",
            bound=f"at most {_MOST_GROWTH:g} MB",
            measured="unknown on this system" if growth is None else f"{growth:.1f} MB",
            reached=None if growth is None else growth <= _MOST_GROWTH,
        )
    )
    return floors


def _makespan(one: Simulation, figure: str, least: float) -> Floor:
    """Judge a makespan; a missed one counts as not measured if the process lacked a core."""
    floor = _at_most_ratio(one.load, figure, _MAKESPAN, one.makespan / least)
    if floor.reached or one.cpu_wait is None or one.cpu_wait <= _MOST_CPU_WAIT * one.makespan:
        return floor
    measured = f"{floor.measured}, waited {one.cpu_wait:.1f} s for a core"
    return not_measured("pacing", floor.figure, floor.bound, measured)


def _at_most_ratio(load: Load, figure: str, most: float, value: float, form: str = ".3f") -> Floor:
    return Floor(
        workload="pacing",
        figure=f"{figure}, {load.shape}",
        bound=f"at most {most:g}",
        measured=f"{value:{form}}",
        reached=value <= most,
    )
