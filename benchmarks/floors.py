"""What was measured -> the figures that crawl is to reach, each with its floor and a verdict."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks import latency, measure, pacing
from benchmarks.clients import AIOHTTP, CURL, DIRECT, HTTPX, IMPORT, LYCHEE, NATIVE
from benchmarks.latency import Recorded
from benchmarks.markdown import Table
from benchmarks.pacing import Load, Paced, Played
from benchmarks.soak import Soaked
from benchmarks.workloads import Outcome, Row

_FLAT = 10.0  # megabytes that a soak may grow by after its first quarter

# workload, and in it: engine, peer, least share of the peer's rate
_RATES = (
    ("one-host", (DIRECT, HTTPX, 8.0)),
    ("one-host", (DIRECT, AIOHTTP, 0.6)),
    ("one-host", (NATIVE, LYCHEE, 0.4)),
    ("origins", (DIRECT, AIOHTTP, 1.0)),
    ("origins", (NATIVE, LYCHEE, 0.7)),
    ("tls", (DIRECT, AIOHTTP, 1.0)),
    ("tls", (DIRECT, CURL, 1.0)),
    ("tls", (NATIVE, LYCHEE, 0.8)),
)
_STARTUP = 2.5
_AT_1000 = 0.9
_PEAK = 80.0  # megabytes
_HONEST = (("p50", 2.0), ("p99", 10.0))  # milliseconds
_MAKESPAN = 1.05
_BUSY = 0.02  # share of a makespan for which other processes may have had the cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """One figure: its bound in words, what was measured, and whether that is enough.

    `reached` is None where it could not be measured.
    """

    workload: str
    figure: str
    bound: str
    measured: str
    reached: bool | None

    def counts(self, *, quick: bool) -> bool:
        """Whether it is to be judged: the size of a quick run is enough for a soak alone."""
        return not quick or self.workload == "soak"


def of_outcome(outcome: Outcome) -> list[Floor]:
    """Return the floors of a workload that nginx served."""
    name = outcome.workload.name
    floors = [_rate(outcome, *rest) for workload, rest in _RATES if workload == name]
    if name == "one-host":
        floors += [_at_1000(outcome, engine) for engine in (DIRECT, NATIVE)]
        floors += [_peak(outcome, engine) for engine in (DIRECT, NATIVE)]
    if name == "startup":
        floors += [_startup(outcome, engine) for engine in (DIRECT, NATIVE)]
    return floors


def of_latency(found: Iterable[Recorded]) -> list[Floor]:
    """Return the floors of honest latency, which the default engine owes."""
    direct = [recorded for recorded in found if recorded.engine == DIRECT]
    return [_honest(one, name, within) for one in direct for name, within in _HONEST]


def of_pacing(played: Played) -> list[Floor]:
    """Return how near the scheduler comes to what can be reached, and what hedges may cost."""
    floors = [_makespan(one, "makespan / lower bound", one.load.bound) for one in played.even]
    floors += [
        _makespan(one, "makespan / greedy's, any order", one.load.greedy)
        for one, _ in played.anywhere
    ]
    for without, with_them in played.anywhere:
        slow, quick = (measure.percentile(one.waits, 0.99) for one in (without, with_them))
        floors.append(_paced(without.load, "p99 with hedges / without", 1.0, quick / slow))
    for _, one in played.anywhere:
        share = one.hedges / one.requests
        floors.append(_paced(one.load, "hedges / requests", pacing.BUDGET, share, ".4f"))
    return floors


def of_soak(soaked: Soaked) -> list[Floor]:
    """Return what a soak must not leave behind, and that it accounts for every URL."""
    after, before = soaked.after, soaked.before
    left: list[tuple[str, int | None]] = [
        ("tasks left", after.tasks - before.tasks),
        ("timers left", after.timers - before.timers),
        ("threads left", after.threads - before.threads),
        ("URLs without a record", soaked.missing),
        ("URLs with two records", soaked.doubled),
        ("records that say something wrong", soaked.mistaken.total()),
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
            measured="not known here" if count is None else f"{count:,}",
            reached=None if count is None else count == 0,
        )
        for figure, count in left
    ]
    growth = soaked.growth
    floors.append(
        Floor(
            workload="soak",
            figure="growth of memory after the first quarter",
            bound=f"at most {_FLAT:g} MB",
            measured="not known here" if growth is None else f"{growth:.1f} MB",
            reached=None if growth is None else growth <= _FLAT,
        )
    )
    return floors


def table(floors: Sequence[Floor], *, quick: bool) -> Table:
    """Return all floors; a quick run's speed is shown, but not judged."""
    note = "Too few URLs to judge speed by: starting up is most of it." if quick else ""
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
        return _unknown(outcome.workload.name, figure, bound)
    return _at_least(outcome, figure, least, measure.paired(mine.rates, theirs.rates))


def _at_1000(outcome: Outcome, engine: str) -> Floor:
    figure = f"{engine}: rate at 1,000 / rate at 100"
    many, some = outcome.row(engine, 1_000), outcome.row(engine)
    if many is None or some is None:
        return _unknown(outcome.workload.name, figure, f"at least {_AT_1000:g}")
    return _at_least(outcome, figure, _AT_1000, measure.paired(many.rates, some.rates))


def _startup(outcome: Outcome, engine: str) -> Floor:
    figure = f"{engine} / python -c 'import httpx', times"
    mine, least = outcome.row(engine), outcome.row(IMPORT)
    if mine is None or least is None:
        return _unknown(outcome.workload.name, figure, f"at most {_STARTUP:g}")
    ratio = measure.paired(mine.walls, least.walls)
    return _at_most(outcome, figure, f"{_STARTUP:g}", f"{ratio:.3f}", ratio <= _STARTUP)


def _peak(outcome: Outcome, engine: str) -> Floor:
    figure = f"{engine}: peak memory"
    row: Row | None = outcome.row(engine)
    if row is None:
        return _unknown(outcome.workload.name, figure, f"at most {_PEAK:g} MB")
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


def _honest(recorded: Recorded, name: str, within: float) -> Floor:
    """Judge a percentile, unless the server itself strayed further than crawl may."""
    figure = f"{recorded.engine}: recorded {name}, server's {latency.DELAY:g} ms"
    bound = f"within {within:g} ms"
    if recorded.problem is not None:
        return _unknown("latency", figure, bound)
    value, server = (
        measure.spread([getattr(run, name) for run in runs]).median
        for runs in (recorded.crawl, recorded.server)
    )
    if abs(server - latency.DELAY) > within:
        return _unknown("latency", figure, bound, f"server itself {server:.2f} ms")
    return Floor(
        workload="latency",
        figure=figure,
        bound=bound,
        measured=f"{value:.2f} ms",
        reached=abs(value - latency.DELAY) <= within,
    )


def _makespan(one: Paced, figure: str, least: float) -> Floor:
    """Judge a makespan; one that is missed says nothing where other processes had the cores."""
    floor = _paced(one.load, figure, _MAKESPAN, one.makespan / least)
    if floor.reached or one.kept is None or one.kept <= _BUSY * one.makespan:
        return floor
    told = f"{floor.measured}, no core for {one.kept:.1f} s"
    return _unknown("pacing", floor.figure, floor.bound, told)


def _paced(load: Load, figure: str, most: float, value: float, form: str = ".3f") -> Floor:
    return Floor(
        workload="pacing",
        figure=f"{figure}, {load.shape}",
        bound=f"at most {most:g}",
        measured=f"{value:{form}}",
        reached=value <= most,
    )


def _unknown(workload: str, figure: str, bound: str, measured: str = "nothing to compare") -> Floor:
    return Floor(workload=workload, figure=figure, bound=bound, measured=measured, reached=None)
