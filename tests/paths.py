"""The two paths of a plain attempt: the callbacks of the fast path, and httpx's interface."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from loops import Loop

from crawler import Limits, Result, crawl
from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.resolve import Addresses, Resolver
from crawler.engine.transports.settings import ConnectionSettings
from crawler.models import Attempt, Timings

WITHIN = 60.0  # seconds; far more than any of these runs needs
_TRIES = 4
_TIMES = ("latency", "ttfb", "timestamp")
_PHASES = tuple(one.name for one in fields(Timings))
_USUAL = ConnectionSettings()


class OverTransport(DirectTransport):
    """A `DirectTransport` that is reached through httpx's interface only.

    The fast path takes the place of that class alone, not of a subclass, which may differ.
    """


class Path(Enum):
    """What drives the connections of `direct`: the transports that lead a run over it."""

    FAST = DirectTransport
    TRANSPORT = OverTransport


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The settings of a run on which its records must not depend on the path.

    `names` looks a name up; it may block, and raise OSError.
    """

    limits: Limits
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    settings: ConnectionSettings = _USUAL
    names: Callable[[str], Addresses] | None = None


async def over(path: Path, loop: Loop, urls: Iterable[str], way: Way) -> list[Result]:
    """Return the result of each URL, in their order; nothing may be left of the run."""
    resolver = None if way.names is None else Resolver(8, way.names)
    transport = path.value(way.settings, resolver, make_poller=loop.poller)
    checks = crawl(
        urls,
        limits=way.limits,
        method=way.method,
        headers=way.headers,
        repeat=True,
        transport=transport,
    )
    async with asyncio.timeout(WITHIN):
        results = [check.result async for check in checks]
    return sorted(results, key=lambda one: one.target.index)


def facts(result: Result, *, alone: bool = True) -> dict[str, Any]:
    """Return what must be equal on both paths; of times that is only whether they are known.

    Not `alone`, it is chance which connections are used again, so what the first request on
    one takes is left out.
    """
    shown = {"outcome": result.outcome, "flaky": result.flaky, "hedged": result.hedged}
    attempts = (*result.earlier, result.attempt)
    return shown | {"attempts": [_of_attempt(one, alone=alone) for one in attempts]}


def _of_attempt(attempt: Attempt, *, alone: bool) -> dict[str, Any]:
    shown = {one.name: getattr(attempt, one.name) for one in fields(attempt)}
    shown |= {name: shown[name] is not None for name in _TIMES}
    timings = shown.pop("timings")
    phases = _PHASES if alone else ("wait", "download")
    shown["timings"] = [name for name in phases if getattr(timings, name) is not None]
    if attempt.truncated:
        assert attempt.size is not None
        shown["size"] = "what was read of it"  # it depends on the reads
    if attempt.retry_after is not None:
        shown["retry_after"] = round(attempt.retry_after / 3600)  # a date is ever nearer
    return shown


def differences(fast: Sequence[dict[str, Any]], slow: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Return a line for each pair that differs, by its number."""
    pairs = enumerate(zip(fast, slow, strict=True))
    return {at: f"fast {one}\nslow {other}" for at, (one, other) in pairs if one != other}


def assert_agree(make: Callable[[Path], Any]) -> Any:
    """Check that what `make` returns for each path is the same; return it.

    A server that closes or resets a connection races with the client on either path, so
    each gets some tries.
    """
    for _ in range(_TRIES):
        fast, slow = make(Path.FAST), make(Path.TRANSPORT)
        if fast == slow:
            return fast
    assert fast == slow
    return fast
