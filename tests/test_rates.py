"""--per-host, --rate and --host-rate, as a server that counts sees them."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from loopback import (
    Handler,
    Request,
    Server,
    delayed,
    redirect,
    reply,
)
from shell import (
    Ended,
    crawl,
    records,
)
from sites import (
    FAR,
    NEAR,
    Arrival,
    Log,
    Scenarios,
    Seen,
    concurrently,
    document,
    in_turn,
    lines,
    numbered,
    sites,
    takes,
)

waiting = Scenarios()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    yield from waiting.results(tmp_path_factory)


# Concurrency per host


def within(arrivals: Sequence[Arrival], seconds: float, start: int = 0) -> int:
    """Return the number of requests within `seconds` of the one at `start`."""
    first = arrivals[start].at
    return sum(first <= one.at < first + seconds for one in arrivals)


@waiting
def crowded(_: Path) -> dict[str, tuple[Log, Ended]]:
    def with_options(handler: Handler, *options: str) -> tuple[Log, Ended]:
        log = Log()
        with sites(FAR) as server:
            server.on("/page", log.around(handler))
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

    runs = concurrently(
        lambda: with_options(takes(0.04)),
        lambda: with_options(in_turn(takes(0.02, reply(500)), takes(0.02)), "--backoff", "0.1"),
        lambda: with_options(sometimes_slow, "--hedge", "--hedge-budget", "100%"),
    )
    return dict(zip(("plain", "retries", "hedge"), runs, strict=True))


@pytest.mark.parametrize("how", ["plain", "retries", "hedge"])
def test_a_host_never_gets_more_concurrent_requests_than_per_host(seen: Seen, how: str) -> None:
    log, ended = seen(crowded)[how]
    assert ended.returncode == 0
    assert dict(log.busiest) == {NEAR: 3, FAR: 3}


def test_hedges_count_towards_per_host(seen: Seen) -> None:
    assert len(seen(crowded)["plain"][0].came) == 80
    assert len(seen(crowded)["retries"][0].came) == 160
    log, ended = seen(crowded)["hedge"]
    assert len(log.came) > 80
    assert any(record["hedged"] for record in document(ended)["results"])


def test_a_host_that_throttles_gets_fewer_concurrent_requests_and_others_do_not() -> None:
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


def steadily(handler: Handler, count: int, *options: str) -> list[Arrival]:
    log = Log()
    with Server() as server:
        server.on("/ok", log.around(reply()))
        server.on("/page", log.around(handler))
        ended = crawl(*options, text=lines(*numbered(server.url("/page"), count)))
    assert ended.returncode == 0, ended.stderr
    return log.came


@waiting
def rated(_: Path) -> dict[str, list[Arrival]]:
    pace = ("--rate", "50", "--backoff", "0", "-q")
    runs = concurrently(
        lambda: steadily(reply(), 110, *pace),
        lambda: steadily(in_turn(reply(500), reply()), 55, *pace),
        lambda: steadily(redirect("/ok"), 55, *pace),
    )
    return dict(zip(("plain", "retries", "redirects"), runs, strict=True))


@pytest.mark.parametrize("how", ["plain", "retries", "redirects"])
def test_the_rate_is_kept_over_two_seconds(seen: Seen, how: str) -> None:
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
def test_the_host_rate_is_kept_for_each_host(seen: Seen, host: str) -> None:
    arrivals = seen(host_rated).on(host)
    assert len(arrivals) == 55
    assert 47.5 <= within(arrivals, 2.0) <= 52.5


def test_hosts_are_requested_concurrently_each_at_its_rate(seen: Seen) -> None:
    log = seen(host_rated)
    assert abs(log.on(NEAR)[0].at - log.on(FAR)[0].at) < 0.5
