"""The invariants of the policy simulator: a run that keeps them all, and runs that break each."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("benchmarks", reason="benchmarks/ is in a checkout only")
pytest.importorskip("trustme")

from benchmarks.policies import invariants
from benchmarks.policies.log import Connection, Log, Request
from benchmarks.policies.program import Run
from benchmarks.policies.scenario import End, Hop, Line, Options, Origin, Page, Reply, Scenario

START = 100.0
FIRST, SECOND = Origin(host="127.0.0.1"), Origin(host="127.0.0.2")
GOOD, BUSY = Reply(), Reply(status=503, retry_after=1)
URLS = [["http://127.0.0.1:80/0/0"], ["http://127.0.0.2:80/1/0"]]
URLS += [["http://127.0.0.1:80/2/0", "http://127.0.0.2:80/2/1"]]
SCENARIO = Scenario(
    seed=0,
    origins=(FIRST, SECOND),
    pages=(
        Page(hops=(Hop(origin=0),)),
        Page(hops=(Hop(origin=1, script=(BUSY, GOOD)),)),
        Page(hops=(Hop(origin=0, script=(Reply(status=302, leads_to=1),)), Hop(origin=1))),
    ),
    lines=(
        Line(page=0),
        Line(text="# a comment"),
        Line(page=1),
        Line(page=2),
        Line(page=0),
        Line(text="ftp://x/", valid=False),
    ),
    options=Options(max=2, per_host=1, rate=20.0, host_rate=20.0, timeout=0.6, ordered=True),
)


def request(page: int, hop: int, begin: int, end: int, reply: Reply = GOOD, **more: Any) -> Request:
    """Return a request with a complete response; times in ms from the start."""
    host = SCENARIO.origins[SCENARIO.pages[page].hops[hop].origin].host
    made = Request(
        page=page,
        hop=hop,
        host=host,
        method="GET",
        connection=0,
        turn=0,
        step=0,
        arrived=START + begin / 1000,
        reply=reply,
        ended=START + end / 1000,
        end=End.WHOLE,
        retry_after=None if reply.retry_after is None else float(reply.retry_after),
    )
    return replace(made, **more)


def record(index: int, line: int, page: int | None, latency: float | None) -> dict[str, Any]:
    """Return the record of a page that passed, or of a line that is not a URL; latency in ms."""
    sent = page is not None
    url = URLS[page][0] if page is not None else "ftp://x/"
    error = {"kind": "invalid_url", "phase": None, "detail": "no URL"}
    phases = dict.fromkeys(("queue", "dns", "connect", "tls", "wait", "download"))
    return {
        "schema": 1,
        "index": index,
        "source": "list.txt",
        "line": line,
        "input": url,
        "url": url,
        "final_url": URLS[page][-1] if page is not None else None,
        "method": "GET",
        "ok": sent,
        "outcome": "responded" if sent else "invalid",
        "status": 200 if sent else None,
        "size": 5 if sent else None,
        "latency_ms": latency,
        "ttfb_ms": latency,
        "timings_ms": phases,
        "attempts": int(sent),
        "redirects": [],
        "http_version": "HTTP/1.1" if sent else None,
        "remote_ip": None,
        "content_type": None,
        "content_length": 5 if sent else None,
        "truncated": False,
        "error": None if sent else error,
        "reasons": [] if sent else ["no URL"],
        "timestamp": "2026-11-25T00:00:00.000Z" if sent else None,
        "tls": None,
        "retried": [],
        "flaky": False,
        "hedged": False,
        "blocked_by": None,
        "warned": False,
    }


def good() -> Run:
    """Return a run that breaks no invariant."""
    records = [record(0, 1, 0, 51.0), record(1, 3, 1, 52.0), record(2, 4, 2, 63.0)]
    records.append(record(3, 6, None, None))
    records[1]["attempts"] = 2
    records[1]["retried"] = [{"method": "GET", "kind": None, "status": 503}]
    records[2]["redirects"] = [{"url": URLS[2][0], "status": 302}]
    redirect = SCENARIO.pages[2].hops[0].script[0]
    log = Log(
        requests=[
            request(0, 0, 200, 250),
            request(1, 0, 260, 310, BUSY),
            request(2, 0, 330, 350, redirect),
            request(1, 0, 1320, 1370, step=1),
            request(2, 1, 1400, 1440),
        ],
        connections=[
            Connection(number=0, host=FIRST.host, opened=START + 0.2, closed=START + 1.5),
            Connection(number=1, host=SECOND.host, opened=START + 0.26, closed=START + 1.5),
        ],
    )
    listed = [URLS[0][0], "# a comment", URLS[1][0], URLS[2][0], URLS[0][0], "ftp://x/"]
    latency = {"min": 51.0, "mean": 55.333, "p50": 52.0, "max": 63.0}
    latency |= dict.fromkeys(("p90", "p95", "p99"), 63.0)
    summary: dict[str, Any] = {"total": 4, "passed": 3, "failed": 0, "invalid": 1, "unreached": 0}
    summary |= {"complete": True, "bytes": 15, "elapsed_s": 1.3, "requests_per_s": 2.3}
    summary |= {"latency_ms": latency, "by_status": {"200": 3}, "by_error": {"invalid_url": 1}}
    summary |= {"exit_code": 1, "duplicates": 1, "flaky": 0, "warned": 0, "blocked": 0}
    return Run(
        scenario=SCENARIO,
        log=log,
        urls=URLS,
        records=records,
        document={"results": copy.deepcopy(records), "summary": summary},
        listed=listed,
        code=1,
        errors="crawl: engine direct, event loop asyncio",
        started=START,
        finished=START + 1.5,
    )


def options(run: Run, **changes: Any) -> None:
    run.scenario = replace(run.scenario, options=replace(run.scenario.options, **changes))


def hurry(run: Run) -> None:
    """The request after the pause comes too early."""
    run.log.requests[3].arrived = START + 0.9


def crowd(run: Run, *, host: str, count: int) -> None:
    """More concurrent requests, each on a connection of its own, in the middle of the run."""
    pages = tuple(Page(hops=(Hop(origin=int(host == SECOND.host)),)) for _ in range(count))
    run.scenario = replace(run.scenario, pages=(*run.scenario.pages, *pages))
    for page in range(3, 3 + count):
        run.log.requests.append(
            replace(request(0, 0, 600, 700), page=page, host=host, arrived=START + 0.6 + page / 1e3)
        )
        run.log.connections.append(
            Connection(number=page, host=host, opened=START + 0.6, closed=START + 0.7)
        )


def many_pauses(run: Run) -> None:
    """Eight pages are retried at once, although the back-off is half a second."""
    options(run, backoff=0.5, rate=None, host_rate=None)
    pages = tuple(Page(hops=(Hop(origin=0, script=(GOOD, GOOD)),)) for _ in range(8))
    lines = tuple(Line(page=page) for page in range(8))
    run.scenario = replace(run.scenario, pages=pages, lines=lines)
    run.records = [record(page, page + 1, 0, 5.0) for page in range(8)]
    run.log.requests = []
    for page, one in enumerate(run.records):
        one |= {"attempts": 2, "retried": [{"method": "GET", "kind": None, "status": 503}]}
        for step, reply in enumerate((Reply(status=503), GOOD)):
            begin = 200 + 20 * page + 6 * step
            run.log.requests.append(replace(request(0, 0, begin, begin + 5, reply), page=page))


def recheck(run: Run) -> None:
    """The second attempt of page 1 is a recheck, long before the others are done."""
    options(run, retries=0, confirm_after=0.3)
    run.records[1]["flaky"] = True
    run.log.requests[4].arrived, run.log.requests[4].ended = START + 1.5, START + 1.54


def throttle(run: Run) -> None:
    """Two requests start together on a host after a 503, before one has succeeded again."""
    options(run, max=10, per_host=2)
    run.log.requests[1].reply = Reply(status=503)
    crowd(run, host=SECOND.host, count=2)


def change(path: str, value: Any) -> Callable[[Run], None]:
    """Return a function that sets "records.1.size" or "code" of a run to a value."""
    *outer, last = path.split(".")

    def act(run: Run) -> None:
        owner: Any = run
        for part in outer:
            owner = _of(owner, part)
        if isinstance(owner, list):
            owner[int(last)] = value
        elif isinstance(owner, dict):
            owner[last] = value
        else:
            setattr(owner, last, value)

    return act


def _of(owner: Any, part: str) -> Any:
    if isinstance(owner, list):
        return owner[int(part)]
    return owner[part] if isinstance(owner, dict) else getattr(owner, part)


def both(*changes: Callable[[Run], None]) -> Callable[[Run], None]:
    def act(run: Run) -> None:
        for one in changes:
            one(run)

    return act


BROKEN: dict[str, list[Callable[[Run], None]]] = {
    "ended_by_itself": [change("code", None), change("errors", "Traceback (most recent call)")],
    "ran_as_requested": [change("errors", "crawl: engine httpx, event loop asyncio")],
    "one_record_per_entry": [
        lambda run: run.records.clear(),
        lambda run: run.records.extend(run.records[:1]),
        change("records.1.line", 2),
    ],
    "record_schema": [
        change("records.0", {"schema": 1, "index": 0}),
        change("records.0.outcome", "fine"),
        change("records.3.attempts", 1),
        change("records.0.size", None),
        change("records.0.timings_ms", {}),
        change("records.0.latency_ms", -1.0),
    ],
    "outputs_agree": [
        lambda run: run.records.reverse(),
        change("document.results", []),
        both(lambda run: options(run, failed_to=True), change("failed", [])),
    ],
    "counts_add_up": [change("document.summary.total", 5), change("document.summary.passed", 2)],
    "summary_recomputed": [
        change("document.summary.bytes", 16),
        change("document.summary.latency_ms.p50", 63.0),
        change("document.summary.duplicates", 0),
        change("document.summary.requests_per_s", 3.0),
    ],
    "verdicts_by_the_rules": [
        change("records.0.ok", False),
        lambda run: options(run, fail_on="2xx"),
        lambda run: options(run, warn_on="redirect"),
    ],
    "exit_code_by_the_rules": [change("code", 0), lambda run: options(run, max_failures="50%")],
    "attempts_as_counted": [
        change("records.0.attempts", 2),
        lambda run: options(run, retries=0),
    ],
    "attempts_as_the_server_saw": [
        change("records.0.status", 201),
        lambda run: run.log.requests.append(request(0, 0, 800, 810)),
        lambda run: run.log.requests.clear(),
    ],
    "retries_by_the_rules": [
        lambda run: options(run, accept="200-503"),
        lambda run: options(run, max_wait=0.5),
        both(
            lambda run: options(run, retries=2),
            change("log.requests.3.reply", Reply(status=500)),
            change("records.1.status", 500),
        ),
    ],
    "flaky_only_on_a_recheck": [change("records.1.flaky", True)],
    "sent_once": [
        both(change("log.requests.1.method", "POST"), change("log.requests.3.method", "POST"))
    ],
    "hedges_within_budget": [
        change("records.0.hedged", True),
        both(
            lambda run: options(run, hedge_budget=5),
            lambda run: run.log.requests.insert(1, request(0, 0, 220, 240)),
        ),
    ],
    "hedges_are_recorded": [
        both(
            lambda run: options(run, hedge_budget=100),
            lambda run: run.log.requests.insert(1, request(0, 0, 220, 240)),
        )
    ],
    "response_as_scripted": [
        change("records.0.size", 6),
        change("records.2.redirects", []),
        change("records.2.final_url", URLS[2][0]),
    ],
    "total_concurrency": [lambda run: crowd(run, host="127.0.0.3", count=3)],
    "host_concurrency": [lambda run: crowd(run, host=FIRST.host, count=2)],
    "total_connections": [lambda run: crowd(run, host="127.0.0.3", count=1)],
    "host_connections": [lambda run: crowd(run, host=FIRST.host, count=1)],
    "total_rate": [lambda run: crowd(run, host="127.0.0.3", count=5)],
    "host_rate": [lambda run: crowd(run, host=FIRST.host, count=5)],
    "pauses_kept": [hurry],
    "throttled_hosts_get_half": [throttle],
    "latency_is_network_time": [
        change("records.0.latency_ms", 40.0),
        change("records.0.latency_ms", 350.0),
    ],
    "timings_fit": [
        change("records.0.ttfb_ms", 60.0),
        change("records.0.timings_ms.wait", 70.0),
    ],
    "timeouts_kept": [
        change("records.0.latency_ms", 900.0),
        change("records.0.error", {"kind": "timeout"}),
    ],
    "pauses_are_spread": [many_pauses],
    "rechecks_come_last": [recheck],
    "nothing_starts_after_the_end": [
        lambda run: options(run, deadline=0.5),
        change("signalled", START + 0.5),
    ],
    "ends_in_time": [
        change("finished", START + 9.0),
        both(change("signalled", START + 0.1), change("finished", START + 2.5)),
        both(lambda run: options(run, deadline=0.5), change("document.summary.elapsed_s", 3.0)),
    ],
}


def test_a_run_that_keeps_all_promises_breaks_no_invariant() -> None:
    assert invariants.violations(good()) == {}


def test_each_invariant_is_broken_by_some_run() -> None:
    assert set(BROKEN) == {invariant.__name__ for invariant in invariants.ALL}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param(name, change, id=f"{name} {number}")
        for name, changes in BROKEN.items()
        for number, change in enumerate(changes, 1)
    ],
)
def test_an_invariant_fails_on_a_run_that_breaks_it(
    name: str, change: Callable[[Run], None]
) -> None:
    run = good()
    change(run)
    (invariant,) = [one for one in invariants.ALL if one.__name__ == name]
    assert invariant(run) != []
