"""One target over each transport -> the facts of a complete response."""

import asyncio
import base64
import gzip
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fetching import (
    BOTH,
    HASTY,
    NATIVE_IS_EXTRA,
    PATIENT,
    Body,
    detail,
    fetched,
    responding,
    target,
)
from hostile_cases import bad, facts_of, good
from loopback import (
    Server,
    endless,
    raw,
    reply,
)
from proxies import tunnel
from samples import result_of
from shell import crawl, records

from crawler import (
    ErrorKind,
    Limits,
    Outcome,
    Phase,
    Timings,
)
from crawler.engine.fetch import Fetcher
from crawler.engine.transports import open_transport
from crawler.engine.transports.settings import ConnectionSettings, Engine, Proxies
from crawler.models import Attempt

# A complete response


@BOTH
def test_a_complete_response_becomes_its_facts(server: Server, engine: Engine) -> None:
    url = server.on("/page", reply(200, b"hello", "Content-Type: text/html; charset=utf-8"))
    result = fetched(url, connecting=ConnectionSettings(engine=engine))

    expected = result_of(
        target(url),
        Attempt(
            status=200,
            size=5,
            latency=result.attempt.latency,
            ttfb=result.attempt.ttfb,
            timings=result.attempt.timings,
            final_url=url,
            http_version="HTTP/1.1",
            remote_ip="127.0.0.1",
            content_type="text/html; charset=utf-8",
            content_length=5,
            timestamp=result.timestamp,
        ),
    )
    assert result == expected


@pytest.mark.parametrize("status", [200, 204, 206, 304, 400, 404, 410, 429, 500, 503])
def test_every_status_is_a_response_and_not_an_error(server: Server, status: int) -> None:
    result = fetched(server.on("/page", reply(status)))
    assert facts_of(result) == good(0, status)


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"x" * 70_000, gzip.compress(bytes(50_000))],
    ids=["empty", "one-byte", "many-reads", "gzip"],
)
@pytest.mark.parametrize("coding", ["identity", "gzip", "br", "zstd"])
def test_the_size_is_that_of_the_body_as_sent_on_the_wire(
    server: Server, body: bytes, coding: str
) -> None:
    url = server.on("/page", reply(200, body, f"Content-Encoding: {coding}"))
    assert facts_of(fetched(url)) == good(len(body))


def test_the_size_excludes_the_framing_of_chunks(server: Server) -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"
    )
    result = fetched(server.on("/page", raw(chunked)))
    assert (result.attempt.size, result.attempt.content_length) == (8, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5), ("005", 5), ("99999999999999999999", None), ("", None), ("5.0", None)],
)
def test_a_content_length_that_is_not_a_number_is_null(text: str, expected: int | None) -> None:
    transport = responding(httpx.Response(200, headers={"Content-Length": text}, stream=Body()))
    assert fetched("http://a.test/", transport=transport).attempt.content_length == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"text/plain", "text/plain"),
        ("text/caf\xe9".encode(), "text/caf\xe9"),
        (b"text/caf\xe9", "text/caf\xe9"),
    ],
    ids=["ascii", "utf-8", "latin-1"],
)
def test_the_content_type_is_recorded_as_received(
    server: Server, value: bytes, expected: str
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: " + value + b"\r\n\r\n"
    assert fetched(server.on("/page", raw(head))).attempt.content_type == expected


def test_http_1_0_is_recorded(server: Server) -> None:
    result = fetched(server.on("/page", raw(b"HTTP/1.0 200 OK\r\n\r\nhello", close=True)))
    assert (result.attempt.http_version, result.attempt.size) == ("HTTP/1.0", 5)


# The body cap


def test_a_body_as_large_as_the_cap_is_not_truncated(server: Server) -> None:
    url = server.on("/page", reply(200, bytes(5000)))
    assert facts_of(fetched(url, limits=replace(PATIENT, max_body=5000))) == good(5000)


def test_a_body_beyond_the_cap_is_truncated_and_not_an_error(server: Server) -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
    result = fetched(
        server.on("/page", endless(body, bytes(65536))), limits=replace(PATIENT, max_body=5000)
    )

    assert (result.outcome, result.attempt.status, result.attempt.truncated) == (
        Outcome.RESPONDED,
        200,
        True,
    )
    assert result.attempt.size is not None
    assert 5000 < result.attempt.size < 1_000_000
    assert result.attempt.content_length == 100_000_000


def test_a_truncated_size_counts_the_bytes_read() -> None:
    body = Body(bytes(400), bytes(400), bytes(400), bytes(400))
    result = fetched(
        "http://a.test/",
        transport=responding(httpx.Response(200, stream=body)),
        limits=replace(PATIENT, max_body=1000),
    )

    assert (result.attempt.size, result.attempt.truncated, result.attempt.error) == (
        1200,
        True,
        None,
    )
    assert body.closed


# Engines


@NATIVE_IS_EXTRA
def test_facts_that_the_native_transport_cannot_know_are_null(
    tls_server: Server, ca_file: Path
) -> None:
    url = tls_server.on("/page", reply(200, b"hello"))
    result = fetched(url, connecting=ConnectionSettings(engine=Engine.NATIVE, cacert=str(ca_file)))

    assert facts_of(result) == good(5)
    assert (result.attempt.remote_ip, result.attempt.tls) == (None, None)
    assert replace(result.attempt.timings, download=None) == Timings()


@NATIVE_IS_EXTRA
def test_the_native_transport_resolves_names(tls_server: Server, ca_file: Path) -> None:
    """In a process of its own: loaded in the wrong thread, pyreqwest crashes at that."""
    url = tls_server.on("/page", reply(200, b"hello")).replace("127.0.0.1", "localhost")
    for trust in (["--insecure"], ["--cacert", str(ca_file)]):
        ended = crawl(url, "--engine", "native", "--jsonl", *trust)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert [record["size"] for record in records(ended.stdout)] == [5]


@NATIVE_IS_EXTRA
def test_the_native_transport_can_be_cancelled(tls_server: Server) -> None:
    """A body that comes in drips has many moments at which a piece and the end meet."""
    url = tls_server.on("/drip", endless(b"HTTP/1.1 200 OK\r\n\r\n", b".", gap=0.01))
    results: list[Attempt] = []

    async def body() -> float:
        connecting = ConnectionSettings(engine=Engine.NATIVE, idle=60, verify=False)
        async with open_transport(connecting) as wire:
            fetch = Fetcher(wire, Limits(timeout=20))
            tasks = [asyncio.ensure_future(fetch(target(f"{url}?{n}"))) for n in range(60)]
            await asyncio.sleep(1)
            start = time.perf_counter()
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            results.extend(one for one in ended if isinstance(one, Attempt))
            return time.perf_counter() - start

    assert asyncio.run(body()) < 10
    assert results == []


@NATIVE_IS_EXTRA
def test_the_native_engine_uses_direct_for_plain_http(server: Server) -> None:
    result = fetched(
        server.on("/page", reply()), connecting=ConnectionSettings(engine=Engine.NATIVE)
    )

    assert result.attempt.remote_ip == "127.0.0.1"
    assert result.attempt.timings.connect is not None
    assert result.attempt.timings.wait is not None


# Cancellation


def test_a_cancelled_fetch_is_cancelled_and_leaves_no_response_open() -> None:
    body = Body(stalls=True)

    async def cancel() -> None:
        transport = responding(httpx.Response(200, stream=body))
        fetch = Fetcher(transport, PATIENT)
        task = asyncio.ensure_future(fetch(target("http://a.test/")))
        await body.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert body.closed


@pytest.mark.parametrize(
    ("body", "limits"),
    [
        ({"chunks": (b"hello",)}, PATIENT),
        ({"chunks": (b"hello",)}, replace(PATIENT, max_body=1)),
        ({"error": httpx.ReadError("broken")}, PATIENT),
        ({"stalls": True}, HASTY),
    ],
    ids=["whole", "truncated", "broken", "timed-out"],
)
def test_a_response_is_closed_however_it_ends(body: dict[str, Any], limits: Limits) -> None:
    stream = Body(*body.pop("chunks", ()), **body)
    fetched(
        "http://a.test/", transport=responding(httpx.Response(200, stream=stream)), limits=limits
    )
    assert stream.closed


# Proxies


def test_a_proxy_gets_the_absolute_url(server: Server) -> None:
    server.on("http://a.test/page", reply(200, b"by proxy"))
    proxies = Proxies(http=server.url("", host="user:secret@127.0.0.1"))
    result = fetched("http://a.test/page", connecting=ConnectionSettings(proxies=proxies))

    assert facts_of(result) == good(8)
    assert server.requests[-1].header("Host") == "a.test"
    token = base64.b64encode(b"user:secret").decode()
    assert server.requests[-1].header("Proxy-Authorization") == f"Basic {token}"


def test_https_goes_through_a_tunnel(server: Server, tls_server: Server, ca_file: Path) -> None:
    server.on(f"127.0.0.1:{tls_server.port}", tunnel)
    url = tls_server.on("/page", reply(200, b"hello"))
    connecting = ConnectionSettings(cacert=str(ca_file), proxies=Proxies(https=server.origin))
    result = fetched(url, connecting=connecting)

    assert facts_of(result) == good(5)
    assert [request.method for request in server.requests] == ["CONNECT"]


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_refused_tunnel_is_named(server: Server, status: int) -> None:
    server.on("a.test:443", reply(status))
    connecting = ConnectionSettings(proxies=Proxies(https=server.origin))
    result = fetched("https://a.test/", connecting=connecting)

    assert facts_of(result) == bad(ErrorKind.PROTOCOL, Phase.CONNECT)
    assert "proxy" in detail(result)
    assert str(status) in detail(result)


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [("127.0.0.1", True), ("*", True), ("a.test, 127.0.0.1", True), ("a.test", False), ("", False)],
)
def test_hosts_of_no_proxy_are_requested_directly(
    server: Server, no_proxy: str, direct: bool
) -> None:
    server.on("/page", reply(200, b"direct"))
    with Server({server.url("/page"): reply(200, b"by proxy")}) as proxy:
        proxies = Proxies(http=proxy.origin, no_proxy=no_proxy)
        result = fetched(server.url("/page"), connecting=ConnectionSettings(proxies=proxies))

        assert facts_of(result) == good(6 if direct else 8)
        assert proxy.connections == (0 if direct else 1)
