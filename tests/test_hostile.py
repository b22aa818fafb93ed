"""A bad server affects no neighbour. Each case is `ok, BAD, ok` on one origin."""

import asyncio
import gc
import re
import tracemalloc
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
import trustme
from hostile_cases import (
    CASES,
    MAX_BODY,
    TIMEOUT,
    TLS_CASES,
    Authorities,
    Case,
    Facts,
    TlsCase,
    bad,
    facts_of,
    good,
)
from loopback import Handler, Request, Server, delayed, endless, reply, silent
from paths import OverTransport

from crawler import ErrorKind, Limits, Phase, Result, crawl
from crawler.engine.transports import open_transport
from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.http1.poller import LoopPoller, best_poller
from crawler.engine.transports.settings import ConnectionSettings, Engine

WITHIN = 45.0  # seconds; far more than any of these runs needs
PATIENT = 30.0
BUFFER = 262_144  # the most that asyncio reads at once
MEMORY = 30_000_000


@dataclass(frozen=True, slots=True)
class Setup:
    """A transport, and the event loop it runs on.

    `fast`: plain attempts take the fast path, which `direct` alone has.
    """

    engine: Engine
    fast: bool = False
    uvloop: bool = False
    epoll: bool = True

    def __str__(self) -> str:
        path = "-fast" if self.fast else ""
        loop = "-on-uvloop" if self.uvloop else ""
        return f"{self.engine}{path}{loop}{'' if self.epoll else '-without-epoll'}"

    def open(self, *, cacert: Path | None = None) -> httpx.AsyncBaseTransport:
        named = None if cacert is None else str(cacert)
        connecting = ConnectionSettings(engine=self.engine, idle=50, cacert=named)
        if self.engine == Engine.NATIVE:
            # Plain HTTP too, although a run uses it for https only: most cases are plain.
            from crawler.engine.transports.reqwest import ReqwestTransport

            return ReqwestTransport(connecting)
        if self.engine == Engine.DIRECT:
            made = DirectTransport if self.fast else OverTransport
            return made(connecting, make_poller=best_poller if self.epoll else LoopPoller)
        return open_transport(connecting)


def needs(setup: Setup) -> list[pytest.MarkDecorator]:
    """Return the marks that skip a setup if an extra is missing."""
    modules = {Engine.NATIVE: "pyreqwest"}.get(setup.engine), "uvloop" if setup.uvloop else None
    missing = [name for name in modules if name is not None and find_spec(name) is None]
    return [pytest.mark.skipif(bool(missing), reason=f"{missing} missing: the extra fast has it")]


SETUPS = [
    *(Setup(engine) for engine in Engine),
    Setup(Engine.DIRECT, uvloop=True),
    Setup(Engine.DIRECT, epoll=False),
    Setup(Engine.DIRECT, fast=True),
    Setup(Engine.DIRECT, fast=True, uvloop=True),
    Setup(Engine.DIRECT, fast=True, epoll=False),
]
EACH_SETUP = pytest.mark.parametrize(
    "setup", [pytest.param(setup, id=str(setup), marks=needs(setup)) for setup in SETUPS]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """How a transport is known to differ from the expected facts, and why.

    `facts` are the wrong facts that it records for the bad response. `at_times`: it does so
    only sometimes; `mute`: its error lacks the hint that the case requires.
    """

    why: str
    facts: Facts | None = None
    at_times: bool = False
    mute: bool = False


_WAITS = "h11 checks nothing before the head has ended, so a text banner is not an error yet"
_FLOOD = Known(
    why="httpcore reads interim responses without end, and blocks everything else",
    facts=bad(ErrorKind.TIMEOUT, ANY),
    at_times=True,
)

_NATIVE_FLOOD = Known(
    why="hyper reads interim responses without end",
    facts=bad(ErrorKind.TIMEOUT, ANY),
    at_times=True,
)
_NATIVE_MUTE = Known(why="hyper does not report the bytes it refused", mute=True)
_NATIVE_STRICT = Known(
    why="hyper refuses control characters in a header", facts=bad(ErrorKind.PROTOCOL, Phase.WAIT)
)

_NATIVE_NO_HEAD = Known(
    why="hyper drops a head that is followed by a bad TLS record",
    facts=bad(ErrorKind.PROTOCOL, Phase.WAIT),
)

KNOWN: dict[tuple[str, str], Known] = {
    ("httpx", "flood-of-100s"): _FLOOD,
    ("httpx", "flood-of-103s"): _FLOOD,
    ("httpx", "chunks-with-bare-line-feeds"): Known(
        why="h11 waits for CR LF", facts=bad(ErrorKind.TIMEOUT, Phase.DOWNLOAD, 200)
    ),
    ("native", "chunks-with-bare-line-feeds"): Known(
        why="hyper requires CR LF", facts=bad(ErrorKind.PROTOCOL, Phase.DOWNLOAD, 200)
    ),
    ("httpx", "ssh-banner"): Known(why=_WAITS, facts=bad(ErrorKind.TIMEOUT, Phase.WAIT)),
    ("httpx", "smtp-banner"): Known(why=_WAITS, facts=bad(ErrorKind.TIMEOUT, Phase.WAIT)),
    ("httpx", "ssh-banner-and-end"): Known(
        why=_WAITS, facts=bad(ErrorKind.DISCONNECTED, Phase.WAIT)
    ),
    ("httpx", "http-0.9"): Known(why=_WAITS, facts=bad(ErrorKind.DISCONNECTED, Phase.WAIT)),
    ("native", "flood-of-100s"): _NATIVE_FLOOD,
    ("native", "flood-of-103s"): _NATIVE_FLOOD,
    ("native", "endless-chunk-size"): Known(
        why="hyper reads leading zeros without end",
        facts=bad(ErrorKind.TIMEOUT, ANY, ANY),
        at_times=True,
    ),
    ("native", "tls-alert"): _NATIVE_MUTE,
    ("native", "tls-alert-held-open"): _NATIVE_MUTE,
    ("native", "bad-record-after-the-head"): _NATIVE_NO_HEAD,
    ("native", "bad-record-inside-the-body"): _NATIVE_NO_HEAD,
    ("native", "bad-record-after-the-whole-response"): _NATIVE_NO_HEAD,
    ("native", "bad-record-inside-the-head"): _NATIVE_NO_HEAD,
    ("native", "plain-text-after-the-head"): Known(
        why="hyper drops a head that is followed by a bad TLS record",
        facts=bad(ErrorKind.TLS_HANDSHAKE, Phase.TLS),
    ),
    ("native", "redirect-with-a-control-character"): _NATIVE_STRICT,
    ("native", "redirect-with-an-escape"): _NATIVE_STRICT,
    ("native", "redirect-with-del"): _NATIVE_STRICT,
    ("native", "redirect-in-utf-8"): Known(
        why="pyreqwest cannot return a header that is not ASCII",
        facts=bad(ErrorKind.BAD_REDIRECT, None, 302),
    ),
    ("native", "reset-in-the-handshake"): Known(
        why="reqwest does not report phases", facts=bad(ErrorKind.RESET, ANY)
    ),
    ("native", "silence-in-the-handshake"): Known(
        why="reqwest does not report phases", facts=bad(ErrorKind.TIMEOUT, ANY)
    ),
}


def known(setup: Setup, case: Case | TlsCase) -> Known:
    return KNOWN.get((setup.engine, case.id), Known(why="it does not differ"))


def runs_alone(setup: Setup, case: Case) -> bool:
    """Whether a case cannot run with others: it is watched, or would disturb them."""
    differs = known(setup, case)
    return case.endless or case.method != "GET" or differs.at_times


# These mostly wait, so they run concurrently, each in a crawl of its own.
LASTING = [case for case in CASES if case.lasts and not case.endless]


@pytest.mark.parametrize("case", [c for c in CASES if c not in LASTING], ids=lambda case: case.id)
@EACH_SETUP
def test_a_bad_response_and_its_neighbours_are_recorded_correctly(setup: Setup, case: Case) -> None:
    with Server(mounted(case)) as server, memory_watched(case):
        [results] = run(setup, sandwiched(server, setup, [case], times=1, concurrency=1))
    assert_right_alone(setup, case, results)


@EACH_SETUP
def test_a_response_that_lasts_until_the_timeout_and_its_neighbours_are_recorded_correctly(
    setup: Setup,
) -> None:
    with Server(mounted(*LASTING)) as server:
        # With many at once it takes a while to reach the phase that a case is about.
        within = 2 * TIMEOUT
        crawls = (
            sandwiched(server, setup, [case], times=1, concurrency=1, within=within)
            for case in LASTING
        )
        runs = run(setup, *crawls)
    for case, results in zip(LASTING, runs, strict=True):
        assert_right_alone(setup, case, results)


@pytest.mark.parametrize("lasting", [False, True], ids=["ending", "lasting"])
@EACH_SETUP
def test_bad_responses_of_all_kinds_at_once_are_recorded_correctly(
    setup: Setup, lasting: bool
) -> None:
    cases = [c for c in CASES if c.lasts == lasting and not runs_alone(setup, c)]
    with Server(mounted(*cases)) as server:
        within = 3 * TIMEOUT  # as above
        crawl = sandwiched(server, setup, cases, times=2, concurrency=50, within=within)
        [results] = run(setup, crawl)

    recorded = zip(cases * 2, map(facts_of, results[1::3]), strict=True)
    assert [(c.id, facts) for c, facts in recorded if facts not in possible(setup, c)] == []
    assert [r for r in results[0::3] + results[2::3] if not is_right(r)] == []


@pytest.mark.parametrize(
    ("setup", "case"),
    [
        pytest.param(setup, case, id=f"{setup}-{case.id}", marks=needs(setup))
        for setup in SETUPS
        for case in CASES
        if runs_alone(setup, case)
    ],
)
def test_many_bad_responses_of_one_kind_are_recorded_correctly(setup: Setup, case: Case) -> None:
    differs = known(setup, case)
    times = 3 if case.lasts else 6 if case.endless else 20
    with Server(mounted(case)) as server, memory_watched(case):
        [results] = run(setup, sandwiched(server, setup, [case], times=times, concurrency=50))

    if not differs.at_times:
        recorded = map(facts_of, results[1::3])
        assert [facts for facts in recorded if facts not in possible(setup, case)] == []
        neighbours = results[0::3] + results[2::3]
        assert [r for r in neighbours if not is_right(r, case.method)] == []


@pytest.mark.parametrize("case", TLS_CASES, ids=lambda case: case.id)
@EACH_SETUP
def test_a_bad_tls_server_and_its_neighbours_are_recorded_correctly(
    setup: Setup, case: TlsCase, tls_server: Server, ca: trustme.CA, ca_file: Path
) -> None:
    tls_server.on("/ok", respond_ok)
    with case.serve(Authorities(ca)) as server:
        urls = sandwiches(tls_server, [server.url("/bad")], 1)
        limits = bounds(1, timeout=TIMEOUT if case.lasts else PATIENT)
        [[before, bad, after]] = run(setup, crawled(urls, setup.open(cacert=ca_file), limits))

    differs = known(setup, case)
    assert facts_of(bad) == (differs.facts or case.facts)
    assert_sound(bad, "" if differs.facts else case.hint)
    assert [is_right(before), is_right(after)] == [True, True]


@EACH_SETUP
def test_bad_tls_servers_of_all_kinds_at_once_are_recorded_correctly(
    setup: Setup, tls_server: Server, ca: trustme.CA, ca_file: Path
) -> None:
    tls_server.on("/ok", respond_ok)
    authorities = Authorities(ca)
    with ExitStack() as open_servers:
        servers = [open_servers.enter_context(case.serve(authorities)) for case in TLS_CASES]
        urls = sandwiches(tls_server, [server.url("/bad") for server in servers], 3)
        # Many handshakes at once take a while.
        wire, limits = setup.open(cacert=ca_file), bounds(50, timeout=3 * TIMEOUT)
        [results] = run(setup, crawled(urls, wire, limits))

    recorded = zip(TLS_CASES * 3, map(facts_of, results[1::3]), strict=True)
    assert [(c.id, facts) for c, facts in recorded if facts not in possible(setup, c)] == []
    assert [r for r in results[0::3] + results[2::3] if not is_right(r)] == []


@EACH_SETUP
def test_the_wait_for_a_free_slot_is_neither_latency_nor_timeout(setup: Setup) -> None:
    with Server({"/slow": delayed(0.1, reply(200, b"slow"))}) as server:
        urls = [server.url(f"/slow?{number}") for number in range(10)]
        wire = setup.open()
        [results] = run(setup, crawled(urls, wire, bounds(1, timeout=0.7)))

    assert [facts_of(result) for result in results] == [good(4)] * 10
    assert sum(latency(result) for result in results) / 10 < 0.4


@EACH_SETUP
def test_no_more_requests_are_in_flight_than_allowed(setup: Setup) -> None:
    with Server({"/slow": delayed(0.1, reply(200, b"slow"))}) as server:
        urls = [server.url(f"/slow?{number}") for number in range(40)]
        wire = setup.open()
        run(setup, crawled(urls, wire, bounds(7, timeout=PATIENT)))

        assert server.busiest == 7
        assert server.counts["/slow"] == 40


@EACH_SETUP
def test_good_connections_are_reused(setup: Setup) -> None:
    with Server({"/ok": respond_ok}) as server:
        urls = [server.url(f"/ok?{number}") for number in range(20)]
        wire = setup.open()
        run(setup, crawled(urls, wire, bounds(1, timeout=PATIENT)))

        # native keeps no connection to an origin before its second request, httpx keeps none.
        assert server.connections == {Engine.NATIVE: 2, Engine.HTTPX: 20}.get(setup.engine, 1)


@EACH_SETUP
def test_a_timeout_applies_even_if_bytes_keep_coming(setup: Setup) -> None:
    dripping = endless(b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n", b"x", gap=0.01)
    with Server({"/dripping": dripping}) as server:
        urls = [server.url(f"/dripping?{number}") for number in range(40)]
        [results] = run(setup, crawled(urls, setup.open(), bounds(40, timeout=2 * TIMEOUT)))

    expected = bad(ErrorKind.TIMEOUT, Phase.DOWNLOAD, 200)
    assert [facts_of(result) for result in results] == [expected] * 40


@EACH_SETUP
def test_a_request_that_timed_out_is_cancelled(setup: Setup) -> None:
    with Server({"/silent": silent()}) as server:
        urls = [server.url(f"/silent?{number}") for number in range(3)]
        wire = setup.open()
        [results] = run(setup, crawled(urls, wire, bounds(3, timeout=TIMEOUT)))

        assert [result.attempt.error and result.attempt.error.kind for result in results] == [
            ErrorKind.TIMEOUT
        ] * 3
        assert server.idle_within(5.0)


def test_every_known_difference_belongs_to_a_case() -> None:
    ids = {case.id for case in CASES} | {case.id for case in TLS_CASES}
    assert set(KNOWN) <= {(engine, case_id) for engine in Engine for case_id in ids}


def test_case_names_are_unique() -> None:
    ids = [case.id for case in CASES] + [case.id for case in TLS_CASES]
    assert sorted(set(ids)) == sorted(ids)


async def respond_ok(
    request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Respond with as many bytes as the query says: no two neighbours are equal."""
    await reply(200, b"x" * int(request.query))(request, reader, writer)


def possible(setup: Setup, case: Case | TlsCase) -> list[Facts]:
    """Return the facts that a bad response may get among many others.

    There it is chance which connections are reused, and so are differences that depend on it.
    """
    facts = known(setup, case).facts
    return [case.facts] if facts is None else [case.facts, facts]


def mounted(*cases: Case) -> dict[str, Handler]:
    """Return the handlers of each case below a path of its own, and those of the neighbours."""
    handlers: dict[str, Handler] = {"/ok": respond_ok}
    for case in cases:
        handlers |= {f"/{case.id}{path}": handler for path, handler in case.handlers.items()}
    return handlers


def sandwiches(server: Server, fillings: Sequence[str], times: int) -> list[str]:
    """Return `ok, BAD, ok` for each bad URL, all of it several times; no URL occurs twice."""
    urls = []
    for number, filling in enumerate(list(fillings) * times):
        size = 100 + 2 * number
        urls += [server.url(f"/ok?{size}"), f"{filling}?{number}", server.url(f"/ok?{size + 1}")]
    return urls


async def sandwiched(
    server: Server,
    setup: Setup,
    cases: Sequence[Case],
    *,
    times: int,
    concurrency: int,
    within: float = TIMEOUT,
) -> list[Result]:
    """Return the results of the sandwiches of `cases`, in the order of the list.

    `within` is the timeout of cases that last until it.
    """
    urls = sandwiches(server, [server.url(f"/{case.id}/bad") for case in cases], times)
    limits = bounds(concurrency, timeout=within if cases[0].lasts else PATIENT)
    results = await crawled(urls, setup.open(), limits, cases[0].method)
    assert [
        r for r in results if r.attempt.truncated and not MAX_BODY < size(r) <= MAX_BODY + BUFFER
    ] == []
    return results


async def crawled(
    urls: Sequence[str], transport: httpx.AsyncBaseTransport, limits: Limits, method: str = "GET"
) -> list[Result]:
    """Return one result for each URL, in their order."""
    checks = crawl(urls, limits=limits, transport=transport, method=method)
    async with asyncio.timeout(WITHIN):
        results = [check.result async for check in checks]
    results.sort(key=lambda result: result.target.index)
    assert [result.target.input for result in results] == list(urls)
    return results


def run(setup: Setup, *crawls: Coroutine[Any, Any, list[Result]]) -> list[list[Result]]:
    """Run crawls concurrently; afterwards nothing may be running, and no error be reported."""

    async def main() -> list[list[Result]]:
        reported: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(context))
        results = await asyncio.gather(*crawls)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        gc.collect()  # reports exceptions of tasks that were never awaited
        await asyncio.sleep(0)
        assert reported == []
        return results

    gc.freeze()  # older objects need not be searched
    try:
        new_loop = import_module("uvloop").new_event_loop if setup.uvloop else None
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(main())
    finally:
        gc.unfreeze()


def bounds(concurrency: int, *, timeout: float) -> Limits:
    return Limits(
        max=concurrency, per_host=concurrency, timeout=timeout, retries=0, max_body=MAX_BODY
    )


@contextmanager
def memory_watched(case: Case) -> Iterator[None]:
    """Fail if memory grows during a case that sends without end."""
    if not case.endless:
        yield
        return
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY


def assert_right_alone(setup: Setup, case: Case, results: list[Result]) -> None:
    """Check one sandwich at concurrency 1, where known differences show each time."""
    before, bad, after = results
    differs = known(setup, case)
    assert (case.id, facts_of(bad)) == (case.id, differs.facts or case.facts)
    assert_sound(bad, "" if differs.facts or differs.mute else case.hint)
    if not differs.at_times:
        neighbours = [is_right(before, case.method), is_right(after, case.method)]
        assert (case.id, neighbours) == (case.id, [True, True])


def is_right(result: Result, method: str = "GET") -> bool:
    """Whether a neighbour's record is that of its own response."""
    length = int(result.target.url.partition("?")[2])
    expected = good(0 if method == "HEAD" else length)
    return facts_of(result) == expected and result.attempt.content_length == length


def assert_sound(result: Result, hint: str) -> None:
    """Check that an error is described in words, on one line, with the hint of its case."""
    if result.attempt.error is not None:
        detail = result.attempt.error.detail
        assert " " in detail.strip(), "a detail is more than the name of a class"
        assert detail.isprintable()
        assert re.search(hint, detail, re.IGNORECASE)


def latency(result: Result) -> float:
    assert result.attempt.latency is not None
    return result.attempt.latency


def size(result: Result) -> int:
    assert result.attempt.size is not None
    return result.attempt.size
