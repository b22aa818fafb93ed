"""--fail-on, --warn-on and --max-failures: which results affect the exit code."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from loopback import (
    Server,
    redirect,
    refusing_port,
    reply,
    silent,
)
from shell import (
    crawl,
    records,
)
from sites import NEAR, document, in_library, in_order, in_turn, lines, numbered

from crawler import Expectation, Limits
from crawler.core import expect
from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.resolve import Address, Addresses, Resolver
from crawler.engine.transports.settings import ConnectionSettings

# Classes that fail, and that warn


GOOD, MOVED, WALL, MANY, LOST, BROKEN, SHAKY, SLOW, SHUT, UNKNOWN = (
    *("/ok", "/moved", "/protected", "/429", "/404", "/500", "/flaky", "slow", "shut", "unknown"),
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
"""Each class is once in --fail-on, and once in --warn-on."""


Judge = Callable[[tuple[str, str]], dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def judged(tls_context: Any) -> Iterator[Judge]:
    """The records of a list with a row for each class, by the row's name, for each of `PAIRS`."""
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
def test_only_the_named_classes_fail_or_pass_with_a_warning(
    judged: Judge, pair: tuple[str, str]
) -> None:
    """A class in both fails; results in neither keep their verdict."""
    found = judged(pair)
    fails, warns = (CLASSES[classes] for classes in pair)
    assert {name for name, record in found.items() if record["warned"]} == warns - fails
    passed = {name for name, record in found.items() if record["ok"]}
    assert passed == ({GOOD, MOVED, SHAKY} | warns) - fails
    assert all(bool(record["reasons"]) is not record["ok"] for record in found.values())


@pytest.mark.parametrize("classes", ["dns", "dns_not_found"])
def test_a_name_that_does_not_resolve_may_be_a_warning_only(server: Server, classes: str) -> None:
    server.on("/ok", reply())

    def lookup(host: str) -> Addresses:
        if host == "missing.test":
            raise socket.gaierror(socket.EAI_NONAME, "simulated")
        return (Address(socket.AF_INET, NEAR),)

    transport = DirectTransport(ConnectionSettings(idle=10), Resolver(1, lookup))
    urls = ["http://missing.test/", server.url("/ok", host="good.test"), server.url("/gone")]
    expectation = Expectation(warn_on=expect.classes(classes))
    checks = in_library(urls, Limits(), expectation, transport=transport)
    assert [check.ok for check in checks] == [True, True, False]
    assert [bool(check.verdict.warnings) for check in checks] == [True, False, False]


def test_fail_on_takes_precedence_over_warn_on(server: Server) -> None:
    url = server.on("/page", reply(404))
    ended = crawl(url, "--fail-on", "404", "--warn-on", "4xx", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["ok"], record["warned"]) == (1, False, False)


def test_an_accepted_status_fails_with_fail_on(server: Server) -> None:
    url = server.on("/page", reply(404))
    ended = crawl(url, "--accept", "200-499", "--fail-on", "4xx", "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["ok"]) == (1, False)
    assert record["reasons"] != []


# Tolerated failures


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
def test_up_to_max_failures_the_exit_code_is_0(
    server: Server, most: str, failing: int, total: int, code: int
) -> None:
    server.on("/ok", reply())
    server.on("/gone", reply(410))
    urls = numbered(server.url("/gone"), failing) + numbered(server.url("/ok"), total - failing)
    ended = crawl("--max-failures", most, "--json", text=lines(*urls))
    report = document(ended)
    assert (ended.returncode, report["summary"]["exit_code"]) == (code, code)
    assert report["summary"]["failed"] == failing
    assert sum(record["ok"] is False for record in report["results"]) == failing


def test_an_invalid_line_counts_towards_max_failures(server: Server) -> None:
    text = lines(server.on("/ok", reply()), "ftp://127.0.0.1/")
    ended = crawl("--max-failures", "1", "-q", text=text)
    assert ended.returncode == 0
    assert crawl("--max-failures", "0", "-q", text=text).returncode == 1


def test_max_failures_does_not_cover_unreached_urls(server: Server) -> None:
    urls = [server.on("/gone", reply(410)), server.on("/hang", silent())]
    ended = crawl(*urls, "--max-failures", "5", "--deadline", "0.5", "-q")
    assert ended.returncode == 3
