"""Measurements -> figures with a required bound each, and whether it was reached."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks import latency, measure, pacing
from benchmarks.clients import AIOHTTP, CURL, DIRECT, HTTPX_LOOP, IMPORT, LYCHEE, NATIVE
from benchmarks.latency import EngineLatency
from benchmarks.markdown import Table
from benchmarks.pacing import Load, Simulation, Simulations
from benchmarks.soak import SoakResult
from benchmarks.workloads import Outcome, Row

_MOST_GROWTH = 10.0  # megabytes of memory growth in a soak after its first quarter

# workload; engine, peer, and the least ratio of their rates
_RATES = (
    ("one-host", (DIRECT, HTTPX_LOOP, 8.0)),
    ("one-host", (DIRECT, AIOHTTP, 0.6)),
    ("one-host", (NATIVE, LYCHEE, 0.4)),
    ("origins", (DIRECT, AIOHTTP, 1.0)),
    ("origins", (NATIVE, LYCHEE, 0.7)),
    ("tls", (DIRECT, AIOHTTP, 1.0)),
    ("tls", (DIRECT, CURL, 1.0)),
    ("tls", (NATIVE, LYCHEE, 0.8)),
)
_STARTUP = 2.5
_RATE_AT_1000 = 0.9
_PEAK = 80.0  # megabytes
_LATENCY_ERRORS = (("p50", 2.0), ("p99", 10.0))  # milliseconds
_MAKESPAN = 1.05
_MOST_CPU_WAIT = 0.02  # share of a makespan


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """One figure: its bound as text, the measured value, and whether it reached the bound.

    `reached` is None if it could not be measured.
    """

    workload: str
    figure: str
    bound: str
    measured: str
    reached: bool | None

    def counts(self, *, quick: bool) -> bool:
        """Whether it is judged: a quick run is large enough for a soak only."""
        return not quick or self.workload == "soak"


def of_outcome(outcome: Outcome) -> list[Floor]:
    """Return the floors of a workload served by nginx."""
    name = outcome.workload.name
    floors = [_rate(outcome, *rest) for workload, rest in _RATES if workload == name]
    if name == "one-host":
        floors += [_rate_at_1000(outcome, engine) for engine in (DIRECT, NATIVE)]
        floors += [_peak(outcome, engine) for engine in (DIRECT, NATIVE)]
    if name == "startup":
        floors += [_startup(outcome, engine) for engine in (DIRECT, NATIVE)]
    return floors


def of_latency(found: Iterable[EngineLatency]) -> list[Floor]:
    """Return the floors of the error of recorded latencies, for the default engine."""
    direct = [recorded for recorded in found if recorded.engine == DIRECT]
    return [_latency_error(one, name, within) for one in direct for name, within in _LATENCY_ERRORS]


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
            figure=figure,
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
            figure="growth of memory after the first quarter",
            bound=f"at most {_MOST_GROWTH:g} MB",
            measured="unknown on this system" if growth is None else f"{growth:.1f} MB",
            reached=None if growth is None else growth <= _MOST_GROWTH,
        )
    )
    return floors


def table(floors: Sequence[Floor], *, quick: bool) -> Table:
    """Return all floors; the speed of a quick run is shown but not judged."""
    note = "Too few URLs to judge speed: most of the time is start-up." if quick else ""
    return Table(
        title="Floors",
        note=note,
        columns=("workload", "figure", "floor", "measured", "verdict"),
        rows=tuple(_row(floor, quick=quick) for floor in floors),
        words=3,
    )


def _row(floor: Floor, *, quick: bool) -> tuple[str, ...]:
    verdicts = {True: "pass", False: "FAIL", None: "not measured"}
    verdict = verdicts[floor.reached] if floor.counts(quick=quick) else "not judged"
    return (floor.workload, floor.figure, floor.bound, floor.measured, verdict)


def _rate(outcome: Outcome, engine: str, peer: str, least: float) -> Floor:
    figure = f"{engine} / {peer}, rates"
    mine, theirs = outcome.row(engine), outcome.row(peer)
    bound = f"at least {least:g}"
    if mine is None or theirs is None:
        return _not_measured(outcome.workload.name, figure, bound)
    return _at_least(outcome, figure, least, measure.paired(mine.rates, theirs.rates))


def _rate_at_1000(outcome: Outcome, engine: str) -> Floor:
    figure = f"{engine}: rate at 1,000 / rate at 100"
    many, some = outcome.row(engine, 1_000), outcome.row(engine)
    if many is None or some is None:
        return _not_measured(outcome.workload.name, figure, f"at least {_RATE_AT_1000:g}")
    return _at_least(outcome, figure, _RATE_AT_1000, measure.paired(many.rates, some.rates))


def _startup(outcome: Outcome, engine: str) -> Floor:
    figure = f"{engine} / python -c 'import httpx', times"
    mine, least = outcome.row(engine), outcome.row(IMPORT)
    if mine is None or least is None:
        return _not_measured(outcome.workload.name, figure, f"at most {_STARTUP:g}")
    ratio = measure.paired(mine.walls, least.walls)
    return _at_most(outcome, figure, f"{_STARTUP:g}", f"{ratio:.3f}", ratio <= _STARTUP)


def _peak(outcome: Outcome, engine: str) -> Floor:
    figure = f"{engine}: peak memory"
    row: Row | None = outcome.row(engine)
    if row is None:
        return _not_measured(outcome.workload.name, figure, f"at most {_PEAK:g} MB")
    peak = max(row.peaks)
    return _at_most(outcome, figure, f"{_PEAK:g} MB", f"{peak:.0f} MB", peak <= _PEAK)


def _at_least(outcome: Outcome, figure: str, least: float, ratio: float) -> Floor:
    return Floor(
        workload=outcome.workload.name,
        figure=figure,
        bound=f"at least {least:g}",
        measured=f"{ratio:.3f}",
        reached=ratio >= least,
    )


def _at_most(outcome: Outcome, figure: str, most: str, measured: str, reached: bool) -> Floor:
    return Floor(
        workload=outcome.workload.name,
        figure=figure,
        bound=f"at most {most}",
        measured=measured,
        reached=reached,
    )


def _latency_error(recorded: EngineLatency, name: str, within: float) -> Floor:
    """Judge a percentile, unless the server itself missed its delay by more than the bound."""
    figure = f"{recorded.engine}: recorded {name}, server's {latency.DELAY:g} ms"
    bound = f"within {within:g} ms"
    if recorded.problem is not None:
        return _not_measured("latency", figure, bound)
    value, server = (
        measure.spread([getattr(run, name) for run in runs]).median
        for runs in (recorded.crawl, recorded.server)
    )
    if abs(server - latency.DELAY) > within:
        return _not_measured("latency", figure, bound, f"server itself {server:.2f} ms")
    return Floor(
        workload="latency",
        figure=figure,
        bound=bound,
        measured=f"{value:.2f} ms",
        reached=abs(value - latency.DELAY) <= within,
    )


def _makespan(one: Simulation, figure: str, least: float) -> Floor:
    """Judge a makespan; a missed one counts as not measured if the process lacked a core."""
    floor = _at_most_ratio(one.load, figure, _MAKESPAN, one.makespan / least)
    if floor.reached or one.cpu_wait is None or one.cpu_wait <= _MOST_CPU_WAIT * one.makespan:
        return floor
    measured = f"{floor.measured}, waited {one.cpu_wait:.1f} s for a core"
    return _not_measured("pacing", floor.figure, floor.bound, measured)


def _at_most_ratio(load: Load, figure: str, most: float, value: float, form: str = ".3f") -> Floor:
    return Floor(
        workload="pacing",
        figure=f"{figure}, {load.shape}",
        bound=f"at most {most:g}",
        measured=f"{value:{form}}",
        reached=value <= most,
    )


def _not_measured(
    workload: str, figure: str, bound: str, measured: str = "nothing to compare"
) -> Floor:
    return Floor(workload=workload, figure=figure, bound=bound, measured=measured, reached=None)
