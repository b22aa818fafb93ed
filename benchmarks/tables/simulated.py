"""Simulated loads and soaks -> their tables."""

from benchmarks import measure, pacing
from benchmarks.markdown import Table
from benchmarks.pacing import Simulation, Simulations
from benchmarks.soak import CONCURRENCY, ORIGINS, TIMEOUT, SoakResult


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
        title=f"Soak over the {soaked.path}: {soaked.requests:,} requests to {ORIGINS} origins "
        "that misbehave",
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
