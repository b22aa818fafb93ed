"""The policies of a careful crawl, as a server that counts sees them and as a user reads them."""

import asyncio
import json
import re
import signal
import socket
import stat
import subprocess
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from loopback import (
    Handler,
    Request,
    Server,
    delayed,
    raw,
    redirect,
    refusing_port,
    reply,
    resets,
    silent,
)
from samples import run as ran_async
from shell import (
    Ended,
    bound,
    complaint,
    crawl,
    records,
    script,
    started,
    wait_until,
    write,
)

from crawler import Check, Expectation, Limits
from crawler import crawl as crawl_urls
from crawler.cli.command import main
from crawler.core import expect
from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.resolve import Address, Addresses, Resolver
from crawler.engine.transports.settings import ConnectionSettings

T = TypeVar("T")
SECRET = "hunter2"
NEAR, FAR = "127.0.0.1", "127.0.0.2"
BLINK = 0.02
"""Seconds after which a request counts as under way: by then a server has seen what was cut off."""


class Arrival(NamedTuple):
    at: float
    host: str
    target: str


class Log:
    """Notes when each request came, to which host, and how many were under way there at once."""

    def __init__(self) -> None:
        self.came: list[Arrival] = []
        self.busiest: Counter[str] = Counter()
        self._live: Counter[str] = Counter()

    def around(self, then: Handler) -> Handler:
        async def handler(
            request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            host = (request.header("host") or "").partition(":")[0]
            self.came.append(Arrival(time.monotonic(), host, request.target))
            await asyncio.sleep(BLINK)
            self._live[host] += 1
            self.busiest[host] = max(self.busiest[host], self._live[host])
            try:
                await then(request, reader, writer)
            finally:
                self._live[host] -= 1

        return handler

    def on(self, host: str) -> list[Arrival]:
        return [one for one in self.came if one.host == host]


def within(arrivals: Sequence[Arrival], seconds: float, start: int = 0) -> int:
    """Return how many came in so many seconds from the one at `start` on."""
    first = arrivals[start].at
    return sum(first <= one.at < first + seconds for one in arrivals)


@contextmanager
def sites(*more: str) -> Iterator[Server]:
    """Run a server that answers on more addresses of this machine, each a host of its own."""
    with Server() as server:
        loop = server._loop
        assert loop is not None

        async def listen() -> list[asyncio.Server]:
            return [
                await asyncio.start_server(server._connected, host, server.port, backlog=1024)
                for host in more
            ]

        async def shut(listening: Iterable[asyncio.Server]) -> None:
            for one in listening:
                one.close()

        listening = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(shut(listening), loop).result(10)


def takes(seconds: float, then: Handler | None = None) -> Handler:
    """Return a handler that answers after a while, unless the client has gone by then."""

    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with asyncio.timeout(seconds):
                await reader.read(1)
        except TimeoutError:
            await (then or reply())(request, reader, writer)
        else:
            writer.close()

    return handler


def in_turn(*answers: Handler) -> Handler:
    """Return a handler that answers the nth request of a URL in the nth way, or the last."""
    asked: Counter[tuple[str | None, str]] = Counter()

    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        url = request.header("host"), request.target
        asked[url] += 1
        await answers[min(asked[url], len(answers)) - 1](request, reader, writer)

    return handler


def at_once(*works: Callable[[], T]) -> list[T]:
    """Do all of them side by side; return what they returned."""
    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(work) for work in works]]


Scenario = Callable[[Path], Any]
WAITING: list[Scenario] = []


def waiting(scenario: Scenario) -> Scenario:
    """Mark what takes seconds in which this machine has nothing to do."""
    WAITING.append(scenario)
    return scenario


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Scenario], Any]]:
    """What a scenario has returned; some at a time wait together, as starting costs a core."""
    with ThreadPoolExecutor(4) as pool:
        futures = {
            scenario: pool.submit(scenario, tmp_path_factory.mktemp("scenario"))
            for scenario in WAITING
        }
        yield lambda scenario: futures[scenario].result()


Seen = Callable[[Scenario], Any]


def timed(*args: str | Path, text: str | None = None, **options: Any) -> tuple[Ended, float]:
    start = time.monotonic()
    ended = crawl(*args, text=text, **options)
    return ended, time.monotonic() - start


def document(ended: Ended) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def in_order(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda record: record["index"])


def numbered(url: str, count: int) -> list[str]:
    return [f"{url}?{number}" for number in range(count)]


def lines(*urls: str) -> str:
    return "".join(f"{url}\n" for url in urls)


# At once


@waiting
def crowded(_: Path) -> dict[str, tuple[Log, Ended]]:
    def with_options(answer: Handler, *options: str) -> tuple[Log, Ended]:
        log = Log()
        with sites(FAR) as server:
            server.on("/page", log.around(answer))
            near, far = (server.url("/page", host=host) for host in (NEAR, FAR))
            pairs = zip(numbered(near, 40), numbered(far, 40), strict=True)
            text = lines(*(url for pair in pairs for url in pair))
            ended = crawl("--max", "20", "--per-host", "3", "--json", *options, text=text)
        return log, ended

    slow_at_first = in_turn(takes(0.4), takes(0.02))

    async def sometimes_slow(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        late = request.target.endswith("9") and int(request.query) > 20
        await (slow_at_first if late else takes(0.02))(request, reader, writer)

    runs = at_once(
        lambda: with_options(takes(0.04)),
        lambda: with_options(in_turn(takes(0.02, reply(500)), takes(0.02)), "--backoff", "0.1"),
        lambda: with_options(sometimes_slow, "--hedge", "--hedge-budget", "100%"),
    )
    return dict(zip(("plain", "retries", "hedge"), runs, strict=True))


@pytest.mark.parametrize("how", ["plain", "retries", "hedge"])
def test_never_more_requests_at_once_to_a_host_than_per_host(seen: Seen, how: str) -> None:
    log, ended = seen(crowded)[how]
    assert ended.returncode == 0
    assert dict(log.busiest) == {NEAR: 3, FAR: 3}


def test_second_requests_were_among_those_that_per_host_holds_back(seen: Seen) -> None:
    assert len(seen(crowded)["plain"][0].came) == 80
    assert len(seen(crowded)["retries"][0].came) == 160
    log, ended = seen(crowded)["hedge"]
    assert len(log.came) > 80
    assert any(record["hedged"] for record in document(ended)["results"])


def test_a_host_that_pushes_back_is_asked_less_at_once_and_others_are_not() -> None:
    near, far = Log(), Log()
    with sites(FAR) as server:
        server.on("/busy", near.around(delayed(0.1, reply(429))))
        server.on("/ok", far.around(delayed(0.1, reply())))
        busy = numbered(server.url("/busy"), 30)
        fine = numbered(server.url("/ok", host=FAR), 30)
        options = ("--max", "40", "--per-host", "8", "--retries", "0", "--jsonl")
        ended = crawl(*options, text=lines(*busy, *fine))
        later = near.came[20:]
    assert len(records(ended.stdout)) == 60
    assert (near.busiest[NEAR], far.busiest[FAR]) == (8, 8)
    gaps = [after.at - before.at for before, after in pairwise(later)]
    assert min(gaps) >= 0.1  # one at a time


# Rates


def steadily(answer: Handler, count: int, *options: str) -> list[Arrival]:
    log = Log()
    with Server() as server:
        server.on("/ok", log.around(reply()))
        server.on("/page", log.around(answer))
        ended = crawl(*options, text=lines(*numbered(server.url("/page"), count)))
    assert ended.returncode == 0, ended.stderr
    return log.came


@waiting
def rated(_: Path) -> dict[str, list[Arrival]]:
    pace = ("--rate", "50", "--backoff", "0", "-q")
    runs = at_once(
        lambda: steadily(reply(), 110, *pace),
        lambda: steadily(in_turn(reply(500), reply()), 55, *pace),
        lambda: steadily(redirect("/ok"), 55, *pace),
    )
    return dict(zip(("plain", "retries", "redirects"), runs, strict=True))


@pytest.mark.parametrize("how", ["plain", "retries", "redirects"])
def test_rate_is_kept_over_two_seconds(seen: Seen, how: str) -> None:
    arrivals = seen(rated)[how]
    assert len(arrivals) == 110
    assert 95 <= within(arrivals, 2.0) <= 105


def test_a_rate_allows_no_burst(seen: Seen) -> None:
    arrivals = seen(rated)["plain"]
    assert max(within(arrivals, 0.2, start) for start in range(len(arrivals))) <= 20


@waiting
def host_rated(_: Path) -> Log:
    log = Log()
    with sites(FAR) as server:
        server.on("/page", log.around(reply()))
        urls = [numbered(server.url("/page", host=host), 55) for host in (NEAR, FAR)]
        ended = crawl("--host-rate", "25", "-q", text=lines(*urls[0], *urls[1]))
    assert ended.returncode == 0, ended.stderr
    return log


@pytest.mark.parametrize("host", [NEAR, FAR])
def test_host_rate_is_kept_for_each_host(seen: Seen, host: str) -> None:
    arrivals = seen(host_rated).on(host)
    assert len(arrivals) == 55
    assert 47.5 <= within(arrivals, 2.0) <= 52.5


def test_hosts_are_asked_beside_each_other_each_at_its_rate(seen: Seen) -> None:
    log = seen(host_rated)
    assert abs(log.on(NEAR)[0].at - log.on(FAR)[0].at) < 0.5


# Retry-After


class Pushed(NamedTuple):
    """What came of a host that asked, `at` some time, to be left alone for `seconds`."""

    ended: Ended
    log: Log
    at: float
    seconds: float


def pushed(status: int, *, date: bool = False, through: bool = False) -> Pushed:
    """Let a host ask for two seconds or more; with `through` at the end of a redirect."""
    log = Log()
    told: list[tuple[float, float]] = []

    async def busy(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if told:
            await reply()(request, reader, writer)
            return
        now = time.time()
        then = float(int(now) + 3) if date else now + 2
        told.append((time.monotonic(), then - now))
        asks = formatdate(then, usegmt=True) if date else "2"
        await reply(status, b"", f"Retry-After: {asks}")(request, reader, writer)

    with sites(FAR) as server:
        first = server.on("/busy", log.around(busy))
        if through:
            first = server.on("/moved", redirect(first))
            first = server.url("/moved", host=FAR)
        server.on("/page", log.around(reply()))
        near = numbered(server.url("/page"), 15)
        far = numbered(server.url("/page", host=FAR), 15)
        both = [url for pair in zip(near, far, strict=True) for url in pair]
        options = ("--max", "2", "--per-host", "1", "--backoff", "0", "--jsonl")
        ended = crawl(*options, text=lines(first, *both))
    ((at, seconds),) = told
    return Pushed(ended, log, at, seconds)


@waiting
def pushed_back(_: Path) -> dict[str, Pushed]:
    runs = at_once(
        lambda: pushed(429),
        lambda: pushed(503),
        lambda: pushed(429, date=True),
    )
    return dict(zip(("429", "503", "a date"), runs, strict=True))


@pytest.mark.parametrize("how", ["429", "503", "a date"])
def test_retry_after_is_respected_by_all_urls_of_that_host(seen: Seen, how: str) -> None:
    ended, log, at, seconds = seen(pushed_back)[how]
    again = [one.at - at for one in log.on(NEAR) if one.at > at]
    assert (ended.returncode, len(again)) == (0, 16)
    assert seconds - 0.01 <= min(again) <= seconds * 1.1 + 0.5


@pytest.mark.parametrize("how", ["429", "503", "a date"])
def test_other_hosts_finish_while_one_wants_to_be_left_alone(seen: Seen, how: str) -> None:
    """With two places in all, so what waits for that host holds none."""
    _, log, at, seconds = seen(pushed_back)[how]
    assert len(log.on(FAR)) == 15
    assert log.on(FAR)[-1].at - at < seconds / 2


@waiting
def pushed_back_through_a_redirect(_: Path) -> Pushed:
    return pushed(429, through=True)


def test_retry_after_counts_for_the_host_that_sent_it_not_for_the_one_that_led_there(
    seen: Seen,
) -> None:
    ended, log, at, seconds = seen(pushed_back_through_a_redirect)
    soon = Counter(one.host for one in log.came if 0.2 < one.at - at < seconds)
    assert ended.returncode == 0
    assert soon[NEAR] == 0
    assert log.on(FAR)[-1].at - at < seconds / 2


def test_a_longer_wait_than_max_wait_is_reported_not_waited(server: Server) -> None:
    url = server.on("/busy", reply(429, b"", "Retry-After: 3600"))
    ended, took = timed(url, "--max-wait", "20", "--retries", "3", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["ok"], record["attempts"]) == (1, False, 1)
    assert server.counts["/busy"] == 1
    assert re.search(r"Retry-After: (1 h|60 min|3,?600 s)", record["reasons"][0])
    assert took < 10


def test_max_wait_bounds_the_wait_that_is_kept(server: Server) -> None:
    url = server.on("/busy", in_turn(reply(503, b"", "Retry-After: 1"), reply()))
    ended, took = timed(url, "--max-wait", "1", "--backoff", "30", "-q")
    assert ended.returncode == 0
    assert took < 6


# Retries


def test_statuses_that_may_pass_are_asked_once_more_by_default(server: Server) -> None:
    statuses = [408, 425, 429, 500, 502, 503, 504]
    urls = [server.on(f"/{status}", in_turn(reply(status), reply())) for status in statuses]
    ended = crawl(*urls, "--backoff", "0", "--jsonl")
    found = in_order(records(ended.stdout))
    assert ended.returncode == 0
    assert server.counts == {f"/{status}": 2 for status in statuses}
    assert [(record["status"], record["attempts"]) for record in found] == [(200, 2)] * 7
    told = [(one["kind"], one["status"]) for record in found for one in record["retried"]]
    assert told == [(None, status) for status in statuses]


def test_errors_that_may_pass_are_asked_once_more_by_default(server: Server) -> None:
    errors = {"reset": resets(), "disconnected": raw(close=True), "timeout": silent()}
    urls = [server.on(f"/{kind}", in_turn(error, reply())) for kind, error in errors.items()]
    ended = crawl(*urls, "--backoff", "0", "--timeout", "0.5", "--jsonl")
    found = in_order(records(ended.stdout))
    assert ended.returncode == 0
    assert server.counts == {f"/{kind}": 2 for kind in errors}
    told = [(one["kind"], one["status"]) for record in found for one in record["retried"]]
    assert told == [(kind, None) for kind in errors]


def test_statuses_that_stay_are_not_asked_again(server: Server) -> None:
    statuses = [400, 401, 403, 404, 410, 501]
    urls = [server.on(f"/{status}", reply(status)) for status in statuses]
    again = ("--retries", "5", "--confirm", "--confirm-after", "0")
    found = records(crawl(*urls, *again, "--jsonl").stdout)
    assert server.counts == {f"/{status}": 1 for status in statuses}
    assert [(record["attempts"], record["retried"]) for record in found] == [(1, [])] * 6


@pytest.mark.parametrize("retries", [0, 3])
def test_a_failure_is_asked_again_as_often_as_retries_says(server: Server, retries: int) -> None:
    url = server.on("/page", reply(500))
    ended = crawl(url, "--retries", str(retries), "--backoff", "0", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, server.counts["/page"]) == (1, retries + 1)
    assert (record["attempts"], len(record["retried"])) == (retries + 1, retries)


def test_what_is_not_idempotent_is_sent_once(server: Server) -> None:
    """Not again, not for a second opinion, and not beside itself."""
    url = server.on("/page", reply(503))
    again = ("--retries", "3", "--backoff", "0", "--confirm-after", "0", "--hedge")
    assert crawl(url, "--method", "POST", *again, "-q").returncode == 1
    assert server.counts["/page"] == 1


def test_pauses_are_random_and_never_longer_than_the_doubling_backoff(server: Server) -> None:
    log = Log()
    server.on("/page", log.around(reply(500)))
    urls = numbered(server.url("/page"), 12)
    options = ("--retries", "2", "--backoff", "0.4", "--max", "12", "--per-host", "12", "-q")
    assert crawl(*options, text=lines(*urls)).returncode == 1
    times: dict[str, list[float]] = {}
    for one in log.came:
        times.setdefault(one.target, []).append(one.at)
    first = [second - first for first, second, _ in times.values()]
    second = [third - second for _, second, third in times.values()]
    slack = 0.25
    assert max(first) <= 0.4 + slack
    assert max(second) <= 0.8 + slack
    assert max(second) - min(second) > 0.1


# Hedging


@waiting
def hedged(_: Path) -> dict[str, tuple[Log, Server, dict[str, Any]]]:
    def with_options(answer: Handler, *options: str) -> tuple[Log, Server, dict[str, Any]]:
        log = Log()
        with Server() as server:
            server.on("/page", log.around(answer))
            urls = numbered(server.url("/page"), 400)
            ended = crawl(*options, "--max", "10", "--json", text=lines(*urls))
            assert ended.returncode == 0, ended.stderr
            assert server.idle_within(2), "what was called off was not cancelled"
        return log, server, document(ended)

    def stragglers() -> Handler:
        first = in_turn(takes(1.5), takes(0.01))

        async def handler(
            request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            late = int(request.query) in (60, 120, 180, 240, 300)
            await (first if late else takes(0.01))(request, reader, writer)

        return handler

    runs = at_once(
        lambda: with_options(stragglers()),
        lambda: with_options(stragglers(), "--hedge", "--hedge-budget", "10%"),
        lambda: with_options(stragglers(), "--hedge"),
        lambda: with_options(takes(0.05), "--hedge"),
    )
    return dict(zip(("without", "10%", "default", "a slow site"), runs, strict=True))


@pytest.mark.parametrize(("how", "share"), [("10%", 0.1), ("default", 0.02), ("a slow site", 0.02)])
def test_second_requests_stay_within_their_share_of_all(seen: Seen, how: str, share: float) -> None:
    log, _, _ = seen(hedged)[how]
    assert len(log.came) >= 400
    assert len(log.came) - 400 <= share * len(log.came)


def test_without_hedge_nothing_is_sent_twice(seen: Seen) -> None:
    log, _, told = seen(hedged)["without"]
    assert len(log.came) == 400
    assert not any(record["hedged"] for record in told["results"])


def test_hedging_makes_the_slowest_one_in_a_hundred_faster(seen: Seen) -> None:
    without = seen(hedged)["without"][2]["summary"]["latency_ms"]["p99"]
    with_it = seen(hedged)["10%"][2]["summary"]["latency_ms"]["p99"]
    assert without > 1_400
    assert with_it < without / 2


def test_a_second_request_goes_over_a_fresh_connection(seen: Seen) -> None:
    _, server, told = seen(hedged)["10%"]
    marked = {record["url"].partition("?")[2] for record in told["results"] if record["hedged"]}
    asked: dict[str, list[Request]] = {}
    for request in server.requests:
        asked.setdefault(request.query, []).append(request)
    twice = {query for query, requests in asked.items() if len(requests) > 1}
    assert twice
    assert twice <= marked  # the first one may answer before the second one is connected
    assert {asked[query][1].turn for query in twice} == {0}


def test_the_library_hedges_where_a_budget_is_given() -> None:
    slow = in_turn(takes(1.0), takes(0.01))

    async def answer(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await (slow if request.query == "30" else takes(0.01))(request, reader, writer)

    with Server() as server:
        server.on("/page", answer)
        urls = numbered(server.url("/page"), 60)
        checks = in_library(urls, Limits(hedge_budget=0.5))
    assert [check.ok for check in checks] == [True] * 60
    assert checks[30].result.hedged
    assert (checks[30].result.attempt.latency or 9) < 0.5


def in_library(
    urls: Sequence[str], limits: Limits, expectation: Expectation | None = None, **options: Any
) -> list[Check]:
    """Return the checks of a crawl in the order of the list."""

    async def body() -> list[Check]:
        found = crawl_urls(urls, limits=limits, expectation=expectation, **options)
        return [check async for check in found]

    return sorted(ran_async(body()), key=lambda check: check.result.target.index)


# Deadline


@pytest.mark.parametrize("form", ["--json", "--jsonl"])
@pytest.mark.parametrize(
    ("path", "code"), [("/ok", 3), ("/gone", 1)], ids=["none failed", "one failed"]
)
def test_a_deadline_ends_the_run_with_a_record_for_every_url(
    server: Server, path: str, code: int, form: str
) -> None:
    server.on("/ok", reply())
    server.on("/gone", reply(410))
    server.on("/hang", silent())
    urls = [server.url(path), *numbered(server.url("/hang"), 30)]
    ended, took = timed("--deadline", "0.5", form, text=lines(*urls))
    found = document(ended)["results"] if form == "--json" else records(ended.stdout)
    assert ended.returncode == code
    assert took < 6
    assert [record["outcome"] for record in in_order(found)] == ["responded"] + ["unreached"] * 30
    assert server.idle_within(1), "what was in flight was not cancelled"
    if form == "--json":
        told = document(ended)["summary"]
        shown = [told[key] for key in ("total", "unreached", "complete", "exit_code")]
        assert shown == [31, 30, False, code]


def test_a_deadline_gives_the_unread_rest_of_a_long_list_its_records(
    server: Server, tmp_path: Path
) -> None:
    server.on("/hang", silent())
    listed = write(tmp_path / "urls.txt", *numbered(server.url("/hang"), 8_000))
    ended = crawl(listed, "--deadline", "0.5", "--json", "--retries", "0")
    assert (ended.returncode, len(document(ended)["results"])) == (3, 8_000)
    assert document(ended)["summary"]["unreached"] == 8_000


@waiting
def warned_early(_: Path) -> dict[str, tuple[float, str]]:
    """How soon after the first request each run complains, and of what."""

    def warning(answer: Handler, *options: str) -> tuple[float, str]:
        with Server() as server:
            server.on("/page", answer)
            urls = numbered(server.url("/page"), 200)
            with started(*options, "-q", *urls) as process:
                assert process.stderr is not None
                wait_until(lambda: bool(server.requests))
                start = time.monotonic()
                line = process.stderr.readline()
                return time.monotonic() - start, line

    rates = (("--rate", "10"), ("--host-rate", "10"))
    runs = at_once(
        *(lambda pace=pace: warning(reply(), *pace, "--deadline", "6") for pace in rates),
        lambda: warning(takes(0.3), "--max", "1", "--deadline", "6"),
    )
    return dict(zip(("rate", "host-rate", "measured"), runs, strict=True))


@pytest.mark.parametrize(("how", "soon"), [("rate", 1.0), ("host-rate", 1.0), ("measured", 4.5)])
def test_a_run_that_will_not_fit_its_deadline_says_so_early(
    seen: Seen, how: str, soon: float
) -> None:
    after, line = seen(warned_early)[how]
    assert line.startswith("crawl: ")
    assert "deadline" in line
    assert after < soon


def test_a_run_that_fits_its_deadline_says_nothing(server: Server) -> None:
    server.on("/page", reply())
    urls = numbered(server.url("/page"), 20)
    ended = crawl("--rate", "40", "--deadline", "5", "-q", text=lines(*urls))
    assert (ended.returncode, ended.stderr) == (0, "")


@waiting
def silent_input(_: Path) -> tuple[int, dict[str, Any], float]:
    with Server() as server:
        url = server.on("/ok", reply())
        start = time.monotonic()
        with started("--deadline", "0.8", "--json", stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{url}\n")
            process.stdin.flush()
            told = json.loads(process.stdout.read())
            return process.wait(30), told, time.monotonic() - start


def test_a_deadline_does_not_wait_for_an_input_that_stays_open_and_silent(seen: Seen) -> None:
    code, told, took = seen(silent_input)
    assert [record["ok"] for record in told["results"]] == [True]
    assert (code, told["summary"]["exit_code"], told["summary"]["complete"]) == (3, 3, False)
    assert took < 6


@waiting
def trickling_input(_: Path) -> bool:
    """Whether a run ends whose list never does, with a line each quarter of a second."""
    with Server() as server:
        url = server.on("/ok", reply())
        with started("--deadline", "0.5", "-q", stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            for number in range(40):
                if process.poll() is not None:
                    return True
                with suppress(BrokenPipeError):
                    process.stdin.write(f"{url}?{number}\n")
                    process.stdin.flush()
                time.sleep(0.25)
            return False


def test_a_deadline_does_not_wait_for_an_input_that_never_ends(seen: Seen) -> None:
    assert seen(trickling_input)


# Second opinions


@waiting
def confirmed(_: Path) -> tuple[Ended, Ended, Log]:
    """Six URLs that fail at first and one that passes, on each of two hosts."""
    log = Log()
    with sites(FAR) as server:
        server.on("/page", log.around(in_turn(takes(0.01, reply(500)), takes(0.03))))
        urls = [url for host in (NEAR, FAR) for url in numbered(server.url("/page", host=host), 6)]
        server.on("/ok", reply())
        options = ("--retries", "0", "--confirm", "--confirm-after", "0.6", "--max", "20", "--json")
        flaky = crawl(*options, text=lines(server.url("/ok"), *urls))
        server.on("/page", in_turn(reply(500), reply()))
        failing = crawl(*options, "--fail-on", "flaky", text=lines(server.url("/ok"), *urls))
    return flaky, failing, log


def test_what_passes_at_the_second_opinion_is_flaky_and_passes(seen: Seen) -> None:
    ended, _, _ = seen(confirmed)
    told = document(ended)
    first, *rest = in_order(told["results"])
    assert (ended.returncode, first["flaky"]) == (0, False)
    assert {(one["ok"], one["flaky"], one["status"], one["attempts"]) for one in rest} == {
        (True, True, 200, 2)
    }
    assert [[one["status"] for one in record["retried"]] for record in rest] == [[500]] * 12
    assert [told["summary"][key] for key in ("passed", "failed", "flaky")] == [13, 0, 12]


def test_flaky_urls_fail_where_they_are_to(seen: Seen) -> None:
    _, ended, _ = seen(confirmed)
    told = document(ended)
    assert ended.returncode == 1
    assert [told["summary"][key] for key in ("passed", "failed", "flaky")] == [1, 12, 12]
    assert all(record["reasons"] for record in told["results"] if record["flaky"])


def test_a_second_opinion_comes_later_and_one_at_a_time_for_each_host(seen: Seen) -> None:
    _, _, log = seen(confirmed)
    first, later = log.came[:12], log.came[12:]
    assert len(later) == 12
    assert later[0].at - first[-1].at >= 0.6
    for host in (NEAR, FAR):
        times = [one.at for one in later if one.host == host]
        gaps = [after - before for before, after in pairwise(times)]
        assert min(gaps) >= BLINK + 0.02


def test_what_fails_twice_has_failed(server: Server) -> None:
    url = server.on("/page", in_turn(reply(500), reply(502)))
    ended = crawl(url, "--retries", "0", "--confirm", "--confirm-after", "0", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["ok"], record["flaky"]) == (1, False, False)
    assert (record["status"], record["retried"][0]["status"]) == (502, 500)


# Dead letters


def test_failed_lines_are_written_as_a_list_that_asks_just_those_again(
    server: Server, tmp_path: Path
) -> None:
    server.on("/ok", reply())
    bad = [server.on("/gone", reply(410)), "ftp://127.0.0.1/x", server.on("/bad", reply(500))]
    good = numbered(server.url("/ok"), 3)
    listed = write(tmp_path / "urls.txt", good[0], bad[0], bad[1], good[1], bad[2], good[2])
    failed = tmp_path / "failed.txt"
    assert crawl(listed, "--failed-to", failed, "-q", "--retries", "0").returncode == 1
    written = failed.read_text("utf-8").splitlines()
    assert sorted(line for line in written if not line.startswith("#")) == sorted(bad)
    for comment, line in zip(written[::2], written[1::2], strict=True):
        assert comment.startswith("# ")
        assert len(comment) > 2
        assert not line.startswith("#")
    before = server.counts.copy()
    again = crawl(failed, "--jsonl", "--retries", "0")
    assert sorted(record["input"] for record in records(again.stdout)) == sorted(bad)
    assert server.counts - before == {"/gone": 1, "/bad": 1}


def test_failed_lines_may_replace_the_list_they_come_from(server: Server, tmp_path: Path) -> None:
    server.on("/ok", reply())
    bad = server.on("/gone", reply(410))
    listed = write(tmp_path / "urls.txt", server.url("/ok"), bad, server.url("/ok?2"))
    assert crawl(listed, "--failed-to", listed, "-q").returncode == 1
    rest = [line for line in listed.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert rest == [bad]
    server.on("/gone", reply())
    assert crawl(listed, "--failed-to", listed, "-q").returncode == 0
    assert listed.read_text("utf-8") == ""
    assert list(tmp_path.iterdir()) == [listed]


def test_failed_lines_keep_the_password_for_their_owner_only(
    server: Server, tmp_path: Path
) -> None:
    server.on("/gone", reply(410))
    line = server.url("/gone").replace("://", f"://user:{SECRET}@")
    listed = write(tmp_path / "urls.txt", line)
    failed = tmp_path / "failed.txt"
    ended = script('umask 0; "$@"', listed, "--failed-to", failed, "--jsonl")
    assert SECRET not in ended.stdout + ended.stderr
    assert failed.read_text("utf-8").splitlines()[-1] == line
    assert SECRET not in failed.read_text("utf-8").splitlines()[0]
    assert stat.S_IMODE(failed.stat().st_mode) == 0o600


def test_failed_lines_that_are_not_utf_8_keep_their_bytes(tmp_path: Path) -> None:
    line = b"http://127.0.0.1/\xff\xfe here"
    listed, failed = tmp_path / "urls.txt", tmp_path / "failed.txt"
    listed.write_bytes(line + b"\n")
    assert crawl(listed, "--failed-to", failed, "-q").returncode == 1
    assert failed.read_bytes().splitlines()[-1] == line


def test_an_argument_of_two_lines_does_not_become_two_entries(
    server: Server, tmp_path: Path
) -> None:
    url = server.on("/page", reply())
    failed = tmp_path / "failed.txt"
    assert crawl(f"{url}?1\n{url}?2", "--failed-to", failed, "-q").returncode == 1
    crawl(failed, "-q")
    assert server.requests == []


@pytest.mark.parametrize("how", ["signal", "deadline"])
def test_lines_that_were_not_reached_are_kept(server: Server, tmp_path: Path, how: str) -> None:
    server.on("/ok", reply())
    server.on("/hang", silent())
    hanging = numbered(server.url("/hang"), 25)
    listed = write(tmp_path / "urls.txt", server.url("/ok"), *hanging)
    failed = tmp_path / "failed.txt"
    ends = () if how == "signal" else ("--deadline", "0.5")
    with started(listed, "--failed-to", failed, "-q", *ends) as process:
        if how == "signal":
            wait_until(lambda: server.counts["/hang"] == 10)
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == (130 if how == "signal" else 3)
    kept = [line for line in failed.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert sorted(kept) == sorted(hanging)


def test_a_signal_loses_no_line_of_a_long_list_that_failed_lines_replace(
    server: Server, tmp_path: Path
) -> None:
    server.on("/hang", silent())
    urls = numbered(server.url("/hang"), 20_000)
    listed = write(tmp_path / "urls.txt", *urls)
    with started(listed, "--failed-to", listed, "-q") as process:
        wait_until(lambda: server.counts["/hang"] == 10)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    kept = {line for line in listed.read_text("utf-8").splitlines() if not line.startswith("#")}
    assert len(set(urls) - kept) == 0


def test_a_list_that_turns_out_to_be_none_is_not_replaced(server: Server, tmp_path: Path) -> None:
    bad = server.on("/gone", reply(410))
    listed = write(tmp_path / "urls.txt", bad, *["# " + "x" * 1_000] * 200, "\0", f"{bad}?last")
    before = listed.read_bytes()
    assert crawl(listed, "--failed-to", listed, "-q").returncode == 2
    assert listed.read_bytes() == before


def test_a_place_where_nothing_can_be_written_is_named_before_any_request(
    server: Server, tmp_path: Path
) -> None:
    url = server.on("/gone", reply(410))
    options = ("--failed-to", "missing/failed.txt", "-o", "out.json", "-q")
    ended = crawl(url, *options, cwd=tmp_path)
    assert ended.returncode == 2
    assert complaint(ended) == "cannot write missing/failed.txt: No such file or directory"
    assert (list(tmp_path.iterdir()), server.requests) == ([], [])


def test_a_file_without_permission_to_write_stays_and_nothing_is_left_beside_it(
    server: Server, tmp_path: Path
) -> None:
    url = server.on("/gone", reply(410))
    failed = write(tmp_path / "failed.txt", "# mine")
    failed.chmod(0o400)
    ended = bound(url, "--failed-to", failed, "-q")
    assert ended.returncode == 2
    assert "Permission denied" in complaint(ended)
    assert (failed.read_text("utf-8"), list(tmp_path.iterdir())) == ("# mine\n", [failed])
    assert server.requests == []


def test_a_full_disk_is_complained_of_and_leaves_the_old_file(
    server: Server, tmp_path: Path
) -> None:
    server.on("/gone", reply(410))
    failed = write(tmp_path / "failed.txt", "# mine")
    listed = write(tmp_path / "urls.txt", *numbered(server.url("/gone"), 200))
    ended = script('ulimit -f 1; "$@"', listed, "--failed-to", failed, "-q")
    assert ended.returncode == 2
    assert str(failed) in complaint(ended)
    assert failed.read_text("utf-8") == "# mine\n"
    assert sorted(tmp_path.iterdir()) == sorted([failed, listed])


def test_failed_lines_and_results_may_not_go_to_one_file(server: Server, tmp_path: Path) -> None:
    url = server.on("/gone", reply(410))
    ended = crawl(url, "--failed-to", "out.jsonl", "-o", "out.jsonl", "-q", cwd=tmp_path)
    assert ended.returncode == 2
    assert "out.jsonl" in complaint(ended)
    assert server.requests == []


# Bot walls


CHALLENGE = b"<script src='/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1'></script>"
PACKED = zlib.compress(CHALLENGE, wbits=31)
WALLS: dict[str, tuple[Handler, str]] = {
    "cf-mitigated": (reply(403, b"", "cf-mitigated: challenge"), "cloudflare"),
    "challenge page": (reply(503, CHALLENGE, "Server: cloudflare"), "cloudflare"),
    "packed challenge page": (
        reply(403, PACKED, "Server: cloudflare", "Content-Encoding: gzip"),
        "cloudflare",
    ),
    "999": (reply(999), "linkedin"),
    "aws-waf": (reply(403, b"", "x-amzn-waf-action: captcha"), "aws-waf"),
    "aws-waf 429": (reply(429, b"", "x-amzn-waf-action: challenge"), "aws-waf"),
}


def walled(server: Server) -> list[str]:
    return [server.on(f"/{n}", wall) for n, (wall, _) in enumerate(WALLS.values())]


def test_a_bot_wall_is_a_failure_of_its_own(server: Server) -> None:
    plain = server.on("/forbidden", reply(403, b"keep out", "Server: cloudflare"))
    options = ("--confirm", "--confirm-after", "0", "--json")
    ended = crawl(*options, text=lines(*walled(server), plain))
    told = document(ended)
    *walls, forbidden = in_order(told["results"])
    assert ended.returncode == 1
    assert [record["blocked_by"] for record in walls] == [by for _, by in WALLS.values()]
    assert all("blocked by bot protection" in record["reasons"][0] for record in walls)
    assert [record["ok"] for record in walls] == [False] * len(WALLS)
    assert (forbidden["ok"], forbidden["blocked_by"]) == (False, None)
    assert "bot protection" not in forbidden["reasons"][0]
    assert told["summary"]["blocked"] == len(WALLS)


def test_a_bot_wall_is_not_provoked_by_asking_again(server: Server) -> None:
    again = ("--retries", "3", "--backoff", "0", "--confirm", "--confirm-after", "0")
    crawl(*again, "-q", text=lines(*walled(server)))
    assert set(server.counts.values()) == {1}


def test_bot_walls_may_be_no_more_than_a_warning(server: Server) -> None:
    ended = crawl("--warn-on", "blocked", "--json", text=lines(*walled(server)))
    told = document(ended)
    count = len(WALLS)
    assert ended.returncode == 0
    assert {(record["ok"], record["warned"]) for record in told["results"]} == {(True, True)}
    shown = [told["summary"][key] for key in ("passed", "failed", "warned", "blocked")]
    assert shown == [count, 0, count, count]


def test_the_table_says_what_a_bot_wall_is(server: Server) -> None:
    ended = crawl(server.on("/999", reply(999)))
    assert "blocked by bot protection (linkedin" in ended.stdout
    assert "Failures: 1 blocked by bot protection" in ended.stdout


# Which classes fail, which warn


GOOD, MOVED, WALL, MANY, LOST, BROKEN, SHAKY, SLOW, SHUT, UNKNOWN = (
    *("/ok", "/moved", "/wall", "/429", "/404", "/500", "/flaky", "slow", "shut", "unknown"),
)
CLASSES: dict[str, set[str]] = {
    "timeout": {SLOW},
    "connect": {SHUT},
    "connect_refused": {SHUT},
    "tls": {UNKNOWN},
    "tls_untrusted": {UNKNOWN},
    "blocked": {WALL},
    "flaky": {SHAKY},
    "redirect": {MOVED},
    "429": {MANY},
    "4xx": {MANY, LOST, WALL},
    "404,timeout": {LOST, SLOW},
    "5xx": {BROKEN},
    "500-599": {BROKEN},
    "Redirect, 404": {MOVED, LOST},
}


PAIRS = list(zip(CLASSES, [*list(CLASSES)[3:], *list(CLASSES)[:3]], strict=True))
"""Each class once among those that fail, and once among those that warn."""

Judge = Callable[[tuple[str, str]], dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def judged(tls_context: Any) -> Iterator[Judge]:
    """What came of a list with a row for each class, by the row's name, for each of `PAIRS`."""
    with Server() as server, Server(tls=tls_context) as secure, refusing_port() as port:
        server.on(MOVED, redirect(server.on(GOOD, reply())))
        server.on(WALL, reply(403, b"", "cf-mitigated: challenge"))
        for status in (429, 404, 500):
            server.on(f"/{status}", reply(status))
        server.on("/slow", silent())
        paths = (GOOD, MOVED, WALL, MANY, LOST, BROKEN, SHAKY)
        urls = {path: server.url(path) for path in paths}
        urls |= {SLOW: server.url("/slow"), SHUT: f"http://{NEAR}:{port}/", UNKNOWN: secure.origin}

        def work(pair: tuple[str, str]) -> dict[str, dict[str, Any]]:
            shaky = server.on(f"{SHAKY}{PAIRS.index(pair)}", in_turn(reply(502), reply()))
            listed = {**urls, SHAKY: shaky}
            options = ("--retries", "0", "--confirm-after", "0", "--timeout", "0.4", "--jsonl")
            classes = ("--fail-on", pair[0], "--warn-on", pair[1])
            ended = crawl(*classes, *options, text=lines(*listed.values()))
            assert ended.returncode == 1, ended.stderr
            return dict(zip(listed, in_order(records(ended.stdout)), strict=True))

        with ThreadPoolExecutor(4) as pool:
            futures = {pair: pool.submit(work, pair) for pair in PAIRS}
            yield lambda pair: futures[pair].result()


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0]} fails, {pair[1]} warns")
def test_just_the_classes_named_fail_or_pass_with_a_warning(
    judged: Judge, pair: tuple[str, str]
) -> None:
    """What is in both fails; what is in neither is as good as it would be otherwise."""
    found = judged(pair)
    fails, warns = (CLASSES[classes] for classes in pair)
    assert {name for name, record in found.items() if record["warned"]} == warns - fails
    passed = {name for name, record in found.items() if record["ok"]}
    assert passed == ({GOOD, MOVED, SHAKY} | warns) - fails
    assert all(bool(record["reasons"]) is not record["ok"] for record in found.values())


@pytest.mark.parametrize("classes", ["dns", "dns_not_found"])
def test_a_name_that_does_not_resolve_may_be_no_more_than_a_warning(
    server: Server, classes: str
) -> None:
    server.on("/ok", reply())

    def look_up(host: str) -> Addresses:
        if host == "missing.test":
            raise socket.gaierror(socket.EAI_NONAME, "told by the test")
        return (Address(socket.AF_INET, NEAR),)

    transport = DirectTransport(ConnectionSettings(idle=10), Resolver(1, look_up))
    urls = ["http://missing.test/", server.url("/ok", host="good.test"), server.url("/gone")]
    expectation = Expectation(warn_on=expect.classes(classes))
    checks = in_library(urls, Limits(), expectation, transport=transport)
    assert [check.ok for check in checks] == [True, True, False]
    assert [bool(check.verdict.warnings) for check in checks] == [True, False, False]


def test_a_class_that_fails_does_so_even_where_it_is_to_warn(server: Server) -> None:
    url = server.on("/page", reply(404))
    ended = crawl(url, "--fail-on", "404", "--warn-on", "4xx", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["ok"], record["warned"]) == (1, False, False)


def test_a_status_that_was_accepted_fails_where_it_is_to(server: Server) -> None:
    url = server.on("/page", reply(404))
    ended = crawl(url, "--accept", "200-499", "--fail-on", "4xx", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["ok"]) == (1, False)
    assert record["reasons"] != []


# How many may fail


@pytest.mark.parametrize(
    ("most", "failing", "total", "code"),
    [
        ("1", 2, 10, 1),
        ("2", 2, 10, 0),
        ("19%", 2, 10, 1),
        ("20%", 2, 10, 0),
        ("28.9%", 29, 100, 1),
        ("29%", 29, 100, 0),
    ],
)
def test_so_many_may_fail_before_the_exit_code_says_so(
    server: Server, most: str, failing: int, total: int, code: int
) -> None:
    server.on("/ok", reply())
    server.on("/gone", reply(410))
    urls = numbered(server.url("/gone"), failing) + numbered(server.url("/ok"), total - failing)
    ended = crawl("--max-failures", most, "--json", text=lines(*urls))
    told = document(ended)
    assert (ended.returncode, told["summary"]["exit_code"]) == (code, code)
    assert told["summary"]["failed"] == failing
    assert sum(record["ok"] is False for record in told["results"]) == failing


def test_an_invalid_line_counts_among_those_that_may_fail(server: Server) -> None:
    text = lines(server.on("/ok", reply()), "ftp://127.0.0.1/")
    ended = crawl("--max-failures", "1", "-q", text=text)
    assert ended.returncode == 0
    assert crawl("--max-failures", "0", "-q", text=text).returncode == 1


def test_a_failure_budget_does_not_cover_what_was_not_reached(server: Server) -> None:
    urls = [server.on("/gone", reply(410)), server.on("/hang", silent())]
    ended = crawl(*urls, "--max-failures", "5", "--deadline", "0.5", "-q")
    assert ended.returncode == 3


# HEAD


def test_head_is_asked_first_and_get_where_it_is_refused(server: Server) -> None:
    statuses = [405, 501, 403, 404]
    for status in statuses:
        server.on(f"/{status}", by_method(reply(status), reply(200, b"hello")))
    urls = [server.url(f"/{status}") for status in statuses]
    ended = crawl(*urls, "--head", "--retries", "0", "--jsonl")
    assert ended.returncode == 0
    for status, record in zip(statuses, in_order(records(ended.stdout)), strict=True):
        asked = [one.method for one in server.requests if one.path == f"/{status}"]
        assert asked == ["HEAD", "GET"]
        assert (record["method"], record["status"], record["size"]) == ("GET", 200, 5)
        assert record["attempts"] == 2
        assert record["retried"] == [{"method": "HEAD", "kind": None, "status": status}]


@pytest.mark.parametrize("answer", [raw(close=True), resets()], ids=["closed", "reset"])
def test_get_is_asked_where_head_only_closes_the_connection(
    server: Server, answer: Handler
) -> None:
    server.on("/page", by_method(answer, reply(200, b"hello")))
    ended = crawl(server.url("/page"), "--head", "--retries", "0", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["method"], record["size"]) == (0, "GET", 5)
    assert [one["method"] for one in record["retried"]] == ["HEAD"]
    assert server.requests[-1].method == "GET"


def test_head_alone_is_enough_where_it_answers(server: Server) -> None:
    ended = crawl(server.on("/page", reply(200, b"hello")), "--head", "--jsonl")
    (record,) = records(ended.stdout)
    assert [request.method for request in server.requests] == ["HEAD"]
    assert (ended.returncode, record["method"], record["retried"]) == (0, "HEAD", [])


def test_the_get_after_a_head_has_all_its_retries(server: Server) -> None:
    server.on("/page", by_method(reply(405), in_turn(reply(500), reply())))
    ended = crawl(server.url("/page"), "--head", "--backoff", "0", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["attempts"]) == (0, 3)
    assert [request.method for request in server.requests] == ["HEAD", "GET", "GET"]


def by_method(head: Handler, get: Handler) -> Handler:
    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await (head if request.method == "HEAD" else get)(request, reader, writer)

    return handler


# Waiting until all passes


@waiting
def polled(path: Path) -> tuple[Ended, float, Path]:
    with Server() as server:
        server.on("/ok", reply())
        server.on("/late", in_turn(reply(503), reply(503), reply()))
        options = ("--wait", "20", "--retries", "0", "--json", "-o", path / "out.jsonl")
        text = lines(server.url("/ok"), server.url("/late"))
        ended, took = timed(*options, text=text)
    return ended, took, path / "out.jsonl"


def test_wait_asks_again_until_all_pass(seen: Seen) -> None:
    ended, took, _ = seen(polled)
    assert ended.returncode == 0
    assert took < 8


def test_wait_says_one_line_for_each_round(seen: Seen) -> None:
    ended, _, _ = seen(polled)
    told = ended.stderr.splitlines()
    assert len(told) == 3
    assert all(line.startswith(f"crawl: round {n}: ") for n, line in enumerate(told, 1))
    assert "1 of 2 did not pass" in told[0]
    assert "status 503" in told[1]
    assert "all 2 URLs passed" in told[2]


def test_the_last_round_is_the_result(seen: Seen) -> None:
    ended, _, lined = seen(polled)
    told = document(ended)
    found = records(lined.read_text("utf-8"))
    assert in_order(found) == in_order(told["results"])
    assert [record["index"] for record in in_order(found)] == [0, 1]
    assert [told["summary"][key] for key in ("total", "passed", "exit_code")] == [2, 2, 0]


@waiting
def polled_in_vain(_: Path) -> tuple[Ended, float, int]:
    with Server() as server:
        url = server.on("/down", reply(503))
        ended, took = timed(url, "--wait", "1.5", "--retries", "0", "--json")
        return ended, took, server.counts["/down"]


def test_wait_gives_up_when_the_time_is_up(seen: Seen) -> None:
    ended, took, asked = seen(polled_in_vain)
    told = document(ended)
    assert (ended.returncode, told["summary"]["exit_code"]) == (1, 1)
    assert asked >= 2
    assert len(told["results"]) == 1
    assert len(ended.stderr.splitlines()) == asked
    assert 1.4 < took < 6


def interrupted(options: Sequence[str], answer: Handler, count: int) -> tuple[Ended, float]:
    """Interrupt a run that polls three URLs, a little after so many requests."""
    with Server() as server:
        server.on("/page", answer)
        with started("--wait", "60", "--json", *options, *numbered(server.url("/page"), 3)) as run:
            wait_until(lambda: len(server.requests) == count)
            time.sleep(0.3)  # a pause between two rounds is longer
            start = time.monotonic()
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=30)
            return Ended(run.args, run.returncode, out, err), time.monotonic() - start


@waiting
def interrupted_rounds(_: Path) -> dict[str, tuple[Ended, float]]:
    runs = at_once(
        lambda: interrupted(("--retries", "0"), reply(404), 3),
        lambda: interrupted(("--retries", "0"), in_turn(reply(404), silent()), 6),
    )
    return dict(zip(("in the pause", "in a round"), runs, strict=True))


@pytest.mark.parametrize(
    ("when", "outcome"), [("in the pause", "responded"), ("in a round", "unreached")]
)
def test_a_signal_ends_the_polling_with_the_round_it_came_in(
    seen: Seen, when: str, outcome: str
) -> None:
    ended, took = seen(interrupted_rounds)[when]
    told = document(ended)
    assert (ended.returncode, told["summary"]["exit_code"]) == (130, 130)
    assert [record["outcome"] for record in told["results"]] == [outcome] * 3
    assert took < 2


def test_nothing_to_poll_is_exit_code_2_at_once() -> None:
    ended, took = timed("--wait", "30", "-q", text="# nothing\n")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert complaint(ended) == "nothing to check: the list contains no URLs"
    assert took < 5


def test_what_is_no_list_is_not_polled(server: Server, tmp_path: Path) -> None:
    listed = tmp_path / "urls.txt"
    listed.write_text(f"{server.on('/page', reply(404))}\n", "utf-16")
    ended, took = timed(listed, "--wait", "30", "-q")
    assert ended.returncode == 2
    assert "UTF-16" in complaint(ended)
    assert (server.requests, took < 5) == ([], True)


@waiting
def polled_to_failed(path: Path) -> tuple[Ended, str]:
    with Server() as server:
        server.on("/late", in_turn(reply(503), reply()))
        server.on("/gone", reply(410))
        failed = path / "failed.txt"
        urls = (server.url("/late"), server.url("/gone"))
        ended = crawl(*urls, "--wait", "1.3", "--retries", "0", "-q", "--failed-to", failed)
        return ended, failed.read_text("utf-8")


def test_the_failed_lines_are_those_of_the_last_round(seen: Seen) -> None:
    ended, written = seen(polled_to_failed)
    kept = [line for line in written.splitlines() if not line.startswith("#")]
    assert ended.returncode == 1
    assert [line.rpartition("/")[2] for line in kept] == ["gone"]


@waiting
def polled_to_a_deadline(_: Path) -> tuple[Ended, float]:
    with Server() as server:
        url = server.on("/down", silent())
        return timed(url, "--wait", "6", "--deadline", "1.5", "--json")


def test_a_deadline_ends_the_polling_too(seen: Seen) -> None:
    ended, took = seen(polled_to_a_deadline)
    assert ended.returncode == 3
    assert [record["outcome"] for record in document(ended)["results"]] == ["unreached"]
    assert took < 5


@waiting
def polling_a_silent_input(_: Path) -> bool:
    """Whether a run that polls ends at its deadline while its list is still being written."""
    with started("--wait", "2", "--deadline", "1", "-q", stdin=subprocess.PIPE) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(4)
        return process.poll() is not None


def test_polling_does_not_wait_for_an_input_that_stays_open_and_silent(seen: Seen) -> None:
    assert seen(polling_a_silent_input)


# Bad values


SECONDS = "a number of seconds above 0"
PAUSE = "a number of seconds from 0"
PER_SECOND = "a number of requests per second"
NOT_A_CLASS = "neither an error kind, nor a status such as 429 or 5xx"
BAD_VALUES = [
    *(("--rate", value, PER_SECOND) for value in ("0", "-1", "nan", "inf", "fast", "", "1e3")),
    *(("--host-rate", value, PER_SECOND) for value in ("0", "-1", "nan", "10/s", "")),
    *(("--max-wait", value, PAUSE) for value in ("-1", "nan", "inf", "soon", "")),
    *(("--deadline", value, SECONDS) for value in ("0", "-1", "nan", "inf", "tomorrow", "")),
    *(("--retries", value, "a whole number from 0") for value in ("-1", "1.5", "many", "")),
    *(("--backoff", value, PAUSE) for value in ("-0.5", "nan", "inf", "x", "")),
    *(("--confirm-after", value, PAUSE) for value in ("-1", "nan", "later", "")),
    *(("--hedge-budget", value, "a percentage") for value in ("2", "101%", "-1%", "nan%", "")),
    *(("--wait", value, SECONDS) for value in ("0", "-1", "nan", "inf", "")),
    *(("--fail-on", value, NOT_A_CLASS) for value in ("", "nonsense", "429,", "timeout;dns")),
    *(("--warn-on", value, NOT_A_CLASS) for value in ("", "nonsense", "6", "429 5xx")),
    ("--fail-on", "500-400", "not a valid status range"),
    ("--warn-on", "500-400", "not a valid status range"),
    *(("--max-failures", value, "a whole number") for value in ("-1", "1.5", "few", "")),
    ("--max-failures", "101%", "a percentage"),
    ("--max-failures", "-1%", "a percentage"),
]


@pytest.mark.parametrize(("option", "value", "rule"), BAD_VALUES)
def test_a_bad_value_is_one_line_with_the_value_and_the_rule(
    capsys: pytest.CaptureFixture[str], option: str, value: str, rule: str
) -> None:
    assert main(["http://127.0.0.1:1/", option, value]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"crawl: [^\n]+\n", err)
    assert option in err
    assert f"'{value}'" in err
    assert rule in err


@pytest.mark.parametrize("value", ["", "missing/failed.txt", "."])
def test_a_bad_place_for_failed_lines_is_one_line(tmp_path: Path, value: str) -> None:
    place = tmp_path / "here"
    place.mkdir()
    ended = crawl("http://127.0.0.1:1/", "-q", "--failed-to", value, cwd=place)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "failed" in complaint(ended) or "write" in complaint(ended)
    assert list(place.iterdir()) == []


def test_head_and_another_method_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1/", "--head", "--method", "GET"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"crawl: [^\n]*--head and --method cannot be used together[^\n]*\n", err)
