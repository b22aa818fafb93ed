"""From Python: `async for check in crawl(urls)`, through the public interface alone."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest
import respx
from loopback import Server, reply
from samples import run, settle

import crawler
from crawler import Check, ErrorKind, Expectation, Limits, Outcome, crawl
from crawler.engine import intake


@pytest.fixture
def router() -> respx.Router:
    """Responds with 200 to everything on `ok.example`; tests add other routes."""
    router = respx.Router(assert_all_called=False)
    router.route(host="ok.example").respond(200, text="fine")
    return router


def transport(router: respx.Router) -> httpx.MockTransport:
    return httpx.MockTransport(router.async_handler)


async def collected(urls: Iterable[str], **options: Any) -> list[Check]:
    """Return all checks in input order."""
    checks = [check async for check in crawl(urls, **options)]
    return sorted(checks, key=lambda check: check.result.target.index)


def crawled(urls: Iterable[str], router: respx.Router, **options: Any) -> list[Check]:
    return run(collected(urls, transport=transport(router), **options))


def ok(*numbers: int) -> list[str]:
    return [f"https://ok.example/{number}" for number in numbers]


def urls(checks: Iterable[Check]) -> list[str]:
    return [check.result.target.url for check in checks]


def test_every_exported_name_exists() -> None:
    assert [name for name in crawler.__all__ if not hasattr(crawler, name)] == []


def test_every_url_gives_one_check(router: respx.Router) -> None:
    listed = ok(*range(200))
    checks = crawled(listed, router, max=10)
    assert urls(checks) == listed
    assert {check.result.outcome for check in checks} == {Outcome.RESPONDED}
    assert all(check.ok for check in checks)


def test_a_check_holds_the_facts_of_the_response(router: respx.Router) -> None:
    (check,) = crawled(ok(1), router)
    result = check.result
    assert (result.attempt.status, result.attempt.size, result.attempt.final_url) == (
        200,
        4,
        "https://ok.example/1",
    )
    assert result.attempt.content_type == "text/plain; charset=utf-8"
    assert (result.attempt.content_length, result.attempts, result.attempt.error) == (4, 1, None)
    assert result.attempt.latency is not None
    assert check.verdict.reasons == ()


def test_a_bad_status_is_a_failed_check(router: respx.Router) -> None:
    router.get("https://bad.example/").respond(503)
    (check,) = crawled(["https://bad.example/"], router)
    assert (check.ok, check.result.outcome) == (False, Outcome.RESPONDED)
    assert check.verdict.reasons == ("status 503 is not in 200-399",)


def test_an_error_is_a_failed_check_and_affects_no_other(router: respx.Router) -> None:
    router.get("https://bad.example/").mock(side_effect=httpx.RemoteProtocolError("nonsense"))
    first, bad, last = crawled([*ok(1), "https://bad.example/", *ok(2)], router, max=1)
    assert (first.ok, bad.ok, last.ok) == (True, False, True)
    assert bad.result.attempt.error is not None
    assert bad.result.attempt.error.kind is ErrorKind.PROTOCOL


def test_an_entry_that_is_not_a_url_is_an_invalid_check(router: respx.Router) -> None:
    checks = crawled([*ok(1), "ftp://x/", "", "http://", *ok(2)], router)
    outcomes = [check.result.outcome for check in checks]
    assert outcomes == [Outcome.RESPONDED, *[Outcome.INVALID] * 3, Outcome.RESPONDED]
    error = checks[1].result.attempt.error
    assert error is not None
    assert (error.kind, error.detail) == (
        ErrorKind.INVALID_URL,
        "'ftp://x/' is not an http:// or https:// URL",
    )


def test_an_entry_is_normalised_like_a_line(router: respx.Router) -> None:
    checks = crawled(["ok.example", "  HTTP://OK.example:80/a b\n"], router)
    assert urls(checks)[0] == "https://ok.example/"
    assert checks[1].result.outcome is Outcome.INVALID


def test_the_index_is_the_position_among_all_entries(router: respx.Router) -> None:
    listed = [*ok(5, 4), "ftp://x/", *ok(3)]
    checks = crawled(listed, router)
    assert [check.result.target.index for check in checks] == [0, 1, 2, 3]
    assert [check.result.target.input for check in checks] == listed


def test_the_line_is_the_position_of_the_entry(router: respx.Router) -> None:
    checks = crawled(ok(1, 2, 1, 3), router)
    assert [check.result.target.line for check in checks] == [1, 2, 4]
    assert {check.result.target.source for check in checks} == {None}


def test_a_string_is_not_accepted_as_a_list(router: respx.Router) -> None:
    with pytest.raises(TypeError, match="urls is a str"):
        crawled(ok(1)[0], router)


def test_duplicates_are_requested_once(router: respx.Router) -> None:
    checks = crawled([*ok(1, 2, 1), "https://OK.example:443/2"], router)
    assert urls(checks) == ok(1, 2)
    assert router.calls.call_count == 2


def test_duplicates_are_requested_each_time_with_repeat(
    router: respx.Router,
) -> None:
    checks = crawled(ok(1, 1, 1), router, repeat=True)
    assert urls(checks) == ok(1, 1, 1)
    assert router.calls.call_count == 3


def test_an_empty_list_yields_no_check(router: respx.Router) -> None:
    assert crawled([], router) == []


def test_any_iterable_is_accepted_and_read_lazily(router: respx.Router) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"https://host{read}.example/"

    async def body() -> None:
        router.route().respond(200)
        limits = Limits(max=5, window=50)
        async with aclosing(crawl(endless(), limits=limits, transport=transport(router))) as checks:
            async for _ in checks:
                break

    run(body())
    assert read < 500


def test_an_exception_of_the_iterable_is_raised_after_the_checks_before_it(
    router: respx.Router,
) -> None:
    seen: list[str] = []

    def breaking() -> Iterator[str]:
        yield from ok(1, 2)
        raise LookupError("no more")

    async def body() -> None:
        async for check in crawl(breaking(), transport=transport(router)):
            seen.append(check.result.target.url)

    with pytest.raises(LookupError, match="no more"):
        run(body())
    assert sorted(seen) == ok(1, 2)


def test_method_and_headers_are_sent(router: respx.Router) -> None:
    crawled(ok(1), router, method="HEAD", headers=[("X-Test", "yes")])
    request = router.calls.last.request
    assert (request.method, request.headers["x-test"]) == ("HEAD", "yes")


def test_the_expectation_decides(router: respx.Router) -> None:
    router.get("https://gone.example/").respond(410)
    expectation = Expectation(accept=((410, 410),))
    good, bad = crawled(["https://gone.example/", *ok(1)], router, expectation=expectation)
    assert (good.ok, bad.ok) == (True, False)


class Crowd:
    """Responds once as many requests as possible are in flight, and counts them."""

    def __init__(self) -> None:
        self.here = 0
        self.most = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.here += 1
        self.most = max(self.most, self.here)
        for _ in range(100):
            await asyncio.sleep(0)
        self.here -= 1
        return httpx.Response(200)


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"max": 7}, 7),
        ({"limits": Limits(max=3)}, 3),
        ({"max": 4, "limits": Limits(max=9, per_host=9)}, 4),
        ({"limits": Limits(max=9, per_host=2)}, 2),
        ({}, 10),
    ],
    ids=["max", "limits", "max before limits", "per host", "default"],
)
def test_concurrent_requests_are_limited(options: dict[str, Any], most: int) -> None:
    crowd = Crowd()
    run(collected(ok(*range(40)), transport=httpx.MockTransport(crowd), **options))
    assert crowd.most == most


@pytest.mark.parametrize("bounds", [{"max": 0}, {"max": -1}, {"per_host": 0}], ids=str)
def test_limits_that_allow_nothing_are_refused(
    bounds: dict[str, int], router: respx.Router
) -> None:
    async def body() -> None:
        async with asyncio.timeout(1):
            await collected(ok(1), limits=Limits(**bounds), transport=transport(router))  # type: ignore[arg-type]  # all ints

    with pytest.raises(ValueError, match=r"max|per_host"):
        run(body())


class Closing(httpx.AsyncBaseTransport):
    """A transport that responds to one URL only, and records that it is closed."""

    def __init__(self) -> None:
        self.waiting = 0
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/1":
            return httpx.Response(200)
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.waiting -= 1
        raise AssertionError

    async def aclose(self) -> None:
        self.closed += 1


def test_leaving_early_cancels_requests_in_flight_and_closes_the_transport() -> None:
    async def body() -> None:
        wire = Closing()
        async with aclosing(crawl(ok(1, 2, 3, 4), transport=wire)) as checks:
            assert (await anext(checks)).ok
            await settle()
            assert (wire.waiting, wire.closed) == (3, 0)
        assert (wire.waiting, wire.closed) == (0, 1)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(body())


def test_a_crawl_to_the_end_closes_the_transport_too() -> None:
    async def body() -> None:
        wire = Closing()
        assert len([check async for check in crawl(ok(1), transport=wire)]) == 1
        assert wire.closed == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(body())


def test_a_cancelled_crawl_closes_everything() -> None:
    async def body() -> None:
        wire = Closing()
        scheduler = asyncio.create_task(collected(ok(1, 2, 3), transport=wire))
        await settle()
        assert wire.waiting == 2
        scheduler.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scheduler
        assert (wire.waiting, wire.closed) == (0, 1)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(body())


def test_two_crawls_at_once_are_independent(router: respx.Router) -> None:
    async def body() -> None:
        one, two = await asyncio.gather(
            collected(ok(1, 2), transport=transport(router)),
            collected(ok(2, 3), transport=transport(router)),
        )
        assert (urls(one), urls(two)) == (ok(1, 2), ok(2, 3))

    run(body())


def test_without_a_transport_real_servers_are_requested(server: Server) -> None:
    (check,) = run(collected([server.url("/missing")]))
    assert (check.result.attempt.status, check.ok) == (404, False)
    assert server.counts == {"/missing": 1}


# Iterables that block, do not end or hold other types


def test_a_url_from_a_blocking_iterable_is_checked_before_the_next_one_arrives(
    router: respx.Router,
) -> None:
    """The iterable waits for the check of each URL before it yields the next one."""
    checked = threading.Semaphore(0)

    def blocking() -> Iterator[str]:
        for number in range(3):
            yield from ok(number)
            assert checked.acquire(timeout=10), "nothing was checked"

    async def body() -> int:
        count = 0
        async for check in crawl(blocking(), transport=transport(router)):
            assert check.ok
            count += 1
            checked.release()
        return count

    assert run(body()) == 3


def test_a_blocking_iterable_does_not_add_to_a_latency(server: Server) -> None:
    url = server.on("/ok", reply())

    def blocking() -> Iterator[str]:
        for number in range(3):
            yield f"{url}?{number}"
            time.sleep(0.5)

    checks = run(collected(blocking()))
    assert len(checks) == 3
    assert max(check.result.attempt.latency or 0.0 for check in checks) < 0.3


def endless_names() -> Iterator[str]:
    return (f"https://host{number}.example/" for number in itertools.count())


def endless_duplicates() -> Iterator[str]:
    return itertools.repeat("https://ok.example/")


def endless_wait() -> Iterator[str]:
    yield from ok(1)
    threading.Event().wait()


@pytest.mark.parametrize("urls", [endless_names, endless_duplicates, endless_wait])
def test_a_deadline_ends_an_endless_list(
    urls: Callable[[], Iterator[str]], router: respx.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_STALLED", 0.2)
    monkeypatch.setattr(intake, "_ENDLESS", 0.2)
    router.route().respond(200)
    limits = Limits(deadline=0.3, window=50, max=2)

    async def body() -> list[Check]:
        async with asyncio.timeout(10):
            return await collected(urls(), limits=limits, transport=transport(router))

    checks = run(body())
    assert [check.result.target.index for check in checks] == list(range(len(checks)))
    assert checks[0].ok


@pytest.mark.parametrize("made", [list, iter], ids=["list", "iterator"])
def test_a_known_number_of_urls_is_read_to_its_end_after_the_deadline(
    made: Callable[[list[str]], Iterable[str]], router: respx.Router
) -> None:
    listed = ok(*range(20_000))
    limits = Limits(deadline=0.01)
    assert len(crawled(made(listed), router, limits=limits)) == 20_000


@pytest.mark.parametrize("made", [list, iter], ids=["list", "iterator"])
@pytest.mark.parametrize(
    ("bad", "name"), [(b"https://ok.example/2", "bytes"), (None, "NoneType"), (7, "int")]
)
def test_an_item_that_is_not_a_string_is_reported_with_its_position(
    bad: object, name: str, made: Callable[[list[Any]], Iterable[str]], router: respx.Router
) -> None:
    seen: list[str] = []

    async def body() -> None:
        async for check in crawl(made([*ok(1), bad, *ok(3)]), transport=transport(router)):
            seen.append(check.result.target.url)

    with pytest.raises(TypeError, match=f"^entry 2 of urls is {name}, not str$"):
        run(body())
    assert seen == ok(1)


def test_bytes_are_not_accepted_as_a_list(router: respx.Router) -> None:
    with pytest.raises(TypeError, match="urls is a bytes"):
        crawled(b"https://ok.example/", router)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("method", ["get", "Head", "delete"])
def test_a_method_is_normalised_as_on_the_command_line(method: str, router: respx.Router) -> None:
    """In upper case, so that it counts as idempotent."""
    router.route(host="flaky.example").mock(side_effect=[httpx.Response(503), httpx.Response(200)])
    limits = Limits(backoff=0)
    (check,) = crawled(["https://flaky.example/"], router, method=method, limits=limits)
    assert (check.ok, check.result.attempts) == (True, 2)
    assert check.result.target.method == method.upper()


@pytest.mark.parametrize("method", ["", "G E T", "GET\r\nX: y", "CONNECT", "GÉT"])
def test_an_invalid_method_is_refused_before_any_request(method: str, router: respx.Router) -> None:
    with pytest.raises(ValueError, match="is not an HTTP method"):
        crawled(ok(1), router, method=method)
    assert router.calls.call_count == 0


def test_an_iterable_is_not_read_on_after_leaving_early(router: respx.Router) -> None:
    read = 0

    def counting() -> Iterator[str]:
        nonlocal read
        for number in itertools.count():
            read = number
            yield f"https://host{number}.example/"

    async def body() -> int:
        router.route().respond(200)
        limits = Limits(window=10)
        async with aclosing(
            crawl(counting(), limits=limits, transport=transport(router))
        ) as checks:
            await anext(checks)
        await asyncio.sleep(0.05)
        before = read
        await asyncio.sleep(0.05)
        return read - before

    assert run(body()) == 0
