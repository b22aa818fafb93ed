"""A server that responds after exactly 50 ms -> the latency that crawl recorded."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import children, clients, measure, servers
from benchmarks.children import UnsupportedError
from benchmarks.clients import Load
from benchmarks.measure import RunError, Surroundings

DELAY = 50.0  # milliseconds
_FOLDER = Path(next(iter(servers.__path__)))
_SECONDS = 2.5  # of requests at the highest rate that the delay allows
# Engine and concurrency; the engine of httpx cannot keep up, so it gets a tenth of the URLs.
_SHAPES = ((clients.DIRECT, 100), (clients.DIRECT, 1_000), (clients.HTTPX, 100))


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Milliseconds."""

    p50: float
    p99: float
    max: float


@dataclass(slots=True, kw_only=True)
class EngineLatency:
    """The latency that an engine recorded, and that of the server itself, for each run.

    `others` is the share of the machine that others used, of each run for which it is known.
    """

    engine: str
    concurrency: int
    urls: int
    problem: str | None
    rates: list[float] = field(default_factory=list)
    crawl: list[Percentiles] = field(default_factory=list)
    server: list[Percentiles] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    @property
    def highest_rate(self) -> float:
        """The URLs per second that the delay allows at this concurrency."""
        return self.concurrency / DELAY * 1000


def run(rounds: int, *, quick: bool) -> list[EngineLatency]:
    """Run each engine in turn, `rounds` times, each run with a new server."""
    found = [_empty(engine, concurrency) for engine, concurrency in _SHAPES[: 2 if quick else None]]
    with TemporaryDirectory(prefix="crawl-benchmark-") as made:
        folder = Path(made)
        try:
            server = compiled(folder)
        except UnsupportedError as exc:
            for recorded in found:
                recorded.problem = f"missing: {exc}"
            return found
        for number in range(rounds):
            for recorded in found:
                if recorded.problem is None:
                    try:
                        _run_engine(recorded, folder, server)
                    except RunError as exc:
                        recorded.problem = f"failed: {exc}"
                figure = recorded.problem or f"p50 {recorded.crawl[-1].p50:.2f} ms"
                name = f"{recorded.engine} at {recorded.concurrency:,}"
                print(f"latency, round {number + 1}: {name}: {figure}", file=sys.stderr, flush=True)
    return found


def compiled(folder: Path) -> Path:
    """Compile the server into `folder`. Raises UnsupportedError where that is impossible."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise UnsupportedError("no C compiler (Debian package gcc)")
    made = folder / "delayed"
    done = subprocess.run(  # noqa: S603 - the command is ours
        [compiler, "-O2", "-o", str(made), str(_FOLDER / "delayed.c")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), "no message")
        raise UnsupportedError(f"the server does not compile: {first}")
    return made


def _empty(engine: str, concurrency: int) -> EngineLatency:
    urls = int(concurrency / DELAY * 1000 * _SECONDS)
    return EngineLatency(
        engine=engine,
        concurrency=concurrency,
        urls=urls // 10 if engine == clients.HTTPX else urls,
        problem=clients.with_engine(engine).missing,
    )


def _run_engine(recorded: EngineLatency, folder: Path, executable: Path) -> None:
    url_file = folder / "list.txt"
    urls, client = recorded.urls, clients.with_engine(recorded.engine)
    with children.running([str(executable), str(DELAY)], folder=folder) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        lines = (f"http://127.0.0.1:{port}/page/{number}\n" for number in range(urls))
        url_file.write_text("".join(lines), "ascii")
        load = Load(url_file=url_file, count=urls, concurrency=recorded.concurrency, ca=None)
        run = measure.run(client.command(load), folder, Surroundings(servers=(server.pid,)))
        report, _ = server.communicate(timeout=measure.RUN_TIMEOUT)  # closes its standard input
    client.check(run, load)
    ordered = sorted(measure.latencies(run.out))
    recorded.rates.append(urls / run.wall)
    recorded.others += [] if run.others is None else [run.others]
    recorded.server.append(Percentiles(**json.loads(report)))
    recorded.crawl.append(
        Percentiles(
            p50=measure.percentile(ordered, 0.5),
            p99=measure.percentile(ordered, 0.99),
            max=ordered[-1],
        )
    )
