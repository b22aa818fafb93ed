"""A server that responds after exactly 50 ms -> the latency that crawl recorded."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import children, clients, measure
from benchmarks.clients import Load
from benchmarks.measure import RunError
from benchmarks.servers import delayed

DELAY = 50.0  # milliseconds
CONCURRENCY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Milliseconds."""

    p50: float
    p99: float
    max: float


@dataclass(slots=True, kw_only=True)
class EngineLatency:
    """The latency that an engine recorded, and that of the server itself, for each run."""

    engine: str
    problem: str | None
    rates: list[float] = field(default_factory=list)
    crawl: list[Percentiles] = field(default_factory=list)
    server: list[Percentiles] = field(default_factory=list)


def run(urls: int, rounds: int) -> list[EngineLatency]:
    """Run each engine in turn, `rounds` times, each run with a new server.

    The engine httpx gets a tenth of the URLs: it cannot keep up with the server.
    """
    engines = (clients.DIRECT, clients.NATIVE, clients.HTTPX)
    found = [EngineLatency(engine=name, problem=clients.crawl_missing(name)) for name in engines]
    with TemporaryDirectory(prefix="crawl-benchmark-") as made:
        for number in range(rounds):
            for recorded in found:
                if recorded.problem is None:
                    try:
                        few = recorded.engine == clients.HTTPX
                        _run_engine(recorded, Path(made), urls // 10 if few else urls)
                    except RunError as exc:
                        recorded.problem = f"failed: {exc}"
                figure = recorded.problem or f"p50 {recorded.crawl[-1].p50:.2f} ms"
                line = f"latency, round {number + 1}: {recorded.engine}: {figure}"
                print(line, file=sys.stderr, flush=True)
    return found


def _run_engine(recorded: EngineLatency, folder: Path, urls: int) -> None:
    url_file = folder / "list.txt"
    command = [sys.executable, delayed.__file__, str(DELAY)]
    with children.running(command, folder=folder, environ=measure.environ()) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        lines = (f"http://127.0.0.1:{port}/page/{number}\n" for number in range(urls))
        url_file.write_text("".join(lines), "ascii")
        load = Load(url_file=url_file, count=urls, concurrency=CONCURRENCY, ca=None)
        run = measure.run(clients.crawl_command(recorded.engine, load), folder)
        report, _ = server.communicate(timeout=measure.RUN_TIMEOUT)  # closes its standard input
    if run.status != 0:
        raise RunError(f"exit code {run.status}")
    ordered = sorted(measure.latencies(run.out))
    if len(ordered) != urls:
        raise RunError(f"{len(ordered):,} of {urls:,} records")
    recorded.rates.append(urls / run.wall)
    recorded.server.append(Percentiles(**json.loads(report)))
    recorded.crawl.append(
        Percentiles(
            p50=measure.percentile(ordered, 0.5),
            p99=measure.percentile(ordered, 0.99),
            max=ordered[-1],
        )
    )
