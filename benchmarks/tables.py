"""What was measured -> the tables that the README quotes."""

from collections.abc import Iterable, Sequence

from benchmarks import latency, measure, pacing
from benchmarks.clients import DIRECT, IMPORT
from benchmarks.latency import Figures, Recorded
from benchmarks.markdown import Table
from benchmarks.pacing import Paced, Played
from benchmarks.soak import CONCURRENCY, ORIGINS, TIMEOUT, Soaked
from benchmarks.workloads import Outcome, Row

_NONE = "-"


def rates(outcome: Outcome) -> Table:
    """Return rate, ratio, CPU time and peak memory of each client."""
    base = outcome.row(DIRECT)
    several = bool(outcome.workload.others)
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
    """Return the time of each client where the start counts for more than the URLs."""
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
    """Return the greatest peak of each client in each workload, from the runs of the others."""
    rows: dict[tuple[str, str], list[str]] = {}
    for place, outcome in enumerate(outcomes):
        for row in outcome.rows:
            if row.client.name == IMPORT:
                continue
            cells = rows.setdefault(
                (row.client.label, f"{row.concurrency:,}"), [_NONE] * len(outcomes)
            )
            peak = max(row.peaks, default=None)
            few = f" (on {row.urls:,})" if row.urls < outcome.workload.urls else ""
            cells[place] = row.problem or (_NONE if peak is None else f"{peak:.0f}{few}")
    return Table(
        title="Peak memory, MB",
        note="The greatest of all runs, of the whole process.",
        columns=("client", "at once", *(outcome.workload.title for outcome in outcomes)),
        rows=tuple((*name, *cells) for name, cells in rows.items()),
    )


def latencies(found: Iterable[Recorded]) -> Table:
    """Return what each engine recorded, beside what the server says it took."""
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
        title=f"Latency that crawl records, server answers after {latency.DELAY:g} ms",
        note=f"Concurrency {latency.CONCURRENCY}, so at most {most:,.0f} URLs/s; medians of runs. "
        "The server's own figures run from the request's arrival to its answer's departure.",
        columns=("client", "p50, ms", "p99, ms", "max, ms", "server p50 / p99 / max", "URLs/s"),
        rows=tuple(rows),
    )


def makespans(played: Played) -> Table:
    """Return how long the scheduler took for simulated latencies, and what can be reached."""
    rows = []
    for one in played.even:
        load, urls = one.load, len(one.load.latencies)
        seconds = (f"{load.bound:.2f}", f"{load.greedy:.2f}", f"{one.makespan:.2f}")
        ratios = (_thousandths(load.greedy / load.bound), _thousandths(one.makespan / load.bound))
        kept = "not known here" if one.kept is None else f"{one.kept:.2f}"
        cpu = f"{one.cpu / urls * 1e6:,.0f}"
        rows.append((load.shape, f"{urls:,}", *seconds, *ratios, cpu, kept))
    return Table(
        title="Makespan: simulated latencies through the scheduler",
        note=f"{_simulated(played)}, none of them in the last third of the list. "
        "The lower bound is max(total work / concurrency, longest request); "
        "greedy is the same order on a scheduler that costs nothing. "
        "The last column is what this process waited while other ones had the cores.",
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


def waits(played: Played) -> Table:
    """Return how long URLs waited without and with hedges, and how many hedges that took."""
    rows = []
    for pair in played.anywhere:
        for name, one in zip(("off", "on"), pair, strict=True):
            rows.append((one.load.shape, name, *_waited(one), *_sent(one)))
    return Table(
        title="Waits without and with `--hedge`: stragglers anywhere",
        note=f"{_simulated(played)}. Milliseconds from a URL's first request to its result. "
        "Stragglers begin where p99 ends: without hedges that is the slowest of all others. "
        f"The budget is {pacing.BUDGET:.0%} of all requests; greedy knows no hedges.",
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


def soak(soaked: Soaked) -> Table:
    """Return what a soak had to do with, and what it came to."""
    errors = ", ".join(f"{kind} {count:,}" for kind, count in sorted(soaked.by_error.items()))
    wrong = ", ".join(f"{kind} {count:,}" for kind, count in sorted(soaked.mistaken.items()))
    resident = [
        f"{size / 1e6:.0f}" for size in soaked.resident[:: max(1, len(soaked.resident) // 4)]
    ]
    facts = [
        ("records", f"{soaked.records:,} in {soaked.elapsed:.0f} s"),
        ("errors, as the servers meant them to be", errors or "none"),
        ("wrong records", wrong or "none"),
        ("most sockets open at once, as sampled", f"{soaked.sockets:,}"),
        ("resident memory on the way, MB", ", ".join(resident) or "not known here"),
    ]
    return Table(
        title=f"Soak: {soaked.requests:,} requests over {ORIGINS} origins that misbehave",
        note="\n".join(
            [
                f"Through the library, concurrency {CONCURRENCY}, timeout {TIMEOUT:g} s.",
                *(f"Wrong: `{told}`" for told in soaked.wrong),
            ]
        ),
        columns=("fact", "figure"),
        rows=tuple(facts),
        words=2,
    )


def _simulated(played: Played) -> str:
    rest = f"lognormal, median {pacing.MEDIAN * 1000:g} ms, sigma {pacing.SIGMA:g}"
    return f"Latencies: {rest}; {pacing.STRAGGLERS:.0%} stragglers of {played.straggler:g} s"


def _waited(one: Paced) -> list[str]:
    shares = (0.5, 0.95, 0.99, 0.999)
    found = [*(measure.percentile(one.waits, share) for share in shares), one.waits[-1]]
    return [f"{wait * 1000:,.0f}" for wait in found]


def _sent(one: Paced) -> tuple[str, ...]:
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
    at = "" if outcome.workload.others else " Concurrency 100."
    times = "1 run of each" if runs == 1 else f"{runs} runs of each in turn"
    return f"Whole processes, {times}.{at} {ratio}"


def _spread(values: Sequence[float], form: str) -> str:
    found = measure.spread(values)
    return f"{found.median:{form}} ({found.least:{form}}-{found.most:{form}})"


def _ratio(ratio: float | None) -> str:
    return _NONE if ratio is None else f"{ratio:.2f}"


def _medians(runs: Sequence[Figures]) -> Figures:
    return Figures(
        p50=measure.spread([run.p50 for run in runs]).median,
        p99=measure.spread([run.p99 for run in runs]).median,
        max=measure.spread([run.max for run in runs]).median,
    )
