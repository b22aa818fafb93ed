"""The workloads that nginx serves: how many URLs over how many origins, and who fetches them."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from benchmarks import names, nginx
from benchmarks.clients import (
    AIOHTTP,
    ARIA2,
    BESIDE,
    CURL,
    DIRECT,
    HTTPX,
    HTTPX_LOOP,
    IMPORT,
    LYCHEE,
    NATIVE,
    PYREQWEST,
    TABLE,
    WGET2,
)

_MAIN = (DIRECT, CURL, LYCHEE)
_REST = (AIOHTTP, WGET2, ARIA2, HTTPX_LOOP, HTTPX)


class Kind(StrEnum):
    """What is special about the URLs of a workload."""

    PLAIN = "plain"
    TLS = "TLS"
    NAMES = "names"
    REDIRECTS = "redirects"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A number of URLs over a number of origins, and the names of the clients.

    `fewer` maps a client that would take minutes for all URLs to a smaller number of them,
    still large enough that start-up is a small part of a run. crawl is also run at
    `other_concurrencies` than 100, and with `other_counts` of URLs. `repeat` is the number
    of runs of a client in each round; with `once` there is one round.
    """

    name: str
    title: str
    urls: int
    origins: int
    clients: tuple[str, ...]
    kind: Kind = Kind.PLAIN
    fewer: Mapping[str, int] = field(default_factory=dict)
    other_concurrencies: tuple[int, ...] = ()
    other_counts: tuple[int, ...] = ()
    repeat: int = 1
    once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the URLs of a workload are, and what a client needs to reach them.

    `ca` is the PEM file to trust, or None. `groups` are the process groups of the servers.
    """

    kind: Kind
    authorities: tuple[str, ...]
    ca: Path | None
    prefix: tuple[str, ...]
    groups: tuple[int, ...]

    def urls(self, count: int) -> Iterator[str]:
        """Return `count` different URLs, spread evenly over the origins."""
        scheme = "https" if self.kind is Kind.TLS else "http"
        path = "hop" if self.kind is Kind.REDIRECTS else "page"
        among = len(self.authorities)
        return (f"{scheme}://{self.authorities[n % among]}/{path}/{n}" for n in range(count))


@contextmanager
def serve(workload: Workload, folder: Path) -> Iterator[Site]:
    """Serve a workload while the context is open. Raises ServerError or UnsupportedError."""
    named = workload.kind is Kind.NAMES
    (folder / "nginx").mkdir()
    with ExitStack() as stack:
        resolving = stack.enter_context(names.serve(folder)) if named else None
        served = stack.enter_context(
            nginx.serve(
                folder / "nginx", 1 if named else workload.origins, tls=workload.kind is Kind.TLS
            )
        )
        if named:
            hosts = (f"host-{number}.{names.ZONE}" for number in range(workload.origins))
            authorities = tuple(f"{host}:{served.ports[0]}" for host in hosts)
        else:
            authorities = tuple(f"{nginx.ADDRESS}:{port}" for port in served.ports)
        yield Site(
            kind=workload.kind,
            authorities=authorities,
            ca=served.ca,
            prefix=resolving.prefix if resolving else (),
            groups=(served.group, *([resolving.group] if resolving else [])),
        )


def all_workloads(*, quick: bool) -> list[Workload]:
    """Return the workloads in full size, or in a small one with the main clients only."""
    one, many, tls, hosts, hops = (
        (10_000, 2_000, 600, 500, 5_000) if quick else (20_000, 6_000, 6_000, 2_000, 10_000)
    )
    rest = () if quick else _REST
    return [
        Workload(
            name="one-host",
            title=f"{one:,} URLs, one host",
            urls=one,
            origins=1,
            clients=(*_MAIN, *rest),
            fewer={HTTPX_LOOP: one // 5, HTTPX: one // 10},
            other_concurrencies=() if quick else (10, 1_000),
        ),
        Workload(
            name="origins",
            title=f"{many:,} origins, plain",
            urls=many,
            origins=many,
            clients=(*_MAIN, *rest),
            fewer={HTTPX: many // 4},
        ),
        Workload(
            name="tls",
            title=f"{tls:,} origins, TLS",
            urls=tls,
            origins=tls,
            clients=(*_MAIN, NATIVE, *(() if quick else (PYREQWEST, *_REST))),
            kind=Kind.TLS,
            fewer={HTTPX_LOOP: tls // 2, HTTPX: tls // 4, WGET2: tls // 4, ARIA2: tls // 4},
        ),
        Workload(
            name="names",
            title=f"{hosts:,} hosts with names",
            urls=hosts,
            origins=hosts,
            clients=(*_MAIN, *rest),
            kind=Kind.NAMES,
        ),
        Workload(
            name="redirects",
            title=f"{hops:,} URLs with a redirect each",
            urls=hops,
            origins=1,
            clients=(*_MAIN, *rest),
            kind=Kind.REDIRECTS,
            fewer={HTTPX_LOOP: hops // 5, HTTPX: hops // 10},
        ),
        *_of_crawl(one, quick=quick),
    ]


def _of_crawl(one: int, *, quick: bool) -> list[Workload]:
    """Return the workloads about start-up, outputs and memory."""
    long, longest = (20_000, 30_000) if quick else (250_000, 1_000_000)
    return [
        Workload(
            name="startup",
            title="10 URLs, one host",
            urls=10,
            origins=1,
            clients=(*_MAIN, NATIVE, IMPORT, *(() if quick else (AIOHTTP, HTTPX_LOOP, HTTPX))),
            repeat=3,
        ),
        Workload(
            name="outputs",
            title=f"Outputs of crawl, {one:,} URLs of one host",
            urls=one,
            origins=1,
            clients=(DIRECT, TABLE, BESIDE),
        ),
        Workload(
            name="memory",
            title=f"Memory of crawl, up to {longest:,} URLs of one host",
            urls=one,
            origins=1,
            clients=(DIRECT,),
            other_counts=(long, longest),
            once=True,
        ),
    ]
