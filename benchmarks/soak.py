"""Very many requests to servers that misbehave, through the library door -> what is left over.

The crawl runs in this process, so that afterwards its sockets, tasks, timers, threads
and memory can be counted. What each URL has to come to is read off the URL.
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
TIMEOUT = 2.0  # seconds: long enough that only a server that stalls runs into it
_SETTLE = 1.0  # seconds in which the loop may finish closing sockets
_SHOWN = 5  # wrong records that are told of in full
_STEPS = 20  # readings of memory and sockets on the way


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a record must say. `sized` tells whether the size is the one in the URL."""

    outcome: Outcome = Outcome.RESPONDED
    status: int | None = 200
    sized: bool = True
    error: ErrorKind | None = None
    phase: Phase | None = None
    hops: int = 0


def _error(kind: ErrorKind, phase: Phase, status: int | None = None) -> Expected:
    return Expected(outcome=Outcome.ERROR, status=status, sized=False, error=kind, phase=phase)


# What a server does, how often in a thousand, and what has to come of it.
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
class Holdings:
    """What a process has at one moment. `sockets` and `resident` (bytes) are None off Linux."""

    sockets: int | None
    tasks: int
    timers: int
    threads: int
    resident: int | None

    @classmethod
    def now(cls) -> "Holdings":
        """Count; to be called in the loop whose tasks and timers are meant."""
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
        """All that has to be given back, whatever the memory does."""
        return (self.sockets, self.tasks, self.timers, self.threads)


@dataclass(slots=True, kw_only=True)
class Soaked:
    """What came of it. `resident` holds readings from the whole way, in bytes.

    `wrong` are the records that do not say what they must, the first few in full;
    `mistaken` counts them all by kind.
    """

    requests: int
    before: Holdings
    after: Holdings
    elapsed: float = 0.0
    records: int = 0
    missing: int = 0
    doubled: int = 0
    mistaken: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    by_error: Counter[str] = field(default_factory=Counter)
    resident: list[int] = field(default_factory=list)
    sockets: int = 0

    @property
    def growth(self) -> float | None:
        """Megabytes between the first quarter of the way and its end, None if not known."""
        if len(self.resident) < _STEPS:
            return None
        early = self.resident[len(self.resident) // 4]
        return (max(self.resident[-3:]) - early) / 1e6


def play(requests: int, *, seed: int = 1, origins: int = ORIGINS) -> Soaked:
    """Crawl `requests` URLs of servers that misbehave at random, the same for the same seed."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if event_loop() == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with TemporaryDirectory(prefix="crawl-benchmark-") as made:
        command = [sys.executable, hostile.__file__, str(origins)]
        with children.running(command, folder=Path(made), environ=measure.environ()) as server:
            assert server.stdout is not None
            ports = tuple(json.loads(server.stdout.readline()))
            with asyncio.Runner(loop_factory=factory) as runner:
                return runner.run(_soak(requests, seed, ports))


async def _soak(requests: int, seed: int, ports: tuple[int, ...]) -> Soaked:
    before = Holdings.now()
    soaked = Soaked(requests=requests, before=before, after=before)
    seen = bytearray(requests)
    begun = time.perf_counter()
    checks = crawl(
        urls(requests, seed, ports),
        limits=Limits(max=CONCURRENCY, per_host=CONCURRENCY, timeout=TIMEOUT, retries=0),
        repeat=True,  # no URL comes twice; remembering them all is not what is watched here
        transport=DirectTransport(ConnectionSettings(idle=CONCURRENCY)),
    )
    async with aclosing(checks):
        async for check in checks:
            _account(check, soaked, seen)
    soaked.elapsed = time.perf_counter() - begun
    soaked.missing = seen.count(0)
    until = time.perf_counter() + _SETTLE
    soaked.after = Holdings.now()
    while soaked.after.open != before.open and time.perf_counter() < until:
        await asyncio.sleep(0.02)
        soaked.after = Holdings.now()
    return soaked


def urls(requests: int, seed: int, ports: tuple[int, ...]) -> Iterator[str]:
    """Yield URLs of the form http://127.0.0.1:PORT/KIND/SIZE/NUMBER, kinds by their weights."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    names = list(KINDS)
    weights = [weight for weight, _ in KINDS.values()]
    for number in range(requests):
        (kind,) = chance.choices(names, weights)
        yield f"http://127.0.0.1:{chance.choice(ports)}/{kind}/{chance.randrange(1, 5000)}/{number}"


def _account(check: Check, soaked: Soaked, seen: bytearray) -> None:
    """Tick a record off, and hold it against what its URL says."""
    result = check.result
    kind, size, number = result.target.url.split("/")[3:]
    soaked.records += 1
    if seen[int(number)]:
        soaked.doubled += 1
    seen[int(number)] = 1
    if result.attempt.error is not None:
        soaked.by_error[result.attempt.error.kind.value] += 1
    expected = KINDS[kind][1]
    if _told(result) != _due(expected, int(size)) or check.ok is not _passes(expected):
        soaked.mistaken[kind] += 1
        if len(soaked.wrong) < _SHOWN:
            soaked.wrong.append(f"{result.target.url}: {_told(result)} ({result.attempt.error})")
    if soaked.records % max(1, soaked.requests // _STEPS) == 0:
        soaked.sockets = max(soaked.sockets, _sockets() or 0)
        if (resident := _resident()) is not None:
            soaked.resident.append(resident)
        done = f"soak: {soaked.records:,} of {soaked.requests:,}"
        print(done, file=sys.stderr, flush=True)


def _told(result: Result) -> tuple[object, ...]:
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


def _due(expected: Expected, size: int) -> tuple[object, ...]:
    length = size if expected.sized else None
    what = (expected.outcome, expected.status, length)
    return (*what, expected.error, expected.phase, expected.hops, 1)


def _passes(expected: Expected) -> bool:
    return expected.error is None and expected.status == 200


def _timers() -> int:
    """Count the timers that are to fire still, of any loop, by what the collector knows.

    Neither asyncio nor uvloop tells; both hold an object of this name for each.
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
