"""--hedge, as a server that counts sees it: quota, connections, and the gain."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import (
    Handler,
    Request,
    Server,
)
from shell import (
    crawl,
)
from sites import (
    Log,
    Scenarios,
    Seen,
    concurrently,
    document,
    in_library,
    in_turn,
    lines,
    numbered,
    takes,
)

from crawler import Limits

waiting = Scenarios()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    yield from waiting.results(tmp_path_factory)


@waiting
def hedged(_: Path) -> dict[str, tuple[Log, Server, dict[str, Any]]]:
    def with_options(handler: Handler, *options: str) -> tuple[Log, Server, dict[str, Any]]:
        log = Log()
        with Server() as server:
            server.on("/page", log.around(handler))
            urls = numbered(server.url("/page"), 400)
            ended = crawl(*options, "--max", "10", "--json", text=lines(*urls))
            assert ended.returncode == 0, ended.stderr
            assert server.idle_within(2), "a request was not cancelled"
        return log, server, document(ended)

    def stragglers() -> Handler:
        first = in_turn(takes(1.5), takes(0.01))

        async def handler(
            request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            late = int(request.query) in (60, 120, 180, 240, 300)
            await (first if late else takes(0.01))(request, reader, writer)

        return handler

    runs = concurrently(
        lambda: with_options(stragglers()),
        lambda: with_options(stragglers(), "--hedge", "--hedge-budget", "10%"),
        lambda: with_options(stragglers(), "--hedge"),
        lambda: with_options(takes(0.05), "--hedge"),
    )
    return dict(zip(("without", "10%", "default", "a slow site"), runs, strict=True))


@pytest.mark.parametrize(("how", "share"), [("10%", 0.1), ("default", 0.02), ("a slow site", 0.02)])
def test_hedges_stay_within_their_share_of_all_requests(seen: Seen, how: str, share: float) -> None:
    log, _, _ = seen(hedged)[how]
    assert len(log.came) >= 400
    assert len(log.came) - 400 <= share * len(log.came)


def test_without_hedge_no_request_is_hedged(seen: Seen) -> None:
    log, _, report = seen(hedged)["without"]
    assert len(log.came) == 400
    assert not any(record["hedged"] for record in report["results"])


def test_hedging_lowers_the_99th_percentile(seen: Seen) -> None:
    without = seen(hedged)["without"][2]["summary"]["latency_ms"]["p99"]
    with_it = seen(hedged)["10%"][2]["summary"]["latency_ms"]["p99"]
    assert without > 1_400
    assert with_it < without / 2


def test_a_hedge_uses_a_new_connection(seen: Seen) -> None:
    _, server, report = seen(hedged)["10%"]
    marked = {record["url"].partition("?")[2] for record in report["results"] if record["hedged"]}
    requests: dict[str, list[Request]] = {}
    for request in server.requests:
        requests.setdefault(request.query, []).append(request)
    twice = {query for query, sent in requests.items() if len(sent) > 1}
    assert twice
    assert twice <= marked  # the response may come before the hedge is connected
    assert {requests[query][1].turn for query in twice} == {0}


def test_the_library_hedges_if_a_budget_is_given() -> None:
    slow = in_turn(takes(1.0), takes(0.01))

    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await (slow if request.query == "30" else takes(0.01))(request, reader, writer)

    with Server() as server:
        server.on("/page", handler)
        urls = numbered(server.url("/page"), 60)
        checks = in_library(urls, Limits(hedge_budget=0.5))
    assert [check.ok for check in checks] == [True] * 60
    assert checks[30].result.hedged
    assert (checks[30].result.attempt.latency or 9) < 0.5
