"""An attempt's seconds: latency, first byte and phases, also if it fails."""

import asyncio
import pkgutil
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
    WITHIN,
    Body,
    Clock,
    all_fetched,
    detail,
    fetched,
    responding,
    target,
)
from hostile_cases import bad, facts_of, good
from loopback import (
    Server,
    delayed,
    raw,
    refusing_port,
    reply,
)
from samples import result_of

from crawler import (
    ErrorKind,
    Limits,
    Phase,
    Timings,
)
from crawler.engine.transports.settings import ConnectionSettings, Engine
from crawler.engine.transports.wire import Wire
from crawler.models import Attempt


def test_latency_and_phases_are_read_from_the_given_clock() -> None:
    clock = Clock(100.0)

    async def respond(request: httpx.Request) -> httpx.Response:
        wire = request.extensions["wire"]
        assert isinstance(wire, Wire)
        wire.dns, wire.connect, wire.tls = 0.5, 1.0, 2.0
        wire.sent = clock.step(4.0)
        wire.first_byte = clock.step(8.0)
        return httpx.Response(200, stream=Body(b"hello", clock=clock, takes=16.0))

    result = fetched(
        "https://a.test/",
        transport=httpx.MockTransport(respond),
        clock=clock,
        now=lambda: 1_700_000_000.0,
    )

    assert result == result_of(
        target("https://a.test/"),
        Attempt(
            status=200,
            size=5,
            latency=28.0,
            ttfb=12.0,
            timings=Timings(dns=0.5, connect=1.0, tls=2.0, wait=8.0, download=16.0),
            final_url="https://a.test/",
            timestamp=1_700_000_000.0,
        ),
    )


def test_times_span_all_redirects() -> None:
    clock = Clock(0.0)

    async def respond(request: httpx.Request) -> httpx.Response:
        wire = request.extensions["wire"]
        wire.connect = 1.0
        wire.sent = clock.step(2.0)
        wire.first_byte = clock.step(3.0)
        if request.url.path == "/":
            return httpx.Response(302, headers={"Location": "/end"}, stream=Body())
        return httpx.Response(200, stream=Body(b"end", clock=clock, takes=4.0))

    result = fetched("http://a.test/", transport=httpx.MockTransport(respond), clock=clock)

    assert (result.attempt.latency, result.attempt.ttfb) == (14.0, 10.0)
    assert result.attempt.timings == Timings(connect=2.0, wait=6.0, download=4.0)


def test_phases_that_a_transport_does_not_report_are_null() -> None:
    result = fetched("http://a.test/", transport=responding(httpx.Response(200, stream=Body())))

    assert (result.attempt.http_version, result.attempt.remote_ip) == (None, None)
    assert replace(result.attempt.timings, download=None) == Timings()


@pytest.mark.parametrize(
    "engine",
    [Engine.DIRECT, Engine.HTTPX, pytest.param(Engine.NATIVE, marks=NATIVE_IS_EXTRA)],
)
def test_a_server_that_takes_50_ms_has_a_latency_of_50_ms(server: Server, engine: Engine) -> None:
    url = server.on("/slow", delayed(0.05, reply(200, b"slow")))
    result = fetched(url, connecting=ConnectionSettings(engine=engine))

    assert result.attempt.latency is not None
    assert result.attempt.ttfb is not None
    assert 0.045 <= result.attempt.ttfb <= result.attempt.latency < 1.0


@BOTH
def test_a_new_connection_and_the_wait_are_timed(server: Server, engine: Engine) -> None:
    url = server.on("/slow", delayed(0.05, reply()))
    timings = fetched(url, connecting=ConnectionSettings(engine=engine)).attempt.timings

    assert timings.tls is None
    assert timings.connect is not None
    assert timings.wait is not None
    assert 0 <= timings.connect < 1.0
    assert 0.045 <= timings.wait < 1.0


def test_a_reused_connection_has_no_connect_time(server: Server) -> None:
    server.on("/page", reply(200, b"hello"))
    first, second = all_fetched([server.url("/page")] * 2)

    assert first.attempt.timings.connect is not None
    assert second.attempt.timings.connect is None
    assert server.connections == 1
    assert (second.attempt.remote_ip, second.attempt.http_version) == ("127.0.0.1", "HTTP/1.1")


@BOTH
def test_the_tls_handshake_is_timed(tls_server: Server, ca_file: Path, engine: Engine) -> None:
    url = tls_server.on("/page", reply(200, b"hello"))
    result = fetched(url, connecting=ConnectionSettings(engine=engine, cacert=str(ca_file)))

    assert facts_of(result) == good(5)
    assert result.attempt.timings.tls is not None
    assert result.attempt.latency is not None
    assert 0 < result.attempt.timings.tls < result.attempt.latency


def test_local_delay_is_not_latency() -> None:
    clock = Clock(0.0)

    async def respond(request: httpx.Request) -> httpx.Response:
        wire = request.extensions["wire"]
        wire.stall += 32.0
        clock.step(33.0)
        wire.sent = clock.step(2.0)
        wire.first_byte = clock.step(4.0)
        return httpx.Response(200, stream=Body(clock=clock, takes=8.0))

    result = fetched("https://a.test/", transport=httpx.MockTransport(respond), clock=clock)

    assert (result.attempt.latency, result.attempt.ttfb) == (15.0, 7.0)
    assert result.attempt.timings == Timings(wait=4.0, download=8.0)


def test_latency_ends_with_the_last_byte_on_the_wire() -> None:
    clock = Clock(0.0)

    async def respond(request: httpx.Request) -> httpx.Response:
        wire = request.extensions["wire"]
        wire.sent = clock.step(1.0)
        wire.first_byte = clock.step(2.0)
        wire.last_byte = clock.step(4.0)
        return httpx.Response(200, stream=Body(b"hello", clock=clock, takes=64.0))

    result = fetched("http://a.test/", transport=httpx.MockTransport(respond), clock=clock)

    assert (result.attempt.latency, result.attempt.ttfb) == (7.0, 3.0)
    assert result.attempt.timings == Timings(wait=2.0, download=4.0)


def test_a_failed_attempt_has_a_latency_and_null_for_the_rest() -> None:
    with refusing_port() as port:
        result = fetched(f"http://127.0.0.1:{port}/")

    assert result.attempt.latency is not None
    assert result == result_of(
        result.target,
        Attempt(
            latency=result.attempt.latency,
            timings=replace(Timings(), connect=result.attempt.timings.connect),
            error=result.attempt.error,
            timestamp=result.timestamp,
        ),
    )


def test_facts_known_before_the_body_failed_are_kept(server: Server) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n"
    url = server.on("/page", raw(head + b"hello", close=True))
    result = fetched(url)

    assert facts_of(result) == bad(ErrorKind.BODY_INCOMPLETE, Phase.DOWNLOAD, 200)
    assert (result.attempt.content_length, result.attempt.content_type) == (9, "text/html")
    assert result.attempt.final_url == url
    assert result.attempt.ttfb is not None
    assert "5 of 9 bytes" in detail(result)


@pytest.mark.parametrize("phase", Phase)
def test_a_timeout_names_its_phase(phase: Phase) -> None:
    async def stall(request: httpx.Request) -> httpx.Response:
        request.extensions["wire"].phase = phase
        await asyncio.sleep(WITHIN)
        raise AssertionError("the timeout did not strike")

    result = fetched("http://a.test/", transport=httpx.MockTransport(stall), limits=HASTY)

    assert facts_of(result) == bad(ErrorKind.TIMEOUT, phase)
    assert "0.1 s" in detail(result)


@pytest.mark.parametrize(
    ("engine", "made"),
    [
        (Engine.DIRECT, "tls.context"),
        (Engine.HTTPX, "tls.context"),
        pytest.param(Engine.NATIVE, "native.ReqwestTransport", marks=NATIVE_IS_EXTRA),
    ],
)
def test_the_set_up_of_tls_is_not_latency(
    tls_server: Server, ca_file: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine, made: str
) -> None:
    name = f"crawler.engine.transports.{made}"
    make = pkgutil.resolve_name(name)

    def slowly(*args: Any, **options: Any) -> Any:
        time.sleep(0.8)
        return make(*args, **options)

    monkeypatch.setattr(name, slowly)
    url = tls_server.on("/page", reply(200, b"hello"))
    connecting = ConnectionSettings(engine=engine, cacert=str(ca_file))
    result = fetched(url, limits=Limits(timeout=0.7), connecting=connecting)

    assert facts_of(result) == good(5)
    assert result.attempt.latency is not None
    assert result.attempt.latency < 0.7
