"""The header fields of a request: the default ones, the user's, and credentials."""

import base64

import pytest
from fetching import fetched
from hostile_cases import bad, facts_of, good
from loopback import (
    Server,
    redirect,
    reply,
)

from crawler import (
    ErrorKind,
    __version__,
)

# What is sent


def test_the_default_headers_name_the_program_and_accept_anything(server: Server) -> None:
    fetched(server.on("/page", reply()))
    request = server.last("/page")

    assert request.method == "GET"
    assert request.header("Host") == f"127.0.0.1:{server.port}"
    assert request.header("User-Agent") == f"crawl/{__version__}"
    assert request.header("Accept") == "*/*"
    assert request.header("Cookie") is None
    assert request.header("Authorization") is None


def test_headers_of_the_user_replace_default_ones_of_the_same_name(server: Server) -> None:
    fetched(server.on("/page", reply()), headers=[("user-agent", "mine"), ("X-Own", "yes")])
    request = server.last("/page")

    assert [v for name, v in request.headers if name.lower() == "user-agent"] == ["mine"]
    assert request.header("X-Own") == "yes"
    assert request.header("Accept") == "*/*"


def test_a_header_given_twice_is_sent_twice(server: Server) -> None:
    fetched(server.on("/page", reply()), headers=[("X-Own", "a"), ("X-Own", "b")])
    assert [v for name, v in server.last("/page").headers if name == "X-Own"] == ["a", "b"]


def test_a_fragment_is_not_sent(server: Server) -> None:
    server.on("/page", reply())
    result = fetched(server.url("/page?q=1#part"))

    assert server.last("/page").target == "/page?q=1"
    assert result.attempt.final_url == server.url("/page?q=1#part")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_the_method_is_that_of_the_target(server: Server, method: str) -> None:
    result = fetched(server.on("/page", reply(200, b"hello")), method=method)

    assert server.last("/page").method == method
    assert facts_of(result) == good(5)


def test_head_reads_no_body_and_records_the_content_length(server: Server) -> None:
    result = fetched(server.on("/page", reply(200, b"hello")), method="HEAD")

    assert facts_of(result) == good(0)
    assert result.attempt.content_length == 5


# Credentials in a URL


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
    request = server.last("/page")

    token = base64.b64encode(expected.encode()).decode()
    assert request.header("Authorization") == f"Basic {token}"
    assert request.header("Host") == f"127.0.0.1:{server.port}"


def test_an_authorization_header_takes_precedence_over_userinfo(server: Server) -> None:
    server.on("/page", reply())
    url = server.url("/page", host="user:secret@127.0.0.1")
    fetched(url, headers=[("authorization", "Bearer mine")])

    sent = [value for name, value in server.last("/page").headers if name == "authorization"]
    assert sent == ["Bearer mine"]
    assert server.last("/page").header("Authorization") == "Bearer mine"


def test_userinfo_is_sent_to_the_same_origin_only(server: Server) -> None:
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
