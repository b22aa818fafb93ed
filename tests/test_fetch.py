"""One target to one result over a real wire, and over a faked one where a server cannot do it."""

import asyncio
import base64
import errno
import gzip
import itertools
import pkgutil
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
import trustme
from hostile_cases import TLS_CASES, Authorities, bad, facts_of, good
from loopback import (
    Handler,
    Request,
    Server,
    delayed,
    endless,
    raw,
    redirect,
    refusing_port,
    reply,
    resets,
    silent,
)
from proxies import tunnel
from samples import result_of
from shell import crawl, records

from crawler import (
    ErrorKind,
    Failure,
    Hop,
    Limits,
    Outcome,
    Phase,
    Result,
    Target,
    Timings,
    __version__,
)
from crawler.core.urllist import UrlList
from crawler.engine.fetch import Fetcher
from crawler.engine.transports import open_transport
from crawler.engine.transports.settings import ConnectionSettings, Proxies
from crawler.engine.transports.wire import Wire, WireError
from crawler.models import Attempt, Engine

WITHIN = 30.0  # seconds; far more than any of these fetches needs
PATIENT = Limits(timeout=WITHIN)
HASTY = Limits(timeout=0.1)
SECRETS = ("Authorization", "Cookie", "X-Api-Key", "Proxy-Authorization", "X-Own")
HARMLESS = ("Accept", "Accept-Language", "User-Agent")

NATIVE_IS_EXTRA = pytest.mark.skipif(
    find_spec("pyreqwest") is None, reason="pyreqwest is missing: the extra fast has it"
)
BOTH = pytest.mark.parametrize("engine", [Engine.DIRECT, Engine.STOCK])


# --- What comes out of a good answer ---


@BOTH
def test_a_good_answer_becomes_its_facts(server: Server, engine: Engine) -> None:
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
def test_every_status_is_a_response_and_no_error(server: Server, status: int) -> None:
    result = fetched(server.on("/page", reply(status)))
    assert facts_of(result) == good(0, status)


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"x" * 70_000, gzip.compress(bytes(50_000))],
    ids=["empty", "one-byte", "many-reads", "gzip"],
)
@pytest.mark.parametrize("coding", ["identity", "gzip", "br", "zstd"])
def test_size_is_what_came_over_the_wire(server: Server, body: bytes, coding: str) -> None:
    url = server.on("/page", reply(200, body, f"Content-Encoding: {coding}"))
    assert facts_of(fetched(url)) == good(len(body))


def test_the_framing_of_chunks_is_no_part_of_the_size(server: Server) -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"
    )
    result = fetched(server.on("/page", raw(chunked)))
    assert (result.attempt.size, result.attempt.content_length) == (8, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5", 5), ("005", 5), ("99999999999999999999", None), ("", None), ("5.0", None)],
)
def test_a_content_length_is_a_number_or_nothing(text: str, expected: int | None) -> None:
    transport = answering(httpx.Response(200, headers={"Content-Length": text}, stream=Body()))
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
def test_the_content_type_is_told_as_received(server: Server, value: bytes, expected: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Type: " + value + b"\r\n\r\n"
    assert fetched(server.on("/page", raw(head))).attempt.content_type == expected


def test_http_1_0_is_told_as_such(server: Server) -> None:
    result = fetched(server.on("/page", raw(b"HTTP/1.0 200 OK\r\n\r\nhello", close=True)))
    assert (result.attempt.http_version, result.attempt.size) == ("HTTP/1.0", 5)


# --- What is sent ---


def test_the_request_names_the_program_and_takes_any_answer(server: Server) -> None:
    fetched(server.on("/page", reply()))
    asked = server.last("/page")

    assert asked.method == "GET"
    assert asked.header("Host") == f"127.0.0.1:{server.port}"
    assert asked.header("User-Agent") == f"crawl/{__version__}"
    assert asked.header("Accept") == "*/*"
    assert asked.header("Cookie") is None
    assert asked.header("Authorization") is None


def test_headers_of_the_user_replace_those_of_the_same_name(server: Server) -> None:
    fetched(server.on("/page", reply()), headers=[("user-agent", "mine"), ("X-Own", "yes")])
    asked = server.last("/page")

    assert [v for name, v in asked.headers if name.lower() == "user-agent"] == ["mine"]
    assert asked.header("X-Own") == "yes"
    assert asked.header("Accept") == "*/*"


def test_a_header_given_twice_is_sent_twice(server: Server) -> None:
    fetched(server.on("/page", reply()), headers=[("X-Own", "a"), ("X-Own", "b")])
    assert [v for name, v in server.last("/page").headers if name == "X-Own"] == ["a", "b"]


def test_a_fragment_is_not_sent(server: Server) -> None:
    server.on("/page", reply())
    result = fetched(server.url("/page?q=1#part"))

    assert server.last("/page").target == "/page?q=1"
    assert result.attempt.final_url == server.url("/page?q=1#part")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_the_method_is_the_one_asked_for(server: Server, method: str) -> None:
    result = fetched(server.on("/page", reply(200, b"hello")), method=method)

    assert server.last("/page").method == method
    assert facts_of(result) == good(5)


def test_head_reads_no_body_and_keeps_the_length_it_is_told(server: Server) -> None:
    result = fetched(server.on("/page", reply(200, b"hello")), method="HEAD")

    assert facts_of(result) == good(0)
    assert result.attempt.content_length == 5


# --- Credentials in a URL ---


@pytest.mark.parametrize(
    ("userinfo", "expected"),
    [
        ("user:secret", "user:secret"),
        ("user:p%40ss%3Aword", "user:p@ss:word"),
        ("us%C3%A9r:caf%C3%A9", "us\xe9r:caf\xe9"),
        ("user:", "user:"),
        ("user", "user:"),
        (":secret", ":secret"),
    ],
)
def test_userinfo_is_sent_as_basic_credentials(
    server: Server, userinfo: str, expected: str
) -> None:
    server.on("/page", reply())
    fetched(server.url("/page", host=f"{userinfo}@127.0.0.1"))
    asked = server.last("/page")

    token = base64.b64encode(expected.encode()).decode()
    assert asked.header("Authorization") == f"Basic {token}"
    assert asked.header("Host") == f"127.0.0.1:{server.port}"


def test_a_header_of_the_user_wins_over_userinfo(server: Server) -> None:
    server.on("/page", reply())
    url = server.url("/page", host="user:secret@127.0.0.1")
    fetched(url, headers=[("authorization", "Bearer mine")])

    sent = [value for name, value in server.last("/page").headers if name == "authorization"]
    assert sent == ["Bearer mine"]
    assert server.last("/page").header("Authorization") == "Bearer mine"


def test_userinfo_goes_along_to_the_same_origin_only(server: Server) -> None:
    with Server({"/there": reply()}) as other:
        server.on("/start", redirect("/same"))
        server.on("/same", redirect(other.url("/there")))
        result = fetched(server.url("/start", host="user:secret@127.0.0.1"))

        assert server.last("/same").header("Authorization") is not None
        assert other.last("/there").header("Authorization") is None
    assert "secret" not in f"{result.attempt.redirects} {result.attempt.final_url}"


@pytest.mark.parametrize("location", ["//user:s3cr3t@{host}/end", "http://user:s3cr3t@{host}/end"])
def test_userinfo_in_a_location_is_neither_sent_nor_shown(server: Server, location: str) -> None:
    server.on("/end", reply())
    url = server.on("/start", redirect(location.format(host=f"127.0.0.1:{server.port}")))
    result = fetched(url)

    assert facts_of(result) == good(0, redirects=1)
    assert server.last("/end").header("Authorization") is None
    assert "s3cr3t" not in repr(result)


@pytest.mark.parametrize(
    "location",
    ["ftp://user:s3cr3t@a.test/", "http://user:s3cr3t@a.test:0/", "http://user:my s3cr3t@[bad/"],
)
def test_userinfo_in_a_bad_location_is_not_shown(server: Server, location: str) -> None:
    result = fetched(server.on("/start", redirect(location)))

    assert facts_of(result) == bad(ErrorKind.BAD_REDIRECT, None, 302)
    assert "s3cr3t" not in repr(result)


# --- Redirects ---


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (301, "GET", "GET"),
        (302, "GET", "GET"),
        (303, "GET", "GET"),
        (307, "GET", "GET"),
        (308, "GET", "GET"),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (301, "PUT", "PUT"),
        (302, "PUT", "PUT"),
        (303, "PUT", "GET"),
        (303, "DELETE", "GET"),
        (301, "HEAD", "HEAD"),
        (302, "HEAD", "HEAD"),
        (303, "HEAD", "HEAD"),
        (307, "HEAD", "HEAD"),
        (308, "HEAD", "HEAD"),
    ],
)
def test_a_redirect_is_followed_with_the_method_its_status_says(
    server: Server, status: int, method: str, expected: str
) -> None:
    server.on("/end", reply())
    result = fetched(server.on("/start", redirect("/end", status)), method=method)

    assert result.attempt.redirects == (Hop(url=server.url("/start"), status=status),)
    assert result.attempt.final_url == server.url("/end")
    assert server.last("/end").method == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("x", "/a/b/x"),
        ("./x", "/a/b/x"),
        ("x/", "/a/b/x/"),
        ("../x", "/a/x"),
        ("../../../x", "/x"),
        ("..", "/a/"),
        (".", "/a/b/"),
        ("/x", "/x"),
        ("/x/../y", "/y"),
        ("?y=1", "/a/b/c?y=1"),
        ("x?y=1", "/a/b/x?y=1"),
        ("//127.0.0.1:{port}/x", "/x"),
        ("http://127.0.0.1:{port}/x", "/x"),
        ("HTTP://127.0.0.1:{port}/x", "/x"),
        ("http://127.0.0.1:{port}", "/"),
        (" /x\t", "/x"),
        ("/x y", "/x%20y"),
        ("/caf\u00e9", "/caf%C3%A9"),
        ("/a%2Fb", "/a%2Fb"),
    ],
)
def test_a_location_is_resolved_as_rfc_3986_says(
    server: Server, location: str, expected: str
) -> None:
    value = location.format(port=server.port).encode()
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + value + b"\r\n\r\n"
    server.on("/a/b/c", by_query({"q=1": raw(head)}, otherwise=reply(404)))
    result = fetched(server.url("/a/b/c?q=1"))

    assert server.requests[-1].target == expected
    assert result.attempt.final_url == server.url(expected)
    assert len(result.attempt.redirects) == 1


@pytest.mark.parametrize(
    ("location", "expected"),
    [("/end", "/end#top"), ("/end#own", "/end#own")],
)
def test_a_fragment_is_inherited_where_the_location_has_none(
    server: Server, location: str, expected: str
) -> None:
    server.on("/end", reply())
    server.on("/start", redirect(location))
    assert fetched(server.url("/start#top")).attempt.final_url == server.url(expected)


def test_every_hop_is_kept_in_order(server: Server) -> None:
    server.on("/start", redirect("/two", 301))
    server.on("/two", redirect("/end", 307))
    server.on("/end", reply(404, b"nothing here"))
    result = fetched(server.url("/start"))

    assert facts_of(result) == good(12, 404, redirects=2)
    assert result.attempt.redirects == (
        Hop(url=server.url("/start"), status=301),
        Hop(url=server.url("/two"), status=307),
    )


def test_size_and_type_are_those_of_the_final_response(server: Server) -> None:
    server.on("/start", reply(302, b"moved away", "Location: /end", "Content-Type: text/html"))
    server.on("/end", reply(200, b"end"))
    result = fetched(server.url("/start"))

    assert (result.attempt.size, result.attempt.content_length, result.attempt.content_type) == (
        3,
        3,
        None,
    )


def test_a_redirect_is_an_answer_where_none_is_followed(server: Server) -> None:
    url = server.on("/start", reply(302, b"moved", "Location: /end"))
    result = fetched(url, limits=replace(PATIENT, follow=False))

    assert facts_of(result) == good(5, 302)
    assert result.attempt.final_url == url
    assert server.counts == {"/start": 1}


@pytest.mark.parametrize("location", ["", "ftp://a.test/", "http://a.test:0/"])
def test_a_bad_location_is_no_error_where_none_is_followed(server: Server, location: str) -> None:
    url = server.on("/start", redirect(location))
    assert facts_of(fetched(url, limits=replace(PATIENT, follow=False))) == good(0, 302)


@pytest.mark.parametrize("most", [0, 1, 3])
def test_as_many_redirects_as_allowed_are_followed_and_no_more(server: Server, most: int) -> None:
    for number in range(4):
        server.on(f"/{number}", redirect(f"/{number + 1}"))
    server.on("/4", reply())
    limits = replace(PATIENT, max_redirects=most)

    inside = fetched(server.url(f"/{4 - most}"), limits=limits)
    beyond = fetched(server.url(f"/{3 - most}"), limits=limits)
    assert facts_of(inside) == good(0, redirects=most)
    assert facts_of(beyond) == bad(ErrorKind.TOO_MANY_REDIRECTS, None, 302, most)


@pytest.mark.parametrize(
    "location", ["/start", "start", "/x/../start", "/start#part", "//127.0.0.1:{port}/start"]
)
def test_the_same_url_again_is_a_loop_however_it_is_written(server: Server, location: str) -> None:
    url = server.on("/start", redirect(location.format(port=server.port)))
    assert facts_of(fetched(url)) == bad(ErrorKind.REDIRECT_LOOP, None, 302)


def test_the_same_url_with_another_method_is_no_loop(server: Server) -> None:
    async def form(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        then = redirect("/form", 303) if request.method == "POST" else reply(200, b"thanks")
        await then(request, reader, writer)

    result = fetched(server.on("/form", form), method="POST")
    assert facts_of(result) == good(6, redirects=1)


def test_no_cookie_is_ever_sent_back(server: Server) -> None:
    server.on("/start", reply(302, b"", "Location: /end", "Set-Cookie: id=1; Path=/"))
    server.on("/end", reply(200, b"", "Set-Cookie: id=2; Path=/"))
    all_fetched([server.url("/start"), server.url("/end")])

    assert [request.header("Cookie") for request in server.requests] == [None] * 3


def test_secrets_go_along_to_the_same_origin(server: Server) -> None:
    server.on("/end", reply())
    server.on("/start", redirect(server.url("/end")))
    fetched(server.url("/start"), headers=own_headers())

    assert shown(server.last("/end")) == dict.fromkeys((*SECRETS, *HARMLESS), "mine")


@pytest.mark.parametrize("change", ["host", "port", "scheme"])
def test_only_harmless_headers_go_along_to_another_origin(
    server: Server, tls_server: Server, ca_file: Path, change: str
) -> None:
    with Server() as other:
        there = {"host": server, "port": other, "scheme": tls_server}[change]
        host = "localhost" if change == "host" else "127.0.0.1"
        there.on("/end", reply())
        server.on("/start", redirect(there.url("/end", host=host)))
        result = fetched(
            server.url("/start"),
            headers=own_headers(),
            connecting=ConnectionSettings(cacert=str(ca_file)),
        )

        assert facts_of(result) == good(0, redirects=1)
        assert shown(there.last("/end")) == dict.fromkeys(HARMLESS, "mine")


def test_secrets_once_dropped_stay_dropped(server: Server) -> None:
    with Server() as other:
        server.on("/start", redirect(other.url("/there")))
        other.on("/there", redirect(server.url("/back")))
        server.on("/back", reply())
        fetched(server.url("/start"), headers=own_headers())

    assert shown(server.last("/back")) == dict.fromkeys(HARMLESS, "mine")


@pytest.mark.parametrize(
    ("start", "location", "same"),
    [
        ("http://a.test/", "http://a.test:80/end", True),
        ("https://a.test/", "https://a.test:443/end", True),
        ("http://a.test/", "http://A.TEST/end", True),
        ("http://a.test:8080/", "//a.test:8080/end", True),
        ("http://a.test/", "https://a.test/end", False),
        ("https://a.test/", "http://a.test/end", False),
        ("http://a.test/", "http://b.test/end", False),
        ("http://a.test/", "http://sub.a.test/end", False),
        ("http://a.test/", "http://a.test:8080/end", False),
        ("http://a.test/", "http://a.test.b.test/end", False),
        ("http://a.test/", "http://a.test@b.test/end", False),
        ("http://a.test/", "http://b.test#@a.test/end", False),
        ("http://a.test/", "http://b.test?@a.test/end", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(start: str, location: str, same: bool) -> None:
    router = respx.Router(assert_all_called=False)
    router.get(start).respond(302, headers={"Location": location})
    router.get().respond(200)
    result = fetched(
        start, transport=httpx.MockTransport(router.async_handler), headers=own_headers()
    )

    assert facts_of(result) == good(0, redirects=1)
    assert ("X-Api-Key" in router.calls.last.request.headers) is same


def test_the_body_of_a_redirect_is_never_read() -> None:
    moved = Body(error=RuntimeError("the body was read"))
    answers = [
        httpx.Response(302, headers={"Location": "/end"}, stream=moved),
        httpx.Response(200, stream=Body(b"end")),
    ]
    result = fetched("http://a.test/", transport=answering(*answers))

    assert facts_of(result) == good(3, redirects=1)
    assert moved.closed


# --- The cap on bodies ---


def test_a_body_as_large_as_the_cap_is_whole(server: Server) -> None:
    url = server.on("/page", reply(200, bytes(5000)))
    assert facts_of(fetched(url, limits=replace(PATIENT, max_body=5000))) == good(5000)


def test_a_body_beyond_the_cap_is_cut_off_and_good(server: Server) -> None:
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


def test_a_truncated_size_is_what_was_read() -> None:
    body = Body(bytes(400), bytes(400), bytes(400), bytes(400))
    result = fetched(
        "http://a.test/",
        transport=answering(httpx.Response(200, stream=body)),
        limits=replace(PATIENT, max_body=1000),
    )

    assert (result.attempt.size, result.attempt.truncated, result.attempt.error) == (
        1200,
        True,
        None,
    )
    assert body.closed


# --- Time ---


def test_latency_and_phases_are_read_from_the_clock_that_is_passed() -> None:
    clock = Clock(100.0)

    async def answer(request: httpx.Request) -> httpx.Response:
        wire = request.extensions["wire"]
        assert isinstance(wire, Wire)
        wire.dns, wire.connect, wire.tls = 0.5, 1.0, 2.0
        wire.sent = clock.step(4.0)
        wire.first_byte = clock.step(8.0)
        return httpx.Response(200, stream=Body(b"hello", clock=clock, takes=16.0))

    result = fetched(
        "https://a.test/",
        transport=httpx.MockTransport(answer),
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

    async def answer(request: httpx.Request) -> httpx.Response:
        wire = request.extensions["wire"]
        wire.connect = 1.0
        wire.sent = clock.step(2.0)
        wire.first_byte = clock.step(3.0)
        if request.url.path == "/":
            return httpx.Response(302, headers={"Location": "/end"}, stream=Body())
        return httpx.Response(200, stream=Body(b"end", clock=clock, takes=4.0))

    result = fetched("http://a.test/", transport=httpx.MockTransport(answer), clock=clock)

    assert (result.attempt.latency, result.attempt.ttfb) == (14.0, 10.0)
    assert result.attempt.timings == Timings(connect=2.0, wait=6.0, download=4.0)


def test_what_a_transport_does_not_tell_stays_unknown() -> None:
    result = fetched("http://a.test/", transport=answering(httpx.Response(200, stream=Body())))

    assert (result.attempt.http_version, result.attempt.remote_ip) == (None, None)
    assert replace(result.attempt.timings, download=None) == Timings()


@pytest.mark.parametrize(
    "engine",
    [Engine.DIRECT, Engine.STOCK, pytest.param(Engine.NATIVE, marks=NATIVE_IS_EXTRA)],
)
def test_a_server_that_takes_50_ms_is_told_to_take_50_ms(server: Server, engine: Engine) -> None:
    url = server.on("/slow", delayed(0.05, reply(200, b"slow")))
    result = fetched(url, connecting=ConnectionSettings(engine=engine))

    assert result.attempt.latency is not None
    assert result.attempt.ttfb is not None
    assert 0.045 <= result.attempt.ttfb <= result.attempt.latency < 1.0


@BOTH
def test_a_fresh_connection_and_the_wait_have_their_times(server: Server, engine: Engine) -> None:
    url = server.on("/slow", delayed(0.05, reply()))
    timings = fetched(url, connecting=ConnectionSettings(engine=engine)).attempt.timings

    assert timings.tls is None
    assert timings.connect is not None
    assert timings.wait is not None
    assert 0 <= timings.connect < 1.0
    assert 0.045 <= timings.wait < 1.0


def test_a_reused_connection_has_no_time_of_connecting(server: Server) -> None:
    server.on("/page", reply(200, b"hello"))
    first, second = all_fetched([server.url("/page")] * 2)

    assert first.attempt.timings.connect is not None
    assert second.attempt.timings.connect is None
    assert server.connections == 1
    assert (second.attempt.remote_ip, second.attempt.http_version) == ("127.0.0.1", "HTTP/1.1")


@BOTH
def test_https_has_a_time_of_its_handshake(
    tls_server: Server, ca_file: Path, engine: Engine
) -> None:
    url = tls_server.on("/page", reply(200, b"hello"))
    result = fetched(url, connecting=ConnectionSettings(engine=engine, cacert=str(ca_file)))

    assert facts_of(result) == good(5)
    assert result.attempt.timings.tls is not None
    assert result.attempt.latency is not None
    assert 0 < result.attempt.timings.tls < result.attempt.latency


def test_a_stall_of_our_own_is_nobodys_latency() -> None:
    clock = Clock(0.0)

    async def answer(request: httpx.Request) -> httpx.Response:
        wire = request.extensions["wire"]
        wire.stall += 32.0
        clock.step(33.0)
        wire.sent = clock.step(2.0)
        wire.first_byte = clock.step(4.0)
        return httpx.Response(200, stream=Body(clock=clock, takes=8.0))

    result = fetched("https://a.test/", transport=httpx.MockTransport(answer), clock=clock)

    assert (result.attempt.latency, result.attempt.ttfb) == (15.0, 7.0)
    assert result.attempt.timings == Timings(wait=4.0, download=8.0)


def test_latency_ends_with_the_last_byte_on_the_wire() -> None:
    clock = Clock(0.0)

    async def answer(request: httpx.Request) -> httpx.Response:
        wire = request.extensions["wire"]
        wire.sent = clock.step(1.0)
        wire.first_byte = clock.step(2.0)
        wire.last_byte = clock.step(4.0)
        return httpx.Response(200, stream=Body(b"hello", clock=clock, takes=64.0))

    result = fetched("http://a.test/", transport=httpx.MockTransport(answer), clock=clock)

    assert (result.attempt.latency, result.attempt.ttfb) == (7.0, 3.0)
    assert result.attempt.timings == Timings(wait=2.0, download=4.0)


def test_a_failed_attempt_has_a_latency_and_nothing_that_was_not_measured() -> None:
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


def test_a_record_keeps_what_was_known_before_the_body_broke(server: Server) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n"
    url = server.on("/page", raw(head + b"hello", close=True))
    result = fetched(url)

    assert facts_of(result) == bad(ErrorKind.BODY_INCOMPLETE, Phase.DOWNLOAD, 200)
    assert (result.attempt.content_length, result.attempt.content_type) == (9, "text/html")
    assert result.attempt.final_url == url
    assert result.attempt.ttfb is not None
    assert "5 of 9 bytes" in detail(result)


@pytest.mark.parametrize("phase", Phase)
def test_a_timeout_says_in_which_phase_it_struck(phase: Phase) -> None:
    async def stall(request: httpx.Request) -> httpx.Response:
        request.extensions["wire"].phase = phase
        await asyncio.sleep(WITHIN)
        raise AssertionError("the timeout did not strike")

    result = fetched("http://a.test/", transport=httpx.MockTransport(stall), limits=HASTY)

    assert facts_of(result) == bad(ErrorKind.TIMEOUT, phase)
    assert "0.1 s" in detail(result)


@NATIVE_IS_EXTRA
def test_what_the_native_transport_cannot_know_is_null(tls_server: Server, ca_file: Path) -> None:
    url = tls_server.on("/page", reply(200, b"hello"))
    result = fetched(url, connecting=ConnectionSettings(engine=Engine.NATIVE, cacert=str(ca_file)))

    assert facts_of(result) == good(5)
    assert (result.attempt.remote_ip, result.attempt.tls) == (None, None)
    assert replace(result.attempt.timings, download=None) == Timings()


@NATIVE_IS_EXTRA
def test_the_native_transport_looks_names_up(tls_server: Server, ca_file: Path) -> None:
    """In a process of its own: loaded in the wrong thread, pyreqwest crashes at that."""
    url = tls_server.on("/page", reply(200, b"hello")).replace("127.0.0.1", "localhost")
    for trust in (["--insecure"], ["--cacert", str(ca_file)]):
        ended = crawl(url, "--engine", "native", "--jsonl", *trust)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert [record["size"] for record in records(ended.stdout)] == [5]


@NATIVE_IS_EXTRA
def test_the_native_transport_loses_no_cancellation(tls_server: Server) -> None:
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


@pytest.mark.parametrize(
    ("engine", "made"),
    [
        (Engine.DIRECT, "tls.context"),
        (Engine.STOCK, "tls.context"),
        pytest.param(Engine.NATIVE, "native.ReqwestTransport", marks=NATIVE_IS_EXTRA),
    ],
)
def test_what_we_need_to_begin_with_tls_costs_no_url_its_time(
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


@NATIVE_IS_EXTRA
def test_plain_http_goes_the_direct_way_with_the_native_engine_too(server: Server) -> None:
    result = fetched(
        server.on("/page", reply()), connecting=ConnectionSettings(engine=Engine.NATIVE)
    )

    assert result.attempt.remote_ip == "127.0.0.1"
    assert result.attempt.timings.connect is not None
    assert result.attempt.timings.wait is not None


# --- Errors ---


@dataclass(frozen=True, slots=True)
class Ground:
    """What the provocations of errors stand on."""

    server: Server
    ca: trustme.CA
    connecting: ConnectionSettings

    def over(self, engine: Engine) -> "Ground":
        return replace(self, connecting=replace(self.connecting, engine=engine))


def over_tls(case_id: str) -> Callable[[Ground], Result]:
    case = next(case for case in TLS_CASES if case.id == case_id)

    def provoke(ground: Ground) -> Result:
        with case.serve(Authorities(ground.ca)) as server:
            return fetched(server.url("/bad"), connecting=ground.connecting)

    return provoke


def refused(ground: Ground) -> Result:
    with refusing_port() as port:
        return fetched(f"http://127.0.0.1:{port}/", connecting=ground.connecting)


def answered(handler: Handler, limits: Limits = PATIENT) -> Callable[[Ground], Result]:
    def provoke(ground: Ground) -> Result:
        url = ground.server.on("/page", handler)
        return fetched(url, limits=limits, connecting=ground.connecting)

    return provoke


def failed(*chain: BaseException) -> Callable[[Ground], Result]:
    return lambda _: fetched("http://a.test/", transport=failing(*chain))


def connect_failed(code: int) -> Callable[[Ground], Result]:
    return failed(httpx.ConnectError("All connection attempts failed"), OSError(code, "words"))


def lookup_failed(code: int) -> Callable[[Ground], Result]:
    return failed(httpx.ConnectError("words"), socket.gaierror(code, "words"))


PROVOKED: dict[ErrorKind, tuple[Phase | None, Callable[[Ground], Result]]] = {
    ErrorKind.INVALID_URL: (None, failed(httpx.UnsupportedProtocol("no such scheme"))),
    ErrorKind.BLOCKED: (Phase.CONNECT, connect_failed(errno.EACCES)),
    ErrorKind.DNS_NOT_FOUND: (Phase.DNS, lookup_failed(socket.EAI_NONAME)),
    ErrorKind.DNS_TEMPORARY: (Phase.DNS, lookup_failed(socket.EAI_AGAIN)),
    ErrorKind.CONNECT_REFUSED: (Phase.CONNECT, refused),
    ErrorKind.UNREACHABLE: (Phase.CONNECT, connect_failed(errno.EHOSTUNREACH)),
    ErrorKind.TIMEOUT: (Phase.WAIT, answered(silent(), HASTY)),
    ErrorKind.TLS_EXPIRED: (Phase.TLS, over_tls("expired")),
    ErrorKind.TLS_NOT_YET_VALID: (Phase.TLS, over_tls("not-yet-valid")),
    ErrorKind.TLS_HOSTNAME: (Phase.TLS, over_tls("wrong-name")),
    ErrorKind.TLS_UNTRUSTED: (Phase.TLS, over_tls("unknown-root")),
    ErrorKind.TLS_HANDSHAKE: (Phase.TLS, over_tls("handshake-refused")),
    ErrorKind.RESET: (Phase.WAIT, answered(resets())),
    ErrorKind.DISCONNECTED: (Phase.WAIT, answered(raw(close=True))),
    ErrorKind.PROTOCOL: (Phase.WAIT, answered(raw(b"HTTP/1.1 2xx OK\r\n\r\n"))),
    ErrorKind.BODY_INCOMPLETE: (
        Phase.DOWNLOAD,
        answered(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", close=True)),
    ),
    ErrorKind.DECODE: (Phase.CONNECT, failed(httpx.DecodingError("incorrect header check"))),
    ErrorKind.TOO_MANY_REDIRECTS: (
        None,
        answered(redirect("/other"), replace(PATIENT, max_redirects=0)),
    ),
    ErrorKind.REDIRECT_LOOP: (None, answered(redirect("/page"))),
    ErrorKind.BAD_REDIRECT: (None, answered(redirect("ftp://a.test/"))),
    ErrorKind.LOCAL_RESOURCE: (Phase.CONNECT, connect_failed(errno.EMFILE)),
    ErrorKind.INTERNAL: (Phase.CONNECT, failed(RuntimeError("a fault"))),
}
"""One way to come to each kind; a transport that notes nothing is in the phase "connect"."""


@BOTH
@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_of_error_can_be_provoked(
    kind: ErrorKind, engine: Engine, ground: Ground
) -> None:
    phase, provoke = PROVOKED[kind]
    result = provoke(ground.over(engine))

    assert result.outcome is Outcome.ERROR
    assert result.attempt.error is not None
    assert (result.attempt.error.kind, result.attempt.error.phase) == (kind, phase)
    assert is_told_in_words(result.attempt.error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ECONNREFUSED, ErrorKind.CONNECT_REFUSED),
        (errno.EHOSTUNREACH, ErrorKind.UNREACHABLE),
        (errno.ENETUNREACH, ErrorKind.UNREACHABLE),
        (errno.ETIMEDOUT, ErrorKind.TIMEOUT),
        (errno.ECONNRESET, ErrorKind.RESET),
        (errno.EPIPE, ErrorKind.RESET),
        (errno.EPERM, ErrorKind.BLOCKED),
        (errno.EMFILE, ErrorKind.LOCAL_RESOURCE),
        (errno.ENFILE, ErrorKind.LOCAL_RESOURCE),
        (errno.ENOBUFS, ErrorKind.LOCAL_RESOURCE),
        (errno.EADDRNOTAVAIL, ErrorKind.LOCAL_RESOURCE),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else None,
)
def test_kinds_are_read_from_errno_however_deep_it_lies(
    code: int, kind: ErrorKind, ground: Ground
) -> None:
    plain = OSError(code, "words")
    several = ExceptionGroup("multiple connection attempts failed", [OSError(code, "words")])
    outer = httpx.ConnectError("All connection attempts failed")
    told = [
        failed(plain)(ground),
        failed(outer, plain)(ground),
        failed(outer, OSError("All connection attempts failed"), several)(ground),
    ]
    assert [result.attempt.error and result.attempt.error.kind for result in told] == [kind] * 3
    assert len({detail(result) for result in told}) == 1


def test_refused_unreachable_and_out_of_files_have_texts_of_their_own(ground: Ground) -> None:
    codes = errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMFILE, errno.ENFILE
    assert len({detail(connect_failed(code)(ground)) for code in codes}) == len(codes)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("EAI_NONAME", ErrorKind.DNS_NOT_FOUND),  # NXDOMAIN
        ("EAI_NODATA", ErrorKind.DNS_NOT_FOUND),
        ("EAI_AGAIN", ErrorKind.DNS_TEMPORARY),  # SERVFAIL, silence
        ("EAI_FAIL", ErrorKind.DNS_TEMPORARY),  # REFUSED
    ],
)
def test_a_failed_look_up_is_permanent_only_where_the_name_does_not_exist(
    name: str, kind: ErrorKind, ground: Ground
) -> None:
    code = getattr(socket, name, None)
    if code is None:
        pytest.skip(f"this system has no {name}")
    assert facts_of(lookup_failed(code)(ground)) == bad(kind, Phase.DNS)


@pytest.mark.parametrize(
    "exc",
    [
        RuntimeError(),
        RuntimeError("words"),
        KeyError("key"),
        AssertionError(),
        RecursionError(),
        UnicodeEncodeError("ascii", "\xe9", 0, 1, "ordinal not in range"),
        ExceptionGroup("several", [ValueError(), RuntimeError()]),
        OSError(),
        OSError(errno.EBADF, "Bad file descriptor"),
        ValueError("two\nlines \x1b[31m"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_whatever_a_transport_raises_becomes_a_record(exc: Exception, ground: Ground) -> None:
    result = failed(exc)(ground)

    assert facts_of(result) == bad(ErrorKind.INTERNAL, Phase.CONNECT)
    assert result.attempt.error is not None
    assert is_told_in_words(result.attempt.error)


@pytest.mark.parametrize(
    "exc",
    [
        httpx.ConnectError(""),
        httpx.ReadError(""),
        httpx.WriteError(""),
        httpx.CloseError(""),
        httpx.ConnectTimeout(""),
        httpx.ReadTimeout(""),
        httpx.WriteTimeout(""),
        httpx.PoolTimeout(""),
        httpx.RemoteProtocolError(""),
        httpx.LocalProtocolError(""),
        httpx.ProxyError(""),
        httpx.UnsupportedProtocol(""),
        httpx.InvalidURL(""),
        httpx.DecodingError(""),
        ssl.SSLError(),
        ssl.SSLError(1, "[SSL] internal error"),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed"),
        ConnectionResetError(),
        BrokenPipeError(),
        TimeoutError(),
        socket.gaierror(),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_an_error_without_a_word_is_told_in_words_and_is_no_fault_of_ours(
    exc: Exception, ground: Ground
) -> None:
    for result in (failed(exc)(ground), failed(httpx.ConnectError(""), exc)(ground)):
        assert result.attempt.error is not None
        assert result.attempt.error.kind is not ErrorKind.INTERNAL
        assert is_told_in_words(result.attempt.error)


def test_the_word_of_a_transport_stands_above_what_caused_it(ground: Ground) -> None:
    for cause in (ConnectionResetError(), OSError(errno.EMFILE, "words"), ssl.SSLError(1, "words")):
        result = failed(WireError(ErrorKind.DISCONNECTED, "it hung up on us"), cause)(ground)
        assert facts_of(result) == bad(ErrorKind.DISCONNECTED, Phase.CONNECT)
        assert detail(result) == "it hung up on us"


def test_no_error_shows_a_secret(ground: Ground) -> None:
    for exc in (RuntimeError, httpx.RemoteProtocolError, httpx.ProxyError, httpx.InvalidURL):
        result = failed(exc("cannot ask http://user:secret@a.test/ now"))(ground)
        assert "secret" not in detail(result)


def test_a_refusal_by_every_address_of_a_name_is_a_refusal() -> None:
    with refusing_port() as port:
        result = fetched(f"http://localhost:{port}/")
    assert facts_of(result) == bad(ErrorKind.CONNECT_REFUSED, Phase.CONNECT)


def test_the_status_of_a_redirect_stays_where_the_next_hop_fails(server: Server) -> None:
    with refusing_port() as port:
        url = server.on("/start", redirect(f"http://127.0.0.1:{port}/"))
        result = fetched(url)

    assert facts_of(result) == bad(ErrorKind.CONNECT_REFUSED, Phase.CONNECT, 302, 1)
    assert (result.attempt.size, result.attempt.ttfb, result.attempt.content_type) == (
        None,
        None,
        None,
    )


def test_a_cancelled_fetch_is_cancelled_and_leaves_no_response_open() -> None:
    body = Body(stalls=True)

    async def cancel() -> None:
        transport = answering(httpx.Response(200, stream=body))
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
        "http://a.test/", transport=answering(httpx.Response(200, stream=stream)), limits=limits
    )
    assert stream.closed


# --- TLS ---


@pytest.mark.parametrize(
    "case_id",
    ["expired", "not-yet-valid", "wrong-name", "unknown-root", "self-signed", "incomplete-chain"],
)
def test_insecure_takes_any_certificate(case_id: str, ground: Ground) -> None:
    insecure = replace(ground, connecting=replace(ground.connecting, verify=False))
    assert facts_of(over_tls(case_id)(insecure)) == good(5)


@BOTH
def test_the_record_tells_of_the_connection_and_the_certificate(
    ca: trustme.CA, ca_file: Path, engine: Engine
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    expires = datetime(2100, 2, 3, 4, 5, 6, tzinfo=UTC)
    leaf = ca.issue_cert(
        "127.0.0.1", common_name="a.test", organization_name="A, Inc", not_after=expires
    )
    leaf.configure_cert(context)
    with Server({"/page": reply()}, tls=context) as server:
        result = fetched(
            server.url("/page"), connecting=ConnectionSettings(engine=engine, cacert=str(ca_file))
        )

    assert result.attempt.tls is not None
    assert result.attempt.tls.version == "TLSv1.3"
    assert result.attempt.tls.cipher is not None
    assert result.attempt.tls.cipher.startswith("TLS_")
    assert result.attempt.tls.expires == expires.timestamp()
    assert result.attempt.tls.subject is not None
    assert "CN=a.test" in result.attempt.tls.subject
    assert result.attempt.tls.issuer is not None
    assert "trustme" in result.attempt.tls.issuer


def test_a_reused_connection_tells_of_its_certificate_too(
    tls_server: Server, ca_file: Path
) -> None:
    tls_server.on("/start", redirect("/end"))
    tls_server.on("/end", reply())
    result = fetched(tls_server.url("/start"), connecting=ConnectionSettings(cacert=str(ca_file)))

    assert tls_server.connections == 1
    assert result.attempt.tls is not None
    assert result.attempt.tls.expires is not None


def test_a_plain_answer_tells_of_no_certificate(server: Server) -> None:
    assert fetched(server.on("/page", reply())).attempt.tls is None


def test_an_authority_is_not_known_unless_named(tls_server: Server) -> None:
    result = fetched(tls_server.on("/page", reply()))
    assert facts_of(result) == bad(ErrorKind.TLS_UNTRUSTED, Phase.TLS)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_holds_for_each_of_its_names(
    tls_server: Server, ca_file: Path, host: str
) -> None:
    tls_server.on("/page", reply(200, b"hello"))
    connecting = ConnectionSettings(cacert=str(ca_file))
    assert facts_of(fetched(tls_server.url("/page", host=host), connecting=connecting)) == good(5)


def test_roots_that_the_environment_names_are_trusted(
    tls_server: Server, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    assert facts_of(fetched(tls_server.on("/page", reply(200, b"hello")))) == good(5)


# --- Proxies ---


def test_a_proxy_is_asked_for_the_whole_url(server: Server) -> None:
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
def test_a_tunnel_that_is_refused_is_told_as_such(server: Server, status: int) -> None:
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
def test_no_proxy_names_the_hosts_that_are_asked_directly(
    server: Server, no_proxy: str, direct: bool
) -> None:
    server.on("/page", reply(200, b"direct"))
    with Server({server.url("/page"): reply(200, b"by proxy")}) as proxy:
        proxies = Proxies(http=proxy.origin, no_proxy=no_proxy)
        result = fetched(server.url("/page"), connecting=ConnectionSettings(proxies=proxies))

        assert facts_of(result) == good(6 if direct else 8)
        assert proxy.connections == (0 if direct else 1)


# --- What the tests stand on ---


@pytest.fixture
def ground(server: Server, ca: trustme.CA, ca_file: Path) -> Ground:
    return Ground(server, ca, ConnectionSettings(cacert=str(ca_file)))


@dataclass(slots=True)
class Clock:
    """A clock that stands still unless it is stepped."""

    now: float

    def __call__(self) -> float:
        return self.now

    def step(self, seconds: float) -> float:
        self.now += seconds
        return self.now


class Body(httpx.AsyncByteStream):
    """A body that takes its time, breaks or stalls after its chunks, and knows if it was closed."""

    def __init__(
        self,
        *chunks: bytes,
        error: Exception | None = None,
        stalls: bool = False,
        clock: Clock | None = None,
        takes: float = 0.0,
    ) -> None:
        self.closed = False
        self.reached = asyncio.Event()
        self._chunks = chunks
        self._error = error
        self._stalls = stalls
        self._clock = clock
        self._takes = takes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._clock is not None:
            self._clock.step(self._takes)
        for chunk in self._chunks:
            yield chunk
        self.reached.set()
        if self._stalls:
            await asyncio.sleep(WITHIN)
        if self._error is not None:
            raise self._error

    async def aclose(self) -> None:
        self.closed = True


def answering(*responses: httpx.Response) -> httpx.MockTransport:
    """Return a transport that gives these responses, one after the other."""
    left = iter(responses)

    async def answer(request: httpx.Request) -> httpx.Response:
        return next(left)

    return httpx.MockTransport(answer)


def failing(*chain: BaseException) -> httpx.MockTransport:
    """Return a transport that raises the first exception, caused by the second, and so on."""
    for outer, inner in itertools.pairwise(chain):
        outer.__cause__ = inner

    async def fail(request: httpx.Request) -> httpx.Response:
        raise chain[0]

    return httpx.MockTransport(fail)


def by_query(handlers: Mapping[str, Handler], *, otherwise: Handler) -> Handler:
    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await handlers.get(request.query, otherwise)(request, reader, writer)

    return handler


def target(url: str, method: str = "GET") -> Target:
    entry = UrlList(method=method).parse_entry(url)
    assert isinstance(entry, Target), entry
    return entry


def fetched(
    url: str,
    *,
    limits: Limits = PATIENT,
    headers: Sequence[tuple[str, str]] = (),
    method: str = "GET",
    transport: httpx.AsyncBaseTransport | None = None,
    connecting: ConnectionSettings | None = None,
    clock: Callable[[], float] = time.perf_counter,
    now: Callable[[], float] = time.time,
) -> Result:
    """Fetch one URL over `transport`, or over the one that the options in `connecting` call for."""

    async def run() -> Result:
        async with transport or open_transport(connecting or ConnectionSettings()) as wire:
            fetch = Fetcher(wire, limits, headers, clock=clock, now=now)
            return result_of(target(url, method), await fetch(target(url, method)))

    return asyncio.run(run())


def all_fetched(urls: Sequence[str]) -> list[Result]:
    """Fetch the URLs one after the other over one transport."""

    async def run() -> list[Result]:
        async with open_transport(ConnectionSettings()) as wire:
            fetch = Fetcher(wire, PATIENT)
            return [result_of(target(url), await fetch(target(url))) for url in urls]

    return asyncio.run(run())


def own_headers() -> list[tuple[str, str]]:
    return [(name, "mine") for name in (*SECRETS, *HARMLESS)]


def shown(request: Request) -> dict[str, str]:
    """Return which of the user's own headers a server got to see."""
    named = {name: request.header(name) for name in (*SECRETS, *HARMLESS)}
    return {name: value for name, value in named.items() if value is not None}


def detail(result: Result) -> str:
    assert result.attempt.error is not None
    return result.attempt.error.detail


def is_told_in_words(failure: Failure) -> bool:
    """Whether a detail is more than a class's name, on one line, with nothing unprintable."""
    return len(failure.detail.split()) > 1 and failure.detail.isprintable()
