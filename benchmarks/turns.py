"""A workload -> its clients, run in turn: A B C A B C."""

import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import clients, measure, workloads
from benchmarks.children import UnsupportedError
from benchmarks.clients import Client, Load
from benchmarks.measure import Run, RunError, Surroundings
from benchmarks.workloads import Site, Workload

CONCURRENCY = 100
_SETTLE = 0.3  # seconds for nginx to close the connections of the last client
_WARM_UP_URLS = 10  # in an unmeasured first run


@dataclass(slots=True, kw_only=True)
class Row:
    """One client at one concurrency: its runs so far, or the problem that ended them.

    A row has failed if it has a problem, unless that is a missing program or server.
    """

    client: Client
    concurrency: int
    urls: int
    runs: list[Run] = field(default_factory=list)
    problem: str | None = None

    @property
    def failed(self) -> bool:
        return self.problem is not None and not self.problem.startswith("missing: ")

    @property
    def walls(self) -> list[float]:
        return [run.wall for run in self.runs]

    @property
    def rates(self) -> list[float]:
        """URLs per second of each run."""
        return [self.urls / run.wall for run in self.runs]

    @property
    def cpu(self) -> list[float]:
        """CPU microseconds per URL of each run."""
        return [run.cpu / self.urls * 1e6 for run in self.runs]

    @property
    def server_cpu(self) -> list[float]:
        """CPU microseconds of the servers per URL, of each run for which they are known."""
        return [run.server_cpu / self.urls * 1e6 for run in self.runs if run.server_cpu is not None]

    @property
    def others(self) -> list[float]:
        """The share of the machine that others used, of each run for which it is known."""
        return [run.others for run in self.runs if run.others is not None]

    @property
    def peaks(self) -> list[float]:
        """Megabytes (of a million bytes) of each run."""
        return [run.peak / 1e6 for run in self.runs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A workload and its results."""

    workload: Workload
    rows: tuple[Row, ...]

    @property
    def others(self) -> list[float]:
        """The share of the machine that others used, of each run for which it is known."""
        return [share for row in self.rows for share in row.others]

    def row(self, name: str, concurrency: int = CONCURRENCY, urls: int | None = None) -> Row | None:
        """Return the row of a client if it has runs, else None; by default with all URLs."""
        for row in self.rows:
            asked = (row.client.name, row.concurrency) == (name, concurrency)
            if asked and urls in (None, row.urls) and row.runs and row.problem is None:
                return row
        return None


def raise_open_files() -> None:
    """Raise the limit of open files of this process and its children to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(workload: Workload, rounds: int) -> Outcome:
    """Run every client in turn, `rounds` times."""
    rows = _rows(workload)
    with TemporaryDirectory(prefix="crawl-benchmark-") as made:
        folder = Path(made)
        try:
            with workloads.serve(workload, folder) as site:
                _take_turns(workload, rows, folder, site, rounds)
        except UnsupportedError as exc:
            for row in rows:
                row.problem = row.problem or f"missing: {exc}"
    return Outcome(workload=workload, rows=tuple(rows))


def _take_turns(workload: Workload, rows: list[Row], folder: Path, site: Site, rounds: int) -> None:
    for row in rows:
        warm_up = _load(folder, site, min(_WARM_UP_URLS, row.urls), row.concurrency)
        _run_client(row, warm_up, folder, site, keep=False)
    for number in range(workload.repeat * (1 if workload.once else rounds)):
        for row in rows:
            load = _load(folder, site, row.urls, row.concurrency)
            _run_client(row, load, folder, site, keep=True)
            _print_progress(workload, row, number)


def _rows(workload: Workload) -> list[Row]:
    """Return a row for each client, and rows of crawl at other concurrencies and counts."""
    known = clients.by_name()
    rows = []
    for name in workload.clients:
        client = known[name]
        urls = workload.fewer.get(name, workload.urls)
        shapes = [(CONCURRENCY, urls)]
        if name == clients.DIRECT:
            shapes += [(concurrency, urls) for concurrency in workload.other_concurrencies]
            shapes += [(CONCURRENCY, count) for count in workload.other_counts]
        rows += [
            Row(client=client, concurrency=concurrency, urls=count, problem=client.missing)
            for concurrency, count in shapes
        ]
    return rows


def _load(folder: Path, site: Site, count: int, concurrency: int) -> Load:
    url_file = folder / f"{count}.txt"
    if not url_file.exists():
        url_file.write_text("".join(f"{url}\n" for url in site.urls(count)), "ascii")
    return Load(url_file=url_file, count=count, concurrency=concurrency, ca=site.ca)


def _run_client(row: Row, load: Load, folder: Path, site: Site, *, keep: bool) -> None:
    """Run a client once, unless it has a problem already; a failure becomes its problem."""
    if row.problem is not None:
        return
    time.sleep(_SETTLE)
    around = Surroundings(servers=site.groups, prefix=site.prefix, environ=row.client.environ(load))
    try:
        run = measure.run(row.client.command(load), folder, around)
        row.client.check(run, load)
    except RunError as exc:
        row.problem = f"failed: {exc}"
    else:
        if keep:
            row.runs.append(run)


def _print_progress(workload: Workload, row: Row, number: int) -> None:
    result = row.problem or f"{row.rates[-1]:,.0f} URLs/s in {row.walls[-1]:.2f} s"
    name = f"{row.client.name}, {row.urls:,} URLs at {row.concurrency}"
    print(f"{workload.name}, round {number + 1}: {name}: {result}", file=sys.stderr, flush=True)
