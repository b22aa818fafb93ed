"""Measurements -> the tables that docs/performance.md quotes."""

from collections.abc import Iterable, Sequence

from benchmarks import latency, measure, pacing
from benchmarks.clients import DIRECT, IMPORT
from benchmarks.latency import EngineLatency, Percentiles
from benchmarks.markdown import Table
from benchmarks.pacing import Simulation, Simulations
from benchmarks.soak import CONCURRENCY, ORIGINS, TIMEOUT, SoakResult
from benchmarks.workloads import Outcome, Row

_NONE = "-"


def rates(outcome: Outcome) -> Table:
    """Return rate, ratio, CPU time and peak memory of each client."""
    base = outcome.row(DIRECT)
    several = bool(outcome.workload.other_concurrencies)
    columns = ("URLs/s, median (min-max)", "to crawl", "CPU, µs/URL", "peak, MB")
    rows = []
    for row in outcome.rows:
        name = [_named(outcome, row), *([f"{row.concurrency:,}"] if several else [])]
        if row.problem is not None:
            rows.append((*name, row.problem, *[_NONE] * 3))
            continue
        ratio = measure.paired(row.rates, base.rates) if base else None
        cpu = measure.spread([run.cpu / row.urls * 1e6 for run in row.runs]).median
        cells = (_spread(row.rates, ",.0f"), _ratio(ratio), f"{cpu:,.0f}", f"{max(row.peaks):.0f}")
        rows.append((*name, *cells))
    first = ("client", "at once") if several else ("client",)
    return Table(
        title=outcome.workload.title,
        note=_note(outcome, "A rate of twice crawl's is 2.00."),
        columns=(*first, *columns),
        rows=tuple(rows),
    )


def times(outcome: Outcome) -> Table:
    """Return the time of each client in a workload that start-up dominates."""
    base = outcome.row(DIRECT)
    rows = []
    for row in outcome.rows:
        label = row.client.label
        if row.problem is not None:
            rows.append((label, row.problem, _NONE, _NONE))
            continue
        ratio = measure.paired(row.walls, base.walls) if base else None
        spread = _spread([wall * 1000 for wall in row.walls], ".0f")
        rows.append((label, spread, _ratio(ratio), f"{max(row.peaks):.0f}"))
    return Table(
        title=outcome.workload.title,
        note=_note(outcome, "A time of twice crawl's is 2.00."),
        columns=("client", "ms, median (min-max)", "to crawl", "peak, MB"),
        rows=tuple(rows),
    )


def peaks(outcomes: Sequence[Outcome]) -> Table:
    """Return the greatest peak memory of each client in each workload."""
    rows: dict[tuple[str, str], list[str]] = {}
    for column, outcome in enumerate(outcomes):
        for row in outcome.rows:
            if row.client.name == IMPORT:
                continue
            cells = rows.setdefault(
                (row.client.label, f"{row.concurrency:,}"), [_NONE] * len(outcomes)
            )
            peak = max(row.peaks, default=None)
            few = f" (on {row.urls:,})" if row.urls < outcome.workload.urls else ""
            cells[column] = row.problem or (_NONE if peak is None else f"{peak:.0f}{few}")
    return Table(
        title="Peak memory, MB",
        note="The maximum of all runs, whole processes.",
        columns=("client", "at once", *(outcome.workload.title for outcome in outcomes)),
        rows=tuple((*name, *cells) for name, cells in rows.items()),
    )


def latencies(found: Iterable[EngineLatency]) -> Table:
    """Return the latency that each engine recorded, and that of the server itself."""
    rows = []
    for recorded in found:
        name = f"crawl --engine {recorded.engine}"
        if recorded.problem is not None:
            rows.append((name, recorded.problem, *[_NONE] * 4))
            continue
        mine, theirs = _medians(recorded.crawl), _medians(recorded.server)
        rate = f"{measure.spread(recorded.rates).median:,.0f}"
        own = f"{theirs.p50:.2f} / {theirs.p99:.2f} / {theirs.max:.2f}"
        rows.append((name, f"{mine.p50:.2f}", f"{mine.p99:.2f}", f"{mine.max:.2f}", own, rate))
    most = latency.CONCURRENCY / latency.DELAY * 1000
    return Table(
        title=f"Latency recorded by crawl from a server that responds after {latency.DELAY:g} ms",
        note=f"Concurrency {latency.CONCURRENCY}, so at most {most:,.0f} URLs/s; medians of runs. "
        "The server's own figures last from the arrival of a request to its response.",
        columns=("client", "p50, ms", "p99, ms", "max, ms", "server p50 / p99 / max", "URLs/s"),
        rows=tuple(rows),
    )


def makespans(simulations: Simulations) -> Table:
    """Return the makespans of simulated loads, with their bounds."""
    rows = []
    for one in simulations.early:
        load, urls = one.load, len(one.load.latencies)
        seconds = (f"{load.bound:.2f}", f"{load.greedy:.2f}", f"{one.makespan:.2f}")
        ratios = (_thousandths(load.greedy / load.bound), _thousandths(one.makespan / load.bound))
        kept = "unknown on this system" if one.cpu_wait is None else f"{one.cpu_wait:.2f}"
        cpu = f"{one.cpu / urls * 1e6:,.0f}"
        rows.append((load.shape, f"{urls:,}", *seconds, *ratios, cpu, kept))
    return Table(
        title="Makespan: simulated latencies through the scheduler",
        note=f"{_distribution(simulations)}, none of them in the last third of the list. "
        "The lower bound is max(total work / concurrency, longest request); "
        "greedy is the same order on a scheduler without overhead. "
        "The last column is how long this process waited for a core.",
        columns=(
            "load",
            "URLs",
            "bound, s",
            "greedy, s",
            "crawl, s",
            "greedy / bound",
            "crawl / bound",
            "CPU, µs/URL",
            "no core, s",
        ),
        rows=tuple(rows),
    )


def waits(simulations: Simulations) -> Table:
    """Return the waits of URLs without and with hedges, and the number of hedges."""
    rows = []
    for pair in simulations.anywhere:
        for name, one in zip(("off", "on"), pair, strict=True):
            rows.append((one.load.shape, name, *_waited(one), *_sent(one)))
    return Table(
        title="Waits without and with `--hedge`: stragglers anywhere",
        note=f"{_distribution(simulations)}. Milliseconds from first request to result. "
        "Stragglers are above p99, which without hedges is the slowest other request. "
        f"The budget is {pacing.BUDGET:.0%} of all requests; greedy sends no hedges.",
        columns=(
            "load",
            "hedges",
            "p50",
            "p95",
            "p99",
            "p99.9",
            "max",
            "hedges sent",
            "of requests",
            "makespan, s",
            "to greedy",
        ),
        rows=tuple(rows),
        words=2,
    )


def soak(soaked: SoakResult) -> Table:
    """Return the results of a soak."""
    errors = ", ".join(f"{kind} {count:,}" for kind, count in sorted(soaked.by_error.items()))
    wrong = ", ".join(f"{kind} {count:,}" for kind, count in sorted(soaked.wrong_by_kind.items()))
    resident = [
        f"{size / 1e6:.0f}" for size in soaked.resident[:: max(1, len(soaked.resident) // 4)]
    ]
    facts = [
        ("records", f"{soaked.records:,} in {soaked.elapsed:.0f} s"),
        ("errors, as intended by the servers", errors or "none"),
        ("wrong records", wrong or "none"),
        ("maximum of open sockets, sampled", f"{soaked.sockets:,}"),
        ("resident memory during the run, MB", ", ".join(resident) or "unknown on this system"),
    ]
    return Table(
        title=f"Soak: {soaked.requests:,} requests over {ORIGINS} origins that misbehave",
        note="\n".join(
            [
                f"Through the library, concurrency {CONCURRENCY}, timeout {TIMEOUT:g} s.",
                *(f"Wrong: `{example}`" for example in soaked.examples),
            ]
        ),
        columns=("fact", "figure"),
        rows=tuple(facts),
        words=2,
    )


def _distribution(simulations: Simulations) -> str:
    rest = f"lognormal, median {pacing.MEDIAN * 1000:g} ms, sigma {pacing.SIGMA:g}"
    return f"Latencies: {rest}; {pacing.STRAGGLERS:.0%} stragglers of {simulations.straggler:g} s"


def _waited(one: Simulation) -> list[str]:
    shares = (0.5, 0.95, 0.99, 0.999)
    found = [*(measure.percentile(one.waits, share) for share in shares), one.waits[-1]]
    return [f"{wait * 1000:,.0f}" for wait in found]


def _sent(one: Simulation) -> tuple[str, ...]:
    share = f"{one.hedges / one.requests:.2%}"
    greedy = _thousandths(one.makespan / one.load.greedy)
    return (f"{one.hedges:,}", share, f"{one.makespan:.2f}", greedy)


def _thousandths(ratio: float) -> str:
    return f"{ratio:.3f}"


def _named(outcome: Outcome, row: Row) -> str:
    few = f" (on {row.urls:,} URLs)" if row.urls < outcome.workload.urls else ""
    return row.client.label + few


def _note(outcome: Outcome, ratio: str) -> str:
    counts = [len(row.runs) for row in outcome.rows if row.runs]
    runs = max(counts, default=0)
    at = "" if outcome.workload.other_concurrencies else " Concurrency 100."
    times = "1 run of each" if runs == 1 else f"{runs} runs of each in turn"
    return f"Whole processes, {times}.{at} {ratio}"


def _spread(values: Sequence[float], form: str) -> str:
    found = measure.spread(values)
    return f"{found.median:{form}} ({found.least:{form}}-{found.most:{form}})"


def _ratio(ratio: float | None) -> str:
    return _NONE if ratio is None else f"{ratio:.2f}"


def _medians(runs: Sequence[Percentiles]) -> Percentiles:
    return Percentiles(
        p50=measure.spread([run.p50 for run in runs]).median,
        p99=measure.spread([run.p99 for run in runs]).median,
        max=measure.spread([run.max for run in runs]).median,
    )
