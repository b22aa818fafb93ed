"""The workloads that nginx serves, and the clients that fetch them in turn."""

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import clients, measure, nginx
from benchmarks.clients import HTTPX, HTTPX_LOOP, Client, Load
from benchmarks.measure import Run, RunError
from benchmarks.nginx import Origins

_SETTLE = 0.3  # seconds for nginx to close the connections of the last client
_WARM_UP_URLS = 10  # in an unmeasured first run


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A number of URLs over a number of origins, plain or TLS.

    `fewer` maps a client that would take minutes for all URLs to a smaller number of them,
    still large enough that start-up is a small part of a run. crawl is also run at
    `other_concurrencies` than 100. `repeat` is the number of runs of a client in each round.
    """

    name: str
    title: str
    urls: int
    origins: int
    fewer: Mapping[str, int] = field(default_factory=dict)
    tls: bool = False
    other_concurrencies: tuple[int, ...] = ()
    repeat: int = 1


@dataclass(slots=True, kw_only=True)
class Row:
    """One client at one concurrency: its runs so far, or the problem that ended them.

    A row has failed if it has a problem other than a missing client.
    """

    client: Client
    concurrency: int
    urls: int
    runs: list[Run] = field(default_factory=list)
    problem: str | None = None

    @property
    def failed(self) -> bool:
        return self.problem is not None and self.problem != self.client.missing

    @property
    def walls(self) -> list[float]:
        return [run.wall for run in self.runs]

    @property
    def rates(self) -> list[float]:
        """URLs per second of each run."""
        return [self.urls / run.wall for run in self.runs]

    @property
    def peaks(self) -> list[float]:
        """Megabytes (of a million bytes) of each run."""
        return [run.peak / 1e6 for run in self.runs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A workload and its results."""

    workload: Workload
    rows: tuple[Row, ...]

    def row(self, name: str, concurrency: int = 100) -> Row | None:
        """Return the row of a client if it has runs, else None."""
        rows = [r for r in self.rows if (r.client.name, r.concurrency) == (name, concurrency)]
        return rows[0] if rows and rows[0].runs and rows[0].problem is None else None


def all_workloads(*, quick: bool) -> list[Workload]:
    """Return the workloads in full size, or in a small one as a trial."""
    one, many = (1_000, 200) if quick else (20_000, 6_000)
    return [
        Workload(
            name="one-host",
            title=f"{one:,} URLs, one host",
            urls=one,
            origins=1,
            fewer={HTTPX_LOOP: one // 5, HTTPX: one // 10},
            other_concurrencies=(10, 1_000),
        ),
        Workload(
            name="origins",
            title=f"{many:,} origins, plain",
            urls=many,
            origins=many,
            fewer={HTTPX: many // 4},
        ),
        Workload(
            name="tls",
            title=f"{many:,} origins, TLS",
            urls=many,
            origins=many,
            fewer={HTTPX_LOOP: many // 2, HTTPX: many // 4},
            tls=True,
        ),
        Workload(
            name="startup",
            title="10 URLs, one host",
            urls=10,
            origins=1,
            repeat=1 if quick else 3,
        ),
    ]


def raise_open_files() -> None:
    """Raise the limit of open files of this process and its children to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(workload: Workload, rounds: int) -> Outcome:
    """Run every client in turn, `rounds` times: A B C A B C."""
    with TemporaryDirectory(prefix="crawl-benchmark-") as made:
        folder = Path(made)
        (folder / "nginx").mkdir()
        with nginx.serve(folder / "nginx", workload.origins, tls=workload.tls) as origins:
            rows = _rows(workload)
            for row in rows:
                _run_client(
                    row, _load(folder, origins, _WARM_UP_URLS, row.concurrency), folder, keep=False
                )
            for number in range(rounds * workload.repeat):
                for row in rows:
                    load = _load(folder, origins, row.urls, row.concurrency)
                    _run_client(row, load, folder, keep=True)
                    _print_progress(workload, row, number)
        return Outcome(workload=workload, rows=tuple(rows))


def _rows(workload: Workload) -> list[Row]:
    """Return a row for each client, and rows of crawl at other concurrencies."""
    measured = clients.all_clients()
    if workload.name == "startup":
        measured.append(clients.import_baseline())
    rows = []
    for client in measured:
        urls = workload.fewer.get(client.name, workload.urls)
        concurrencies = [100]
        if client.name in (clients.DIRECT, clients.NATIVE):
            concurrencies += workload.other_concurrencies
        for concurrency in concurrencies:
            row = Row(client=client, concurrency=concurrency, urls=urls, problem=client.missing)
            rows.append(row)
    return rows


def _load(folder: Path, origins: Origins, count: int, concurrency: int) -> Load:
    url_file = folder / f"{count}.txt"
    if not url_file.exists():
        url_file.write_text("".join(f"{url}\n" for url in origins.urls(count)), "ascii")
    return Load(url_file=url_file, count=count, concurrency=concurrency, ca=origins.ca)


def _run_client(row: Row, load: Load, folder: Path, *, keep: bool) -> None:
    """Run a client once, unless it has a problem already; a failure becomes its problem."""
    if row.problem is not None:
        return
    time.sleep(_SETTLE)
    try:
        run = measure.run(row.client.command(load), folder, row.client.environ(load))
        if row.client.name != clients.IMPORT:
            row.client.check(run, load)
    except RunError as exc:
        row.problem = f"failed: {exc}"
    else:
        if keep:
            row.runs.append(run)


def _print_progress(workload: Workload, row: Row, number: int) -> None:
    result = row.problem or f"{row.rates[-1]:,.0f} URLs/s in {row.walls[-1]:.2f} s"
    name = f"{row.client.name} at {row.concurrency}"
    print(f"{workload.name}, round {number + 1}: {name}: {result}", file=sys.stderr, flush=True)
