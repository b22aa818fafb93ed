"""Workloads that a server serves -> their tables."""

from collections.abc import Iterable, Sequence

from benchmarks import latency, measure
from benchmarks.clients import DIRECT
from benchmarks.latency import EngineLatency, Percentiles
from benchmarks.markdown import Table
from benchmarks.turns import Outcome, Row

_NONE = "-"
_COSTS = ("CPU, µs/URL", "servers' CPU", "others", "peak, MB")


def rates(outcome: Outcome) -> Table:
    """Return rate, ratio, and costs of each client."""
    base = outcome.row(DIRECT)
    several = bool(outcome.workload.other_concurrencies)
    rows = []
    for row in outcome.rows:
        name = [_named(outcome, row), *([f"{row.concurrency:,}"] if several else [])]
        if row.problem is not None:
            rows.append((*name, row.problem, *[_NONE] * 6))
            continue
        ratio = f"{measure.paired(row.rates, base.rates):.2f}" if base else _NONE
        median, best = measure.spread(row.rates).median, max(row.rates)
        rows.append((*name, f"{median:,.0f}", f"{best:,.0f}", ratio, *_costs(row)))
    first = ("client", "at once") if several else ("client",)
    return Table(
        title=outcome.workload.title,
        note=_note(outcome, "A rate of twice crawl's is 2.00."),
        columns=(*first, "URLs/s, median", "best", "to crawl", *_COSTS),
        rows=tuple(rows),
    )


def times(outcome: Outcome) -> Table:
    """Return the time of each client in a workload that start-up dominates."""
    base = outcome.row(DIRECT)
    rows = []
    for row in outcome.rows:
        label = row.client.label
        if row.problem is not None:
            rows.append((label, row.problem, *[_NONE] * 5))
            continue
        ratio = f"{measure.paired(row.walls, base.walls):.2f}" if base else _NONE
        found = measure.spread([wall * 1000 for wall in row.walls])
        cpu = measure.spread([run.cpu * 1000 for run in row.runs]).median
        cells = (f"{cpu:.0f}", _others(row), f"{max(row.peaks):.0f}")
        rows.append((label, f"{found.median:.0f}", f"{found.least:.0f}", ratio, *cells))
    return Table(
        title=outcome.workload.title,
        note=_note(outcome, "A time of twice crawl's is 2.00."),
        columns=("client", "ms, median", "best", "to crawl", "CPU, ms", "others", "peak, MB"),
        rows=tuple(rows),
    )


def memory(outcome: Outcome) -> Table:
    """Return rate and costs of crawl by the number of URLs."""
    rows = []
    for row in outcome.rows:
        if row.problem is not None:
            rows.append((f"{row.urls:,}", row.problem, *[_NONE] * 4))
            continue
        rows.append((f"{row.urls:,}", f"{measure.spread(row.rates).median:,.0f}", *_costs(row)))
    return Table(
        title=outcome.workload.title,
        note="Concurrency 100, one run each.",
        columns=("URLs", "URLs/s", *_COSTS),
        rows=tuple(rows),
    )


def latencies(found: Iterable[EngineLatency]) -> Table:
    """Return the latency that each engine recorded, and that of the server itself."""
    rows = []
    for recorded in found:
        name = (f"crawl --engine {recorded.engine}", f"{recorded.concurrency:,}")
        if recorded.problem is not None:
            rows.append((*name, recorded.problem, *[_NONE] * 5))
            continue
        mine, theirs = _medians(recorded.crawl), _medians(recorded.server)
        own = f"{theirs.p50:.2f} / {theirs.p99:.2f} / {theirs.max:.2f}"
        figures = (f"{mine.p50:.2f}", f"{mine.p99:.2f}", f"{mine.max:.2f}", own)
        rate = f"{measure.spread(recorded.rates).median:,.0f}"
        rows.append((*name, *figures, rate, f"{recorded.highest_rate:,.0f}"))
    server = "server p50 / p99 / max"
    return Table(
        title=f"Latency recorded by crawl from a server that responds after {latency.DELAY:g} ms",
        note="Medians of runs. The server's own figures last from the arrival of a request to "
        "its response; the delay allows no higher rate than the last column.",
        columns=("client", "at once", "p50, ms", "p99, ms", "max, ms", server, "URLs/s", "most"),
        rows=tuple(rows),
    )


def _costs(row: Row) -> tuple[str, ...]:
    servers = f"{measure.spread(row.server_cpu).median:,.0f}" if row.server_cpu else _NONE
    cpu = f"{measure.spread(row.cpu).median:,.0f}"
    return (cpu, servers, _others(row), f"{max(row.peaks):.0f}")


def _others(row: Row) -> str:
    return f"{measure.spread(row.others).median:.0%}" if row.others else _NONE


def _named(outcome: Outcome, row: Row) -> str:
    few = f" (on {row.urls:,} URLs)" if row.urls < outcome.workload.urls else ""
    return row.client.label + few


def _note(outcome: Outcome, ratio: str) -> str:
    runs = max((len(row.runs) for row in outcome.rows), default=0)
    at = "" if outcome.workload.other_concurrencies else " Concurrency 100."
    times = "1 run of each" if runs == 1 else f"{runs} runs of each in turn"
    others = "Others is the median share of the machine that other processes used."
    return f"Whole processes, {times}.{at} {ratio} {others}"


def _medians(runs: Sequence[Percentiles]) -> Percentiles:
    return Percentiles(
        p50=measure.spread([run.p50 for run in runs]).median,
        p99=measure.spread([run.p99 for run in runs]).median,
        max=measure.spread([run.max for run in runs]).median,
    )
