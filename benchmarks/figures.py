"""A document of results -> the figures of each client, as chart and summary show them."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CONCURRENCY = 100
# Workloads in the order of their display, and what they are called there.
WORKLOADS = {
    "one-host": "One host",
    "origins": "{urls} origins",
    "tls": "{urls} origins, TLS",
    "names": "{urls} hosts with names",
    "redirects": "One redirect for each URL",
}
# Clients in the order of their display, and what they are called there.
CLIENTS = {
    "direct": "crawl",
    "native": "crawl --engine native",
    "curl": "curl -Z",
    "lychee": "lychee",
    "wget2": "wget2 --spider",
    "aria2": "aria2c --dry-run",
    "aiohttp": "aiohttp loop",
    "pyreqwest": "pyreqwest loop",
    "httpx loop": "httpx AsyncClient",
    "httpx": "crawl --engine httpx",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A client in a workload: URLs per second, CPU microseconds per URL, megabytes, seconds."""

    client: str
    label: str
    runs: int
    median: float
    best: float
    cpu: float
    peak: float
    wall: float


def title(workload: Mapping[str, Any]) -> str:
    """Return what a workload is called in a chart or a table."""
    return WORKLOADS[workload["name"]].format(urls=f"{workload['urls']:,}")


def shown(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the workloads that compare rates, in the order of their display."""
    found = {workload["name"]: workload for workload in content["workloads"]}
    return [found[name] for name in WORKLOADS if name in found]


def named(content: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Return a workload by its name, or None."""
    return next((one for one in content["workloads"] if one["name"] == name), None)


def of(workload: Mapping[str, Any]) -> Iterator[Figure]:
    """Yield the figures of the clients that were measured, in the order of their display."""
    rows = {row["client"]: row for row in reversed(workload["rows"]) if _counts(row)}
    for client in CLIENTS:
        if client in rows:
            yield _figure(rows[client])


def others(content: Mapping[str, Any]) -> float | None:
    """Return the median share of the machine that other processes used, None if unknown."""
    rows = [row for workload in content["workloads"] for row in workload["rows"]]
    shares = [run["others"] for row in rows for run in row["runs"] if run["others"] is not None]
    return statistics.median(shares) if shares else None


def _counts(row: Mapping[str, Any]) -> bool:
    return row["concurrency"] == CONCURRENCY and row["runs"] and row["problem"] is None


def _figure(row: Mapping[str, Any]) -> Figure:
    runs, urls = row["runs"], row["urls"]
    walls = [run["wall"] for run in runs]
    return Figure(
        client=row["client"],
        label=row["label"],
        runs=len(runs),
        median=statistics.median(urls / wall for wall in walls),
        best=urls / min(walls),
        cpu=statistics.median(run["cpu"] / urls * 1e6 for run in runs),
        peak=max(run["peak"] for run in runs) / 1e6,
        wall=statistics.median(walls),
    )
