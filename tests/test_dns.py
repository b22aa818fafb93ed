"""Names that do not resolve, between names that do: `ok, BAD, ok` through the direct transport."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from loopback import Server, delayed, reply
from nameserver import crawl_names

from crawler import ErrorKind, Limits, Outcome, Phase, Result, crawl
from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.resolve import Address, Addresses, Resolver
from crawler.engine.transports.settings import ConnectionSettings

HERE = (Address(socket.AF_INET, "127.0.0.1"),)
FAILURES = {
    "missing.test": socket.EAI_NONAME,
    "no-data.test": getattr(socket, "EAI_NODATA", socket.EAI_NONAME),
    "later.test": socket.EAI_AGAIN,
    "refused.test": socket.EAI_FAIL,
}
KINDS = {
    "missing.test": ErrorKind.DNS_NOT_FOUND,
    "no-data.test": ErrorKind.DNS_NOT_FOUND,
    "later.test": ErrorKind.DNS_TEMPORARY,
    "refused.test": ErrorKind.DNS_TEMPORARY,
    "silent.test": ErrorKind.TIMEOUT,
}


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """An event that is set when the test is over, so that stuck lookups end."""
    event = threading.Event()
    yield event
    event.set()


def crawled(urls: list[str], resolver: Resolver, concurrency: int) -> list[Result]:
    limits = Limits(max=concurrency, per_host=concurrency, timeout=1.0, retries=0)

    async def main() -> list[Result]:
        transport = DirectTransport(ConnectionSettings(idle=concurrency), resolver)
        found = [c.result async for c in crawl(urls, limits=limits, transport=transport)]
        return sorted(found, key=lambda result: result.target.index)

    return asyncio.run(main())


@pytest.mark.parametrize("concurrency", [1, 50])
@pytest.mark.parametrize("name", KINDS)
def test_a_name_that_does_not_resolve_affects_no_other(
    server: Server, over: threading.Event, name: str, concurrency: int
) -> None:
    server.on("/ok", reply(200, b"good"))

    def lookup(host: str) -> Addresses:
        if host == "silent.test":
            over.wait(60)
        if host in FAILURES:
            raise socket.gaierror(FAILURES[host], "from the test")
        return HERE

    good = server.url("/ok", host="good.test")
    rounds = 1 if concurrency == 1 else 15
    urls = [f"{good}?{n}" if n % 3 != 1 else f"http://{name}/?{n}" for n in range(3 * rounds)]
    results = crawled(urls, Resolver(concurrency, lookup), concurrency)
    assert [result.target.index for result in results] == list(range(3 * rounds))
    for result in results:
        if result.target.index % 3 != 1:
            assert (result.attempt.status, result.attempt.size) == (200, 4)
        else:
            assert result.outcome is Outcome.ERROR
            assert result.attempt.error is not None
            assert (result.attempt.error.kind, result.attempt.error.phase) == (
                KINDS[name],
                Phase.DNS,
            )


def test_a_dozen_names_without_response_do_not_affect_good_ones(
    server: Server, over: threading.Event
) -> None:
    server.on("/ok", reply(200, b"good"))

    def lookup(host: str) -> Addresses:
        if host.startswith("silent"):
            over.wait(60)
        return HERE

    bad = [f"http://silent{n}.test/" for n in range(12)]
    good = [server.url(f"/ok?{n}", host=f"good{n}.test") for n in range(20)]
    results = crawled(bad + good, Resolver(50, lookup), 50)
    assert [result.attempt.error and result.attempt.error.kind for result in results[:12]] == [
        "timeout"
    ] * 12
    assert [result.attempt.status for result in results[12:]] == [200] * 20
    assert all(
        result.attempt.latency is not None and result.attempt.latency < 0.9
        for result in results[12:]
    )


def test_latency_under_load_is_the_servers(server: Server) -> None:
    url = server.on("/slow", delayed(0.05, reply(200, b"good")))
    results = crawled([f"{url}?{n}" for n in range(500)], Resolver(1), 100)
    latencies = sorted(result.attempt.latency or 0.0 for result in results)
    assert latencies[0] >= 0.05
    # Bounds for a busy machine, whose server is late too; the benchmark has the narrow ones.
    assert latencies[250] < 0.2


# Real lookups, at misbehaving name servers


@pytest.mark.parametrize("engine", ["direct", "httpx", "native"])
def test_ten_names_without_response_fail_no_other_name(engine: str) -> None:
    silent = [f"silent{n}.test" for n in range(10)]
    good = [f"good{n}.test" for n in range(40)]
    options = ["--max", "10", "--timeout", "1", "--retries", "0", "--engine", engine]
    run = crawl_names([*silent, *good], *options)
    by_host = {urlsplit(record["url"]).hostname: record for record in run.records}
    assert [by_host[name]["error"]["kind"] for name in silent] == ["timeout"] * 10
    assert [name for name in good if not by_host[name]["ok"]] == []
    assert max(by_host[name]["latency_ms"] for name in good) < 900


def test_each_retry_of_a_temporary_failure_is_a_lookup() -> None:
    options = ["--retries", "2", "--backoff", "0.01", "--confirm", "--confirm-after", "0.01"]
    run = crawl_names(["later.test"], *options)
    (record,) = run.records
    assert (record["error"]["kind"], record["attempts"]) == ("dns_temporary", 4)
    # glibc queries both name servers up to twice each in one lookup.
    once = crawl_names(["later.test"], "--retries", "0")
    assert run.queries["later.test"] == 4 * once.queries["later.test"]


def test_a_retry_after_a_lookup_without_response_is_another_lookup() -> None:
    run = crawl_names(["silent.test"], "--timeout", "0.5", "--retries", "1", "--backoff", "0.01")
    (record,) = run.records
    assert (record["error"]["phase"], record["attempts"]) == ("dns", 2)
    assert run.queries["silent.test"] == 2
