"""Retry-After and throttling: a host's pause, its reduced slots, and the other hosts."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from bench import Bench, in_flight_at, many
from clocks import FakeClock, scripted, status
from loopback import (
    Request,
    Server,
    redirect,
    reply,
)
from samples import on, run
from shell import (
    Ended,
    crawl,
    records,
)
from sites import (
    FAR,
    NEAR,
    Log,
    Scenarios,
    Seen,
    concurrently,
    in_turn,
    lines,
    numbered,
    sites,
    timed,
)

from crawler.models import Outcome

# Scheduled


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("retries", [0, 1])
def test_retry_after_pauses_only_its_own_host(code: int, retries: int) -> None:
    async def body() -> None:
        script = scripted({0: [status(code, retry_after=20.0), status()]})
        bench = Bench(script, clock=FakeClock(0.0), per_host=1, max=2, retries=retries)
        results = await bench.crawl([*many(10, "a"), *many(10, "b", first=10)])
        times = [one.at for one in bench.web.requests if one.target.host == "a"]
        assert times[0] == 0
        assert times[1] == pytest.approx(20.1)
        assert len(times) == 10 + retries
        assert max(bench.at[index] for index in range(10, 20)) < 1.5
        assert max(bench.at.values()) < 22
        assert [result.attempts for result in results.values() if result.attempts != 1] == (
            [2] * retries
        )

    run(body())


def test_a_paused_host_occupies_no_slot() -> None:
    async def body() -> None:
        script = scripted({0: [status(429, retry_after=20.0), status()]})
        bench = Bench(script, clock=FakeClock(0.0), max=1)
        await bench.crawl([*many(10, "a"), *many(5, "b", first=10)])
        assert max(bench.at[index] for index in range(10, 15)) < 5

    run(body())


def test_each_of_two_hosts_is_paused_for_its_own_time() -> None:
    async def body() -> None:
        steps = {0: [status(429, retry_after=20.0)], 1: [status(503, retry_after=5.0)]}
        bench = Bench(scripted(steps), clock=FakeClock(0.0), per_host=1, retries=0)
        await bench.crawl([on("a", 0), on("b", 1), on("a", 2), on("b", 3)])
        assert [bench.web.of(index)[0].at for index in (2, 3)] == pytest.approx([20.1, 5.1])

    run(body())


def test_of_two_pauses_of_a_host_the_longer_one_counts() -> None:
    async def body() -> None:
        steps = {
            0: [status(429, 0.1, retry_after=30.0)],
            1: [status(429, 0.2, retry_after=1.0)],
        }
        bench = Bench(scripted(steps), clock=FakeClock(0.0), per_host=2, retries=0)
        await bench.crawl(many(3))
        assert bench.web.of(2)[0].at == pytest.approx(30.1)

    run(body())


@pytest.mark.parametrize(
    ("retry_after", "backoff", "chance", "least", "most"),
    [
        (10.0, 0.5, 0.0, 10, 10),
        (10.0, 0.5, 1.0, 10.01, 15),
        (1.0, 8.0, 1.0, 8, 12),
        (0.0, 8.0, 1.0, 8, 12),
        (59.0, 0.5, 1.0, 59.01, 60),
        (60.0, 0.5, 1.0, 60, 60),
    ],
    ids=["exactly", "and some more", "back-off is longer", "nothing", "near the cap", "the cap"],
)
def test_a_pause_is_a_random_part_longer_than_retry_after_up_to_max_wait(
    retry_after: float, backoff: float, chance: float, least: float, most: float
) -> None:
    async def body() -> None:
        script = scripted({0: [status(429, 0, retry_after=retry_after), status()]})
        clock = FakeClock(chance)
        bench = Bench(script, clock=clock, backoff=backoff, max_wait=60, per_host=1)
        await bench.crawl(many(2))
        assert least <= bench.web.times(0)[1] <= most + 0.2  # behind the one before it
        assert least <= bench.web.of(1)[0].at <= most + 0.2

    run(body())


def test_a_retry_after_beyond_max_wait_is_reported_at_once() -> None:
    async def body() -> None:
        script = scripted({0: [status(429, retry_after=61.0)]})
        bench = Bench(script, per_host=1, retries=3, max_wait=60, confirm_after=5.0)
        results = await bench.crawl(many(3))
        assert (results[0].attempt.status, results[0].attempts) == (429, 1)
        assert results[0].attempt.retry_after == 61
        assert bench.at[0] == pytest.approx(0.1)
        assert bench.clock.now < 1

    run(body())


def test_a_deadline_does_not_wait_for_a_paused_host() -> None:
    async def body() -> None:
        script = scripted({0: [status(429, retry_after=50.0)]})
        bench = Bench(script, per_host=1, deadline=3.0)
        results = await bench.crawl(many(3))
        assert bench.clock.now == 3
        assert (results[0].outcome, results[0].attempt.status) == (Outcome.RESPONDED, 429)
        assert [results[index].outcome for index in (1, 2)] == [Outcome.UNREACHED] * 2

    run(body())


# Slots of a host that throttles


@pytest.mark.parametrize("code", [429, 503])
def test_a_host_that_throttles_gets_half_its_slots_and_recovers_while_others_keep_all(
    code: int,
) -> None:
    async def body() -> None:
        steps = {0: [status(code, 0.5)]}
        bench = Bench(scripted(steps, status(seconds=1)), max=100, per_host=8, retries=0)
        entries = [*many(200, "a"), *many(200, "b", first=200)]
        await bench.crawl(entries)
        when = [1.05 + second for second in range(40)]
        halved = [in_flight_at(bench.web, "a", time) for time in when]
        assert in_flight_at(bench.web, "a", 0.2) == 8
        assert max(halved[:1]) <= 4
        assert halved[0] < 8
        growing = halved[: halved.index(8) + 1]
        assert growing == sorted(growing)
        assert all(after - before <= 2 for before, after in pairwise(growing))
        assert [in_flight_at(bench.web, "b", time) for time in when[:20]] == [8] * 20

    run(body())


def test_a_host_that_throttles_keeps_at_least_one_slot() -> None:
    async def body() -> None:
        bench = Bench(scripted({}, status(429)), per_host=8, retries=0)
        results = await bench.crawl(many(50))
        assert len(results) == 50
        assert in_flight_at(bench.web, "a", bench.web.requests[-1].at) == 1

    run(body())


# On the wire


waiting = Scenarios()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    yield from waiting.results(tmp_path_factory)


class Throttled(NamedTuple):
    """The requests of a host that sent, at `at`, a Retry-After of `seconds`."""

    ended: Ended
    log: Log
    at: float
    seconds: float


def throttling(status: int, *, date: bool = False, through: bool = False) -> Throttled:
    """Let a host send a Retry-After of two seconds or more; with `through`, behind a redirect."""
    log = Log()
    sent: list[tuple[float, float]] = []

    async def busy(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if sent:
            await reply()(request, reader, writer)
            return
        now = time.time()
        then = float(int(now) + 3) if date else now + 2
        sent.append((time.monotonic(), then - now))
        value = formatdate(then, usegmt=True) if date else "2"
        await reply(status, b"", f"Retry-After: {value}")(request, reader, writer)

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
    ((at, seconds),) = sent
    return Throttled(ended, log, at, seconds)


@waiting
def throttled(_: Path) -> dict[str, Throttled]:
    runs = concurrently(
        lambda: throttling(429),
        lambda: throttling(503),
        lambda: throttling(429, date=True),
    )
    return dict(zip(("429", "503", "a date"), runs, strict=True))


@pytest.mark.parametrize("how", ["429", "503", "a date"])
def test_retry_after_is_honoured_by_all_urls_of_its_host(seen: Seen, how: str) -> None:
    ended, log, at, seconds = seen(throttled)[how]
    again = [one.at - at for one in log.on(NEAR) if one.at > at]
    assert (ended.returncode, len(again)) == (0, 16)
    assert seconds - 0.01 <= min(again) <= seconds * 1.1 + 0.5


@pytest.mark.parametrize("how", ["429", "503", "a date"])
def test_other_hosts_finish_while_one_is_paused(seen: Seen, how: str) -> None:
    """With `--max 2`: a URL that waits for that host must not occupy a slot."""
    _, log, at, seconds = seen(throttled)[how]
    assert len(log.on(FAR)) == 15
    assert log.on(FAR)[-1].at - at < seconds / 2


@waiting
def throttled_behind_a_redirect(_: Path) -> Throttled:
    return throttling(429, through=True)


def test_retry_after_applies_to_the_host_that_sent_it_not_to_the_one_that_redirected(
    seen: Seen,
) -> None:
    ended, log, at, seconds = seen(throttled_behind_a_redirect)
    soon = Counter(one.host for one in log.came if 0.2 < one.at - at < seconds)
    assert ended.returncode == 0
    assert soon[NEAR] == 0
    assert log.on(FAR)[-1].at - at < seconds / 2


def test_a_retry_after_beyond_max_wait_is_reported_and_not_honoured(server: Server) -> None:
    url = server.on("/busy", reply(429, b"", "Retry-After: 3600"))
    ended, took = timed(url, "--max-wait", "20", "--retries", "3", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["ok"], record["attempts"]) == (1, False, 1)
    assert server.counts["/busy"] == 1
    assert re.search(r"Retry-After: (1 h|60 min|3,?600 s)", record["reasons"][0])
    assert took < 10


def test_a_retry_after_within_max_wait_is_honoured(server: Server) -> None:
    url = server.on("/busy", in_turn(reply(503, b"", "Retry-After: 1"), reply()))
    ended, took = timed(url, "--max-wait", "1", "--backoff", "30", "-q")
    assert ended.returncode == 0
    assert took < 6
