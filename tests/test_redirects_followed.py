"""Redirects: the requests that follow, their headers, and their limits."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import respx
from fetching import PATIENT, Body, all_fetched, fetched, responding
from hostile_cases import bad, facts_of, good
from loopback import (
    Handler,
    Request,
    Server,
    raw,
    redirect,
    reply,
)

from crawler import (
    ErrorKind,
    Hop,
)
from crawler.engine.transports.settings import ConnectionSettings

SECRETS = ("Authorization", "Cookie", "X-Api-Key", "Proxy-Authorization", "X-Own")


HARMLESS = ("Accept", "Accept-Language", "User-Agent")


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
def test_a_redirect_is_followed_with_the_method_that_its_status_requires(
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
def test_a_location_is_resolved_by_rfc_3986(server: Server, location: str, expected: str) -> None:
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
def test_a_location_without_a_fragment_inherits_one(
    server: Server, location: str, expected: str
) -> None:
    server.on("/end", reply())
    server.on("/start", redirect(location))
    assert fetched(server.url("/start#top")).attempt.final_url == server.url(expected)


def test_every_hop_is_recorded_in_order(server: Server) -> None:
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


def test_without_following_a_redirect_is_the_final_response(server: Server) -> None:
    url = server.on("/start", reply(302, b"moved", "Location: /end"))
    result = fetched(url, limits=replace(PATIENT, follow=False))

    assert facts_of(result) == good(5, 302)
    assert result.attempt.final_url == url
    assert server.counts == {"/start": 1}


@pytest.mark.parametrize("location", ["", "ftp://a.test/", "http://a.test:0/"])
def test_without_following_a_bad_location_is_not_an_error(server: Server, location: str) -> None:
    url = server.on("/start", redirect(location))
    assert facts_of(fetched(url, limits=replace(PATIENT, follow=False))) == good(0, 302)


@pytest.mark.parametrize("most", [0, 1, 3])
def test_at_most_max_redirects_are_followed(server: Server, most: int) -> None:
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
def test_a_redirect_to_the_same_url_in_any_notation_is_a_loop(
    server: Server, location: str
) -> None:
    url = server.on("/start", redirect(location.format(port=server.port)))
    assert facts_of(fetched(url)) == bad(ErrorKind.REDIRECT_LOOP, None, 302)


def test_the_same_url_with_another_method_is_not_a_loop(server: Server) -> None:
    async def form(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        then = redirect("/form", 303) if request.method == "POST" else reply(200, b"thanks")
        await then(request, reader, writer)

    result = fetched(server.on("/form", form), method="POST")
    assert facts_of(result) == good(6, redirects=1)


def test_cookies_are_never_sent_back(server: Server) -> None:
    server.on("/start", reply(302, b"", "Location: /end", "Set-Cookie: id=1; Path=/"))
    server.on("/end", reply(200, b"", "Set-Cookie: id=2; Path=/"))
    all_fetched([server.url("/start"), server.url("/end")])

    assert [request.header("Cookie") for request in server.requests] == [None] * 3


def test_secrets_are_sent_to_the_same_origin(server: Server) -> None:
    server.on("/end", reply())
    server.on("/start", redirect(server.url("/end")))
    fetched(server.url("/start"), headers=own_headers())

    assert shown(server.last("/end")) == dict.fromkeys((*SECRETS, *HARMLESS), "mine")


@pytest.mark.parametrize("change", ["host", "port", "scheme"])
def test_only_harmless_headers_are_sent_to_another_origin(
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


def test_dropped_secrets_are_not_sent_again(server: Server) -> None:
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
    responses = [
        httpx.Response(302, headers={"Location": "/end"}, stream=moved),
        httpx.Response(200, stream=Body(b"end")),
    ]
    result = fetched("http://a.test/", transport=responding(*responses))

    assert facts_of(result) == good(3, redirects=1)
    assert moved.closed


def by_query(handlers: Mapping[str, Handler], *, otherwise: Handler) -> Handler:
    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await handlers.get(request.query, otherwise)(request, reader, writer)

    return handler


def own_headers() -> list[tuple[str, str]]:
    return [(name, "mine") for name in (*SECRETS, *HARMLESS)]


def shown(request: Request) -> dict[str, str]:
    """Return the user's own headers that a server received."""
    named = {name: request.header(name) for name in (*SECRETS, *HARMLESS)}
    return {name: value for name, value in named.items() if value is not None}
