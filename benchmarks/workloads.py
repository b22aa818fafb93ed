"""The workloads that nginx serves: which clients fetch what, in turn and repeated."""

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import clients, measure, nginx
from benchmarks.clients import HTTPX, STOCK, Client, Load
from benchmarks.measure import Run, RunError
from benchmarks.nginx import Origins

_SETTLE = 0.3  # seconds in which nginx closes what the last client left open
_WARM = 10  # URLs of the unmeasured first run


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """So many URLs over so many origins, plain or TLS.

    `fewer` says how many of them a client gets that would take minutes for all: many
    enough that starting up is a small part of it. `others` are the concurrencies, beside
    100, that crawl is also run at. `repeat` is how often each round runs a client.
    """

    name: str
    title: str
    urls: int
    origins: int
    fewer: Mapping[str, int] = field(default_factory=dict)
    tls: bool = False
    others: tuple[int, ...] = ()
    repeat: int = 1


@dataclass(slots=True, kw_only=True)
class Row:
    """One client at one concurrency, its runs so far, or the problem that ended them.

    `failed` is a problem other than that the client is missing.
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
    """A workload and what came of it."""

    workload: Workload
    rows: tuple[Row, ...]

    def row(self, name: str, concurrency: int = 100) -> Row | None:
        """Return the row of a client if it has runs, else None."""
        rows = [r for r in self.rows if (r.client.name, r.concurrency) == (name, concurrency)]
        return rows[0] if rows and rows[0].runs and rows[0].problem is None else None


def all_of_them(*, quick: bool) -> list[Workload]:
    """Return the workloads of full size, or small ones that only show that all works."""
    one, many = (1_000, 200) if quick else (20_000, 6_000)
    return [
        Workload(
            name="one-host",
            title=f"{one:,} URLs, one host",
            urls=one,
            origins=1,
            fewer={HTTPX: one // 5, STOCK: one // 10},
            others=(10, 1_000),
        ),
        Workload(
            name="origins",
            title=f"{many:,} origins, plain",
            urls=many,
            origins=many,
            fewer={STOCK: many // 4},
        ),
        Workload(
            name="tls",
            title=f"{many:,} origins, TLS",
            urls=many,
            origins=many,
            fewer={HTTPX: many // 2, STOCK: many // 4},
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
    """Let this process, and the clients it starts, open as many files as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def play(workload: Workload, rounds: int) -> Outcome:
    """Run every client in turn, `rounds` times over: A B C A B C."""
    with TemporaryDirectory(prefix="crawl-benchmark-") as made:
        folder = Path(made)
        (folder / "nginx").mkdir()
        with nginx.serve(folder / "nginx", workload.origins, tls=workload.tls) as origins:
            rows = _rows(workload)
            for row in rows:
                _try(row, _load(folder, origins, _WARM, row.concurrency), folder, keep=False)
            for number in range(rounds * workload.repeat):
                for row in rows:
                    load = _load(folder, origins, row.urls, row.concurrency)
                    _try(row, load, folder, keep=True)
                    _say(workload, row, number)
        return Outcome(workload=workload, rows=tuple(rows))


def _rows(workload: Workload) -> list[Row]:
    """Return a row for each client, and those of crawl at the other concurrencies."""
    present = clients.everyone()
    if workload.name == "startup":
        present.append(clients.importing())
    rows = []
    for client in present:
        urls = workload.fewer.get(client.name, workload.urls)
        at = (100, *(workload.others if client.name in (clients.DIRECT, clients.NATIVE) else ()))
        for concurrency in at:
            row = Row(client=client, concurrency=concurrency, urls=urls, problem=client.missing)
            rows.append(row)
    return rows


def _load(folder: Path, origins: Origins, count: int, concurrency: int) -> Load:
    listed = folder / f"{count}.txt"
    if not listed.exists():
        listed.write_text("".join(f"{url}\n" for url in origins.urls(count)), "ascii")
    return Load(listed=listed, count=count, concurrency=concurrency, ca=origins.ca)


def _try(row: Row, load: Load, folder: Path, *, keep: bool) -> None:
    """Run a client once, unless it has failed before; a failure ends its row."""
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


def _say(workload: Workload, row: Row, number: int) -> None:
    told = row.problem or f"{row.rates[-1]:,.0f} URLs/s in {row.walls[-1]:.2f} s"
    name = f"{row.client.name} at {row.concurrency}"
    print(f"{workload.name}, round {number + 1}: {name}: {told}", file=sys.stderr, flush=True)
