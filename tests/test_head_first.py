"""--head: HEAD requests, and the fallback to GET."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from bench import KEY, Bench, alone, many
from clocks import FakeClock, Script, Step, error, scripted, status
from loopback import (
    Handler,
    Request,
    Server,
    raw,
    reply,
    resets,
)
from samples import Try, run, target, tries
from shell import (
    crawl,
    records,
)
from sites import in_order, in_turn

from crawler.models import ErrorKind, Expectation, Outcome, Target

# Scheduled


def by_method(**steps: Sequence[Step]) -> Script:
    """Return the script that takes the steps of each method one by one; the last one repeats."""
    taken: Counter[str] = Counter()

    def script(of: Target, before: int) -> Step:
        some = steps[of.method]
        taken[of.method] += 1
        return some[min(taken[of.method], len(some)) - 1]

    return script


HEAD_TARGET = target(method="HEAD")


@pytest.mark.parametrize("name", [name for name in KEY if name != "429"])
def test_get_follows_only_a_head_that_was_refused(name: str) -> None:
    script = by_method(HEAD=[KEY[name]], GET=[status(200)])
    result = alone(script, HEAD_TARGET, head_first=True, retries=0)
    refused = name in {"405", "501", "403", "404", "reset", "disconnected"}
    assert result.target.method == ("GET" if refused else "HEAD")
    if not refused:
        assert (result.attempts, result.earlier) == (1, ())
        return
    kind, code = (None, int(name)) if name.isdigit() else (ErrorKind(name), None)
    assert tries(result) == (Try(method="HEAD", kind=kind, status=code),)
    assert (result.attempt.status, result.attempts, result.flaky) == (200, 2, False)


def test_a_success_with_head_is_not_followed_by_get() -> None:
    result = alone(by_method(HEAD=[status(204)]), HEAD_TARGET, head_first=True)
    assert (result.attempt.status, result.target.method, result.attempts) == (204, "HEAD", 1)


def test_without_head_first_head_is_not_followed_by_get() -> None:
    result = alone(by_method(HEAD=[status(405)]), HEAD_TARGET)
    assert (result.attempt.status, result.target.method, result.attempts) == (405, "HEAD", 1)


def test_an_accepted_status_of_head_is_not_followed_by_get() -> None:
    accepting = replace(HEAD_TARGET, expectation=Expectation(accept=((404, 404),)))
    result = alone(by_method(HEAD=[status(404)]), accepting, head_first=True)
    assert (result.attempt.status, result.target.method, result.attempts) == (404, "HEAD", 1)


def test_the_fallback_to_get_is_not_a_retry() -> None:
    script = by_method(HEAD=[status(405)], GET=[status(503), status(200)])
    result = alone(script, HEAD_TARGET, head_first=True, retries=1)
    assert (result.attempt.status, result.attempts) == (200, 3)
    assert tries(result) == (
        Try(method="HEAD", status=405),
        Try(method="GET", status=503),
    )


def test_a_transient_failure_of_head_is_retried_with_head() -> None:
    script = by_method(HEAD=[status(503), status(404)], GET=[status(200)])
    result = alone(script, HEAD_TARGET, head_first=True, retries=1)
    assert [one.method for one in result.earlier] == ["HEAD", "HEAD"]
    assert (result.attempt.status, result.target.method) == (200, "GET")


def test_the_failure_of_get_is_the_result() -> None:
    script = by_method(HEAD=[status(404)], GET=[status(404)])
    result = alone(script, HEAD_TARGET, head_first=True)
    assert (result.attempt.status, result.target.method, result.attempts) == (404, "GET", 2)


def test_the_fallback_to_get_starts_at_once_and_before_waiting_visits() -> None:
    async def body() -> None:
        steps = {0: [status(405), status(200)]}
        bench = Bench(scripted(steps), clock=FakeClock(1.0), max=1, head_first=True)
        await bench.crawl([HEAD_TARGET, *many(5, "host.example", first=1)])
        assert [one.index for one in bench.web.requests[:3]] == [0, 0, 1]
        assert bench.web.times(0) == [0, pytest.approx(0.1)]

    run(body())


def test_a_recheck_after_the_fallback_uses_get() -> None:
    script = by_method(HEAD=[status(405)], GET=[error(), status(200)])
    result = alone(script, HEAD_TARGET, head_first=True, retries=0, confirm_after=5.0)
    assert [one.method for one in result.earlier] == ["HEAD", "GET"]
    assert (result.attempt.status, result.flaky) == (200, True)


@pytest.mark.parametrize("name", ["405", "404", "reset"])
def test_a_visit_stopped_after_a_refused_head_is_unreached(name: str) -> None:
    async def body() -> None:
        script = by_method(HEAD=[KEY[name]], GET=[status(200, 60)])
        bench = Bench(script, head_first=True)
        crawl = bench.start([HEAD_TARGET])
        await bench.clock.advance(10)
        assert [one.target.method for one in bench.web.requests] == ["HEAD", "GET"]
        bench.stop.set()
        assert (await bench.finish(crawl))[0].outcome is Outcome.UNREACHED

    run(body())


# On the wire


def test_head_is_sent_first_and_get_if_it_is_refused(server: Server) -> None:
    statuses = [405, 501, 403, 404]
    for code in statuses:
        server.on(f"/{code}", handled_by_method(reply(code), reply(200, b"hello")))
    urls = [server.url(f"/{code}") for code in statuses]
    ended = crawl(*urls, "--head", "--retries", "0", "--jsonl")
    assert ended.returncode == 0
    for code, record in zip(statuses, in_order(records(ended.stdout)), strict=True):
        methods = [one.method for one in server.requests if one.path == f"/{code}"]
        assert methods == ["HEAD", "GET"]
        assert (record["method"], record["status"], record["size"]) == ("GET", 200, 5)
        assert record["attempts"] == 2
        assert record["retried"] == [{"method": "HEAD", "kind": None, "status": code}]


@pytest.mark.parametrize("response", [raw(close=True), resets()], ids=["closed", "reset"])
def test_get_is_sent_if_head_only_closes_the_connection(server: Server, response: Handler) -> None:
    server.on("/page", handled_by_method(response, reply(200, b"hello")))
    ended = crawl(server.url("/page"), "--head", "--retries", "0", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["method"], record["size"]) == (0, "GET", 5)
    assert [one["method"] for one in record["retried"]] == ["HEAD"]
    assert server.requests[-1].method == "GET"


def test_a_response_to_head_is_enough(server: Server) -> None:
    ended = crawl(server.on("/page", reply(200, b"hello")), "--head", "--jsonl")
    (record,) = records(ended.stdout)
    assert [request.method for request in server.requests] == ["HEAD"]
    assert (ended.returncode, record["method"], record["retried"]) == (0, "HEAD", [])


def test_the_get_after_a_head_has_all_its_retries(server: Server) -> None:
    server.on("/page", handled_by_method(reply(405), in_turn(reply(500), reply())))
    ended = crawl(server.url("/page"), "--head", "--backoff", "0", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["attempts"]) == (0, 3)
    assert [request.method for request in server.requests] == ["HEAD", "GET", "GET"]


def handled_by_method(head: Handler, get: Handler) -> Handler:
    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await (head if request.method == "HEAD" else get)(request, reader, writer)

    return handler
