"""Many requests to misbehaving servers, through the library -> what is left over.

The crawl runs in this process, so that its sockets, tasks, timers, threads and memory can be
counted afterwards. The URL itself contains what is expected of its record.
"""

import asyncio
import gc
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import children, measure
from benchmarks.clients import event_loop
from benchmarks.servers import hostile
from crawler import Check, ErrorKind, Limits, Outcome, Phase, Result, crawl
from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.settings import ConnectionSettings

ORIGINS = 200
CONCURRENCY = 100
TIMEOUT = 2.0  # seconds: long enough for all servers but those that stall
PATHS = ("fast path", "transport")
_SETTLE = 1.0  # seconds for the loop to close sockets
_EXAMPLES = 5  # of wrong records
_STEPS = 20  # samples of memory and sockets


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The expected record. `has_size`: its size is the one in the URL, else null."""

    outcome: Outcome = Outcome.RESPONDED
    status: int | None = 200
    has_size: bool = True
    error: ErrorKind | None = None
    phase: Phase | None = None
    hops: int = 0


def _error(kind: ErrorKind, phase: Phase, status: int | None = None) -> Expected:
    return Expected(outcome=Outcome.ERROR, status=status, has_size=False, error=kind, phase=phase)


# What a server does: how often in a thousand requests, and the expected record.
KINDS: dict[str, tuple[int, Expected]] = {
    "whole": (690, Expected()),
    "chunked": (60, Expected()),
    "pieces": (20, Expected()),
    "missing": (20, Expected(status=404)),
    "redirect": (20, Expected(hops=1)),
    "close": (40, Expected()),
    "unframed": (20, Expected()),
    "after": (40, Expected()),
    "surplus": (20, Expected()),
    "reset": (20, _error(ErrorKind.RESET, Phase.WAIT)),
    "cut": (10, _error(ErrorKind.RESET, Phase.DOWNLOAD, 200)),
    "short": (16, _error(ErrorKind.BODY_INCOMPLETE, Phase.DOWNLOAD, 200)),
    "silent": (10, _error(ErrorKind.DISCONNECTED, Phase.WAIT)),
    "garbage": (10, _error(ErrorKind.PROTOCOL, Phase.WAIT)),
    "stall": (2, _error(ErrorKind.TIMEOUT, Phase.WAIT)),
    "half": (2, _error(ErrorKind.TIMEOUT, Phase.DOWNLOAD, 200)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a process holds at one moment. `sockets` and `resident` (bytes) are None off Linux."""

    sockets: int | None
    tasks: int
    timers: int
    threads: int
    resident: int | None

    @classmethod
    def now(cls) -> "Resources":
        """Count the resources of this process and of the running event loop."""
        gc.collect()
        return cls(
            sockets=_sockets(),
            tasks=len(asyncio.all_tasks()),
            timers=_timers(),
            threads=threading.active_count(),
            resident=_resident(),
        )

    @property
    def open(self) -> tuple[int | None, int, int, int]:
        """The resources that must be released: all but memory."""
        return (self.sockets, self.tasks, self.timers, self.threads)


@dataclass(slots=True, kw_only=True)
class SoakResult:
    """The results over one of `PATHS`. `resident` are samples over the whole run, in bytes.

    `examples` are the first wrong records; `wrong_by_kind` counts all of them.
    """

    path: str
    requests: int
    before: Resources
    after: Resources
    elapsed: float = 0.0
    records: int = 0
    missing: int = 0
    duplicated: int = 0
    wrong_by_kind: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    by_error: Counter[str] = field(default_factory=Counter)
    resident: list[int] = field(default_factory=list)
    sockets: int = 0

    @property
    def growth(self) -> float | None:
        """Growth in megabytes from the first quarter of the run to its end, None if unknown."""
        if len(self.resident) < _STEPS:
            return None
        early = self.resident[len(self.resident) // 4]
        return (max(self.resident[-3:]) - early) / 1e6


class _OverTransport(DirectTransport):
    """The transport, which the fast path does not replace: it does so for that class alone."""


def run(
    requests: int, path: str, *, loop: str | None = None, seed: int = 1, origins: int = ORIGINS
) -> SoakResult:
    """Crawl `requests` URLs of misbehaving servers; the same `seed` makes the same URLs.

    `path` is one of `PATHS`, `loop` "asyncio" or "uvloop", by default that of the program.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if (loop or event_loop()) == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with TemporaryDirectory(prefix="crawl-benchmark-") as made:
        command = [sys.executable, hostile.__file__, str(origins)]
        with children.running(command, folder=Path(made), environ=measure.environ()) as server:
            assert server.stdout is not None
            ports = tuple(json.loads(server.stdout.readline()))
            with asyncio.Runner(loop_factory=factory) as runner:
                return runner.run(_soak(requests, path, seed, ports))


async def _soak(requests: int, path: str, seed: int, ports: tuple[int, ...]) -> SoakResult:
    before = Resources.now()
    soaked = SoakResult(path=path, requests=requests, before=before, after=before)
    transport = _OverTransport if path == "transport" else DirectTransport
    seen = bytearray(requests)
    begun = time.perf_counter()
    checks = crawl(
        urls(requests, seed, ports),
        limits=Limits(max=CONCURRENCY, per_host=CONCURRENCY, timeout=TIMEOUT, retries=0),
        repeat=True,  # no URL comes twice, and the memory of seen URLs is not under test
        transport=transport(ConnectionSettings(idle=CONCURRENCY)),
    )
    async with aclosing(checks):
        async for check in checks:
            _count_check(check, soaked, seen)
    soaked.elapsed = time.perf_counter() - begun
    soaked.missing = seen.count(0)
    until = time.perf_counter() + _SETTLE
    soaked.after = Resources.now()
    while soaked.after.open != before.open and time.perf_counter() < until:
        await asyncio.sleep(0.02)
        soaked.after = Resources.now()
    return soaked


def urls(requests: int, seed: int, ports: tuple[int, ...]) -> Iterator[str]:
    """Yield URLs of the form http://127.0.0.1:PORT/KIND/SIZE/NUMBER, kinds by their weights."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    names = list(KINDS)
    weights = [weight for weight, _ in KINDS.values()]
    for number in range(requests):
        (kind,) = chance.choices(names, weights)
        yield f"http://127.0.0.1:{chance.choice(ports)}/{kind}/{chance.randrange(1, 5000)}/{number}"


def _count_check(check: Check, soaked: SoakResult, seen: bytearray) -> None:
    """Count a check, and compare it with what its URL expects."""
    result = check.result
    kind, size, number = result.target.url.split("/")[3:]
    soaked.records += 1
    if seen[int(number)]:
        soaked.duplicated += 1
    seen[int(number)] = 1
    if result.attempt.error is not None:
        soaked.by_error[result.attempt.error.kind.value] += 1
    expected = KINDS[kind][1]
    if _actual(result) != _expected(expected, int(size)) or check.ok is not _passes(expected):
        soaked.wrong_by_kind[kind] += 1
        if len(soaked.examples) < _EXAMPLES:
            soaked.examples.append(
                f"{result.target.url}: {_actual(result)} ({result.attempt.error})"
            )
    if soaked.records % max(1, soaked.requests // _STEPS) == 0:
        soaked.sockets = max(soaked.sockets, _sockets() or 0)
        if (resident := _resident()) is not None:
            soaked.resident.append(resident)
        progress = f"soak, {soaked.path}: {soaked.records:,} of {soaked.requests:,}"
        print(progress, file=sys.stderr, flush=True)


def _actual(result: Result) -> tuple[object, ...]:
    error = result.attempt.error
    kind, phase = (error.kind, error.phase) if error else (None, None)
    hops = len(result.attempt.redirects)
    return (
        result.outcome,
        result.attempt.status,
        result.attempt.size,
        kind,
        phase,
        hops,
        result.attempts,
    )


def _expected(expected: Expected, size: int) -> tuple[object, ...]:
    length = size if expected.has_size else None
    what = (expected.outcome, expected.status, length)
    return (*what, expected.error, expected.phase, expected.hops, 1)


def _passes(expected: Expected) -> bool:
    return expected.error is None and expected.status == 200


def _timers() -> int:
    """Count the pending timers of all loops.

    Neither asyncio nor uvloop offers a count, but both have an object of this class for each.
    """
    held = [found for found in gc.get_objects() if type(found).__name__ == "TimerHandle"]
    return sum(not timer.cancelled() for timer in held)


def _sockets() -> int | None:
    count = 0
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return None
    for name in names:
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue  # the descriptor of the listing itself
    return count


def _resident() -> int | None:
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
