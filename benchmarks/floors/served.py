"""Workloads that a server serves -> floors of rates, CPU time, memory, start-up and latency."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmarks import measure
from benchmarks.clients import (
    AIOHTTP,
    BESIDE,
    CURL,
    DIRECT,
    HTTPX_LOOP,
    IMPORT,
    LYCHEE,
    NATIVE,
    TABLE,
)
from benchmarks.floors.floor import Floor, not_measured
from benchmarks.latency import EngineLatency
from benchmarks.turns import Outcome

# workload; client, peer, and the least ratio of their rates
_RATES = (
    ("one-host", (DIRECT, LYCHEE, 1.3)),
    ("one-host", (DIRECT, CURL, 0.9)),
    ("one-host", (DIRECT, AIOHTTP, 0.6)),
    ("one-host", (DIRECT, HTTPX_LOOP, 8.0)),
    ("origins", (DIRECT, LYCHEE, 1.5)),
    ("origins", (DIRECT, CURL, 1.5)),
    ("origins", (DIRECT, AIOHTTP, 1.0)),
    ("tls", (DIRECT, CURL, 1.4)),
    ("tls", (DIRECT, AIOHTTP, 1.0)),
    ("tls", (NATIVE, LYCHEE, 1.1)),
    ("names", (DIRECT, LYCHEE, 1.0)),
    ("redirects", (DIRECT, LYCHEE, 1.0)),
    ("outputs", (TABLE, DIRECT, 0.9)),
    ("outputs", (BESIDE, DIRECT, 0.9)),
)
_RATE_AT_1000 = 0.9
_CPU = 45.0  # microseconds per URL
_PEAK = 80.0  # megabytes
_GROWTH = 5.0  # megabytes between the two longest lists
_STARTUP = 100.0  # milliseconds
_STARTUP_OVER_IMPORT = 45.0  # milliseconds more than `import typer`
_STARTUP_NATIVE = 2.5  # times `import typer`
_LATENCY_ERRORS = (("p50", 1.0), ("p99", 10.0))  # milliseconds
# The share of the machine above which others decide times: with two cores a fifth of one.
_MOST_OTHERS = 0.1


def of_outcome(outcome: Outcome, *, quick: bool) -> list[Floor]:
    """Return the floors of a workload served by nginx.

    Those of clients that have no turn in a quick run are left out of it.
    """
    workload = outcome.workload
    pairs = [pair for name, pair in _RATES if name == workload.name]
    if quick:
        pairs = [pair for pair in pairs if set(pair[:2]) <= set(workload.clients)]
    floors = [_rate(outcome, *pair) for pair in pairs]
    if workload.name == "one-host":
        floors += [] if quick else [_rate_at_1000(outcome)]
        floors += [_cpu(outcome), _peak(outcome, workload.urls)]
    if workload.name == "startup":
        floors += [_startup(outcome), _startup_over_import(outcome), _startup_native(outcome)]
    if workload.name == "memory":
        floors += [_peak(outcome, max(workload.other_counts)), _growth(outcome)]
    return floors


def of_latency(found: Iterable[EngineLatency]) -> list[Floor]:
    """Return the floors of the error of recorded latencies, for the default engine."""
    direct = [recorded for recorded in found if recorded.engine == DIRECT]
    return [_latency_error(one, name, within) for one in direct for name, within in _LATENCY_ERRORS]


def _rate(outcome: Outcome, client: str, peer: str, least: float) -> Floor:
    mine, theirs = outcome.row(client), outcome.row(peer)
    rates = None if mine is None or theirs is None else (mine.rates, theirs.rates)
    return _ratio(outcome, f"{client} / {peer}, rates", least, rates)


def _rate_at_1000(outcome: Outcome) -> Floor:
    many, some = outcome.row(DIRECT, 1_000), outcome.row(DIRECT)
    rates = None if many is None or some is None else (many.rates, some.rates)
    return _ratio(outcome, f"{DIRECT}: rate at 1,000 / rate at 100", _RATE_AT_1000, rates)


def _ratio(
    outcome: Outcome,
    figure: str,
    least: float,
    rates: tuple[Sequence[float], Sequence[float]] | None,
) -> Floor:
    name, bound = outcome.workload.name, f"at least {least:g}"
    if rates is None:
        return not_measured(name, figure, bound)
    ratio = measure.paired(*rates)
    floor = Floor(
        workload=name,
        figure=figure,
        bound=bound,
        measured=f"{ratio:.2f}",
        best=f"{max(rates[0]) / max(rates[1]):.2f}",
        reached=ratio >= least,
    )
    return _undisturbed(floor, outcome.others, ratio=True)


def _cpu(outcome: Outcome) -> Floor:
    row = outcome.row(DIRECT)
    return _at_most(outcome, f"{DIRECT}: CPU per URL", _CPU, "µs", row.cpu if row else [])


def _peak(outcome: Outcome, urls: int) -> Floor:
    row = outcome.row(DIRECT, urls=urls)
    figure = f"{DIRECT}: peak memory, {urls:,} URLs"
    if row is None:
        return not_measured(outcome.workload.name, figure, f"at most {_PEAK:g} MB")
    return _at_most(outcome, figure, _PEAK, "MB", [max(row.peaks)])


def _growth(outcome: Outcome) -> Floor:
    """Judge whether memory stays flat: a longer list needs no more than a long one."""
    long, longest = sorted(outcome.workload.other_counts)
    figure = f"{DIRECT}: peak memory, {longest:,} URLs less {long:,}"
    some, most = (outcome.row(DIRECT, urls=count) for count in (long, longest))
    if some is None or most is None:
        return not_measured(outcome.workload.name, figure, f"at most {_GROWTH:g} MB")
    return _at_most(outcome, figure, _GROWTH, "MB", [max(most.peaks) - max(some.peaks)])


def _startup(outcome: Outcome) -> Floor:
    row = outcome.row(DIRECT)
    times = [wall * 1000 for wall in row.walls] if row else []
    floor = _at_most(outcome, f"{DIRECT}: time", _STARTUP, "ms", times)
    return _undisturbed(floor, outcome.others)


def _startup_over_import(outcome: Outcome) -> Floor:
    mine, base = outcome.row(DIRECT), outcome.row(IMPORT)
    figure, most = f"{DIRECT}: time over python -c 'import typer'", _STARTUP_OVER_IMPORT
    if mine is None or base is None:
        return _at_most(outcome, figure, most, "ms", [])
    pairs = zip(mine.walls, base.walls, strict=True)
    over = [(wall - least) * 1000 for wall, least in pairs]
    best = (min(mine.walls) - min(base.walls)) * 1000
    floor = _at_most(outcome, figure, most, "ms", over, best)
    return _undisturbed(floor, outcome.others, ratio=True)


def _startup_native(outcome: Outcome) -> Floor:
    mine, base = outcome.row(NATIVE), outcome.row(IMPORT)
    figure, most = f"{NATIVE} / python -c 'import typer', times", _STARTUP_NATIVE
    if mine is None or base is None:
        return _at_most(outcome, figure, most, "", [])
    ratios = [wall / least for wall, least in zip(mine.walls, base.walls, strict=True)]
    best = min(mine.walls) / min(base.walls)
    floor = _at_most(outcome, figure, most, "", ratios, best)
    return _undisturbed(floor, outcome.others, ratio=True)


def _at_most(
    outcome: Outcome,
    figure: str,
    most: float,
    unit: str,
    values: Sequence[float],
    best: float | None = None,
) -> Floor:
    """Judge the median of values that should be low; by default the best is the lowest."""
    bound = f"at most {most:g} {unit}".strip()
    if not values:
        return not_measured(outcome.workload.name, figure, bound)
    median = measure.spread(values).median
    best = min(values) if best is None else best
    return Floor(
        workload=outcome.workload.name,
        figure=figure,
        bound=bound,
        measured=f"{median:.1f} {unit}".strip(),
        best=f"{best:.1f} {unit}".strip() if len(values) > 1 else "-",
        reached=median <= most,
    )


def _undisturbed(floor: Floor, others: Sequence[float], *, ratio: bool = False) -> Floor:
    """Count a missed floor of times as not measured if others used the machine too.

    A ratio of two programs counts so even if it was reached: others may have slowed down
    the one or the other.
    """
    share = measure.spread(others).median if others else 0.0
    if floor.reached is None or (floor.reached and not ratio) or share <= _MOST_OTHERS:
        return floor
    return replace(floor, reached=None, measured=f"{floor.measured}, others used {share:.0%}")


def _latency_error(recorded: EngineLatency, name: str, within: float) -> Floor:
    """Judge how far a recorded percentile is from that which the server measured itself."""
    figure = f"{recorded.engine}, {recorded.concurrency:,} at once: {name}, less the server's own"
    bound = f"within {within:g} ms"
    if recorded.problem is not None:
        return not_measured("latency", figure, bound)
    errors = [
        getattr(mine, name) - getattr(theirs, name)
        for mine, theirs in zip(recorded.crawl, recorded.server, strict=True)
    ]
    error = measure.spread(errors).median
    floor = Floor(
        workload="latency",
        figure=figure,
        bound=bound,
        measured=f"{error:+.2f} ms",
        best=f"{min(errors, key=abs):+.2f} ms",
        reached=abs(error) <= within,
    )
    return _undisturbed(floor, recorded.others)
