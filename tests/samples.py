"""Sample targets, results and checks, and fakes for the seams: a fetch, a list, a stream."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from hypothesis import settings

from crawler.core.expect import judge
from crawler.core.summary import CrawlStats, Summary, Tally
from crawler.models import (
    Attempt,
    Check,
    ErrorKind,
    Expectation,
    Failure,
    Hop,
    Outcome,
    Phase,
    Result,
    Target,
    Timings,
)
from crawler.report.streams import Stream

T = TypeVar("T")

steady = settings(deadline=None, derandomize=True)
"""The same examples in each run, without a time limit, as the machine may be busy."""

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z

PHASES: dict[ErrorKind, Phase | None] = {
    ErrorKind.INVALID_URL: None,
    ErrorKind.BLOCKED: Phase.CONNECT,
    ErrorKind.DNS_NOT_FOUND: Phase.DNS,
    ErrorKind.DNS_TEMPORARY: Phase.DNS,
    ErrorKind.CONNECT_REFUSED: Phase.CONNECT,
    ErrorKind.UNREACHABLE: Phase.CONNECT,
    ErrorKind.TIMEOUT: Phase.WAIT,
    ErrorKind.TLS_EXPIRED: Phase.TLS,
    ErrorKind.TLS_NOT_YET_VALID: Phase.TLS,
    ErrorKind.TLS_HOSTNAME: Phase.TLS,
    ErrorKind.TLS_UNTRUSTED: Phase.TLS,
    ErrorKind.TLS_HANDSHAKE: Phase.TLS,
    ErrorKind.RESET: Phase.WAIT,
    ErrorKind.DISCONNECTED: Phase.WAIT,
    ErrorKind.PROTOCOL: Phase.WAIT,
    ErrorKind.BODY_INCOMPLETE: Phase.DOWNLOAD,
    ErrorKind.DECODE: Phase.DOWNLOAD,
    ErrorKind.TOO_MANY_REDIRECTS: None,
    ErrorKind.REDIRECT_LOOP: None,
    ErrorKind.BAD_REDIRECT: None,
    ErrorKind.LOCAL_RESOURCE: Phase.CONNECT,
    ErrorKind.INTERNAL: None,
}
"""The phase of each error kind in these samples."""


def target(index: int = 0, **fields: Any) -> Target:
    """Return a target; its host is that of `url` unless given."""
    url = fields.pop("url", f"https://host.example/{index}")
    known: dict[str, Any] = {
        "source": "urls.txt",
        "line": index + 1,
        "input": url,
        "host": url.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0],
        "expectation": Expectation(),
        "method": "GET",
    }
    return Target(index=index, url=url, **(known | fields))


def on(host: str, index: int = 0) -> Target:
    """Return a target on a host."""
    return target(index, url=f"https://{host}/{index}")


def many(count: int, hosts: int = 10) -> list[Target]:
    """Return `count` targets on `hosts` hosts in turn."""
    return [on(f"host{index % hosts}.example", index) for index in range(count)]


def indices(checks: Iterable[Check]) -> list[int]:
    """Return the indices of checks, sorted."""
    return sorted(one.result.target.index for one in checks)


def result(of: Target, outcome: Outcome, fields: dict[str, Any]) -> Result:
    """Return a result; `fields` are those of the result and its attempt, `retried` are `Try`s."""
    if "retried" in fields:
        fields["earlier"] = tried(*fields.pop("retried"))
    history = {
        name: fields.pop(name) for name in ("queue", "earlier", "flaky", "hedged") if name in fields
    }
    attempt = Attempt(method=of.method, **fields)
    return Result(
        target=of, outcome=outcome, attempt=attempt, timestamp=attempt.timestamp, **history
    )


def result_of(of: Target, attempt: Attempt) -> Result:
    """Return the result of a target with only this attempt."""
    outcome = Outcome.RESPONDED if attempt.error is None else Outcome.ERROR
    return Result(target=of, outcome=outcome, attempt=attempt, timestamp=attempt.timestamp)


class Try(NamedTuple):
    """The facts of an earlier attempt in a record."""

    method: str
    kind: ErrorKind | None = None
    status: int | None = None


def tried(*tries: Try) -> tuple[Attempt, ...]:
    """Return earlier attempts with these facts."""
    return tuple(
        Attempt(
            method=one.method,
            status=one.status,
            error=None
            if one.kind is None
            else Failure(kind=one.kind, phase=None, detail="it failed"),
        )
        for one in tries
    )


def tries(of: Result) -> tuple[Try, ...]:
    """Return the facts of the earlier attempts of a result."""
    return tuple(
        Try(one.method, one.error.kind) if one.error else Try(one.method, None, one.status)
        for one in of.earlier
    )


def responded(of: Target | None = None, **fields: Any) -> Result:
    """Return a successful response with all fields known."""
    of = of or target()
    known: dict[str, Any] = {
        "status": 200,
        "size": 1256,
        "queue": 0.002,
        "latency": 0.25,
        "ttfb": 0.125,
        "timings": Timings(dns=0.01, connect=0.02, tls=0.03, wait=0.04, download=0.05),
        "redirects": (),
        "final_url": of.url,
        "http_version": "HTTP/1.1",
        "remote_ip": "192.0.2.1",
        "content_type": "text/html",
        "content_length": 1256,
        "timestamp": NOON,
    }
    return result(of, Outcome.RESPONDED, known | fields)


def failed(kind: ErrorKind, of: Target | None = None, **fields: Any) -> Result:
    """Return the result of an attempt that ended in an error of this kind."""
    error = Failure(kind=kind, phase=PHASES[kind], detail=f"it ended in {kind.value}")
    known: dict[str, Any] = {
        "queue": 0.002,
        "latency": 0.5,
        "timings": Timings(connect=0.02),
        "error": error,
        "timestamp": NOON,
    }
    return result(of or target(), Outcome.ERROR, known | fields)


def invalid(of: Target | None = None) -> Result:
    """Return the result of an invalid entry."""
    of = of or target(url="ftp://host.example/", host="")
    detail = f"urls.txt, line {of.line}: '{of.url}' is not an http:// or https:// URL"
    error = Failure(kind=ErrorKind.INVALID_URL, phase=None, detail=detail)
    return Result(target=of, outcome=Outcome.INVALID, attempt=Attempt(error=error))


def unreached(of: Target | None = None) -> Result:
    """Return the result of a target that was not requested before the end."""
    return Result(target=of or target(), outcome=Outcome.UNREACHED)


def check(result: Result) -> Check:
    """Return the check of a result, as a crawl makes it."""
    return Check(result=result, verdict=judge(result))


def hops(*urls: str) -> tuple[Hop, ...]:
    return tuple(Hop(url=url, status=301) for url in urls)


PASSED, FAILED, INVALID, UNREACHED = (
    check(responded()),
    check(responded(status=404)),
    check(invalid()),
    check(unreached()),
)

BY_OUTCOME: dict[Outcome, Check] = {
    Outcome.RESPONDED: check(responded()),
    Outcome.ERROR: check(failed(ErrorKind.TIMEOUT)),
    Outcome.INVALID: check(invalid()),
    Outcome.UNREACHED: check(unreached()),
}
"""One check for every outcome."""

BY_KIND: dict[ErrorKind, Check] = {
    kind: check(invalid() if kind is ErrorKind.INVALID_URL else failed(kind)) for kind in ErrorKind
}
"""One check for every error kind."""

EVERY: dict[str, Check] = {
    **{f"outcome {outcome.value}": one for outcome, one in BY_OUTCOME.items()},
    **{f"error {kind.value}": one for kind, one in BY_KIND.items()},
    "status 404": check(responded(status=404)),
}
"""A check for every outcome and every error kind, and a response that fails."""


def in_a_row(checks: Iterable[Check]) -> list[Check]:
    """Return checks as those of one list, each with its own index."""
    return [
        replace(one, result=replace(one.result, target=replace(one.result.target, index=index)))
        for index, one in enumerate(checks)
    ]


def summary(*checks: Check, stats: CrawlStats | None = None) -> Summary:
    """Return the summary of these checks; by default of a crawl of two seconds."""
    tally = Tally()
    for one in checks:
        tally.count_check(one)
    return tally.summary(stats or CrawlStats(elapsed=2.0))


class Gate:
    """A fetch that responds when the test lets it, and records its targets.

    With `shut` false it responds after `turns` turns of the event loop.
    """

    def __init__(
        self,
        *,
        shut: bool = True,
        turns: int = 1,
        respond: Callable[[Target], Result] = responded,
    ) -> None:
        self.started: list[Target] = []
        self.finished: list[Target] = []
        self.live: Counter[str] = Counter()
        self.most = 0
        self.most_on_a_host = 0
        self.most_tasks = 0
        self._shut = shut
        self._turns = turns
        self.respond = respond
        self._released: dict[int, asyncio.Event] = {}

    async def __call__(self, of: Target, _gate: object = None) -> Attempt:
        self.started.append(of)
        self.live[of.host] += 1
        self.most = max(self.most, self.live.total())
        self.most_on_a_host = max(self.most_on_a_host, self.live[of.host])
        self.most_tasks = max(self.most_tasks, len(asyncio.all_tasks()))
        try:
            if self._shut:
                await self._released.setdefault(of.index, asyncio.Event()).wait()
            await settle(self._turns)
            attempt = self.respond(of).attempt
            self.finished.append(of)
            return attempt
        finally:
            self.live[of.host] -= 1

    def release(self, *targets: Target) -> None:
        """Let the fetches of these targets respond."""
        for one in targets:
            self._released.setdefault(one.index, asyncio.Event()).set()

    def open(self) -> None:
        """Respond to everything that waits, and to all later requests."""
        self._shut = False
        for released in self._released.values():
            released.set()


async def listed(
    entries: Iterable[Target | Result],
) -> AsyncGenerator[Target | Result, None]:
    """Yield entries as the reader of a list does."""
    for entry in entries:
        yield entry


async def settle(turns: int = 200) -> None:
    """Let every task run until it waits; in a turn of the loop each one makes a step."""
    for _ in range(turns):
        await asyncio.sleep(0)


def run(body: Coroutine[Any, Any, T]) -> T:
    """Run the body of an async test; one that hangs fails after a while."""

    async def bounded() -> T:
        async with asyncio.timeout(30):
            return await body

    return asyncio.run(bounded())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the size of files to `size` bytes for the duration, as on a full disk."""
    import resource  # not at the top: only tests that need it fail on Windows

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class Recorder(Stream):
    """A stream that keeps all text written to it."""

    def __init__(self, name: str = "recorder") -> None:
        super().__init__(name, -1)
        self.writes: list[str] = []
        self.closed = False

    @property
    def text(self) -> str:
        return "".join(self.writes)

    def write(self, text: str) -> None:
        assert not self.closed
        self.writes.append(text)

    def close(self) -> None:
        self.closed = True
