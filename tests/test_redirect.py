"""Locations as servers send them: the request that follows, or a `bad_redirect` that says why."""

import time
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crawler.core import url as urls
from crawler.core.display import escape
from crawler.core.redirect import NextRequest, follow, too_many
from crawler.core.semantics import REDIRECT_STATUSES
from crawler.models import ErrorKind, Failure

PROPERTY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow],
)

HERE = "https://h.example/a"
SECRET = "s3cr3t"

LOCATIONS = st.lists(
    st.sampled_from(
        [
            "http://", "https://", "//", "/", "../", "?", "#", ":", "@", "user:pw@", "[", "]", "\\",
            "b.example", "[::1]", ":81", ":x", ".", "%", "%41", "é", "℀", " ", "\t", "\n", "\x00",
            "\udce9", "javascript:", "ftp://", "a", ";", "\u202e", "xn--a",
        ]
    )
    | st.characters()
    | st.just("\ud800"),
    max_size=10,
).map("".join)  # fmt: skip


def step(
    *locations: str, method: str = "GET", url: str = HERE, status: int = 302, asked: str = ""
) -> NextRequest | Failure:
    """Follow a redirect from `url`; `asked` is one more URL that was asked before."""
    before = {(method, url.partition("#")[0]), (method, asked)}
    return follow(method=method, url=url, status=status, locations=locations, requested=before)


def to(*, url: str, method: str = "GET", same_origin: bool) -> NextRequest:
    """Return the request that leads to a URL."""
    host = urlsplit(url).hostname
    assert host is not None
    return NextRequest(method=method, url=url, host=host, same_origin=same_origin)


def complaint(of: NextRequest | Failure) -> str:
    """Return the detail of a `bad_redirect`."""
    assert isinstance(of, Failure)
    assert of.kind is ErrorKind.BAD_REDIRECT
    assert of.phase is None
    return of.detail


def test_the_five_statuses_that_redirect_are_followed() -> None:
    assert {301, 302, 303, 307, 308} == REDIRECT_STATUSES


@pytest.mark.parametrize(
    ("status", "method", "following"),
    [
        *((status, "GET", "GET") for status in sorted(REDIRECT_STATUSES)),
        *((status, "HEAD", "HEAD") for status in sorted(REDIRECT_STATUSES)),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (301, "PUT", "PUT"),
        (302, "DELETE", "DELETE"),
        (303, "PUT", "GET"),
        (307, "PUT", "PUT"),
        (308, "PATCH", "PATCH"),
    ],
)
def test_the_method_that_follows_is_as_rfc_9110_says(
    status: int, method: str, following: str
) -> None:
    assert step("/b", method=method, status=status) == to(
        method=following, url="https://h.example/b", same_origin=True
    )


@pytest.mark.parametrize(
    ("location", "url", "same_origin"),
    [
        ("b", "https://h.example/b", True),
        ("/b?c", "https://h.example/b?c", True),
        ("?c", "https://h.example/a?c", True),
        ("https://h.example/b", "https://h.example/b", True),
        ("https://H.example:443/b", "https://h.example/b", True),
        ("//h.example/b", "https://h.example/b", True),
        ("http://h.example/b", "http://h.example/b", False),
        ("https://h.example:444/b", "https://h.example:444/b", False),
        ("https://www.h.example/b", "https://www.h.example/b", False),
        ("https://h.example.evil.example/", "https://h.example.evil.example/", False),
        ("//other.example", "https://other.example/", False),
        (" /b c\t", "https://h.example/b%20c", True),
        ("/é", "https://h.example/%C3%A9", True),
        ("/caf\udce9", "https://h.example/caf%E9", True),
        ("https://user:pw@h.example/b", "https://h.example/b", True),
        ("https://h.example@evil.example/b", "https://evil.example/b", False),
    ],
)
def test_a_location_leads_to_its_url_and_says_whether_the_origin_is_the_same(
    location: str, url: str, same_origin: bool
) -> None:
    assert step(location) == to(method="GET", url=url, same_origin=same_origin)


def test_a_location_sent_twice_alike_is_one() -> None:
    assert step("/b", "/b") == step("/b")


def test_two_different_locations_are_a_bad_redirect() -> None:
    assert "two different Location fields" in complaint(step("/b", "/c"))


@pytest.mark.parametrize("location", ["", " ", "\t", " \t "])
def test_an_empty_location_is_a_bad_redirect(location: str) -> None:
    assert "an empty Location" in complaint(step(location))


@pytest.mark.parametrize(
    ("location", "rule"),
    [
        ("ftp://h.example/", "is not an http:// or https:// URL"),
        ("mailto:joe@h.example", "is not an http:// or https:// URL"),
        ("javascript:alert(1)", "is not an http:// or https:// URL"),
        ("data:text/html,x", "is not an http:// or https:// URL"),
        ("file:///etc/passwd", "is not an http:// or https:// URL"),
        ("https://", "has no host"),
        ("https://h.example:0/", "has a port outside 1-65535"),
        ("https://h.example:65536/", "has a port outside 1-65535"),
        ("https://h.example:99999999999999999999/", "has a port outside 1-65535"),
        ("https://h.example:x/", "has a port that is not a number"),
        ("//h\\@evil.example/", "has a backslash in its host"),
        ("https://h..example/", "has a malformed host"),
        ("https://[::1/", "has a malformed"),
        ("//[", "has a malformed"),
        ("https://1.2.3.999/", "has a malformed IPv4 address"),
        ("https://☃.example/", "has a host that is not a valid international name"),
        ("/b\r\nSet-Cookie: x", "contains a control character"),
        ("/b\x00", "contains a control character"),
        ("/b\x7f", "contains a control character"),
        ("/b\x1b[31m", "contains a control character"),
        ("/b\x1fc", "contains a control character"),
        ("/\\evil.example/", "has a backslash before its host"),
        ("//\udcfc.example/", "has a host that is not UTF-8"),
        (f"/{'b' * 20_000}", "is longer than"),
    ],
)
def test_a_location_that_cannot_be_asked_is_a_bad_redirect_that_says_why(
    location: str, rule: str
) -> None:
    assert f"', which {rule}" in complaint(step(location))


@pytest.mark.parametrize(
    ("method", "asked", "location"),
    [
        pytest.param("GET", "", "/a", id="to itself"),
        pytest.param("GET", "", "https://H.EXAMPLE:443/a", id="in other words"),
        pytest.param("GET", "", "#there", id="to another fragment of itself"),
        pytest.param("GET", "https://h.example/b", "/b", id="to one asked before"),
        pytest.param("HEAD", "https://h.example/b", "/b", id="with HEAD"),
        pytest.param("GET", "", "https://user:pw@h.example/a", id="with userinfo"),
    ],
)
def test_the_same_method_and_url_again_is_a_loop(method: str, asked: str, location: str) -> None:
    found = step(location, method=method, asked=asked)
    assert isinstance(found, Failure)
    assert found.kind is ErrorKind.REDIRECT_LOOP
    assert "pw" not in found.detail


def test_the_same_url_with_another_method_is_no_loop() -> None:
    assert step("/a", method="POST", status=303) == to(method="GET", url=HERE, same_origin=True)


def test_an_empty_query_makes_another_url_and_so_no_loop() -> None:
    assert step("/a?") == to(method="GET", url=f"{HERE}?", same_origin=True)


def test_the_fragment_of_the_page_goes_on_where_the_location_has_none() -> None:
    here = f"{HERE}#top"
    assert step("/b", url=here) == to(method="GET", url="https://h.example/b#top", same_origin=True)
    assert step("/b#own", url=here) == to(
        method="GET", url="https://h.example/b#own", same_origin=True
    )


def test_too_many_redirects_say_how_many_are_followed() -> None:
    assert too_many(10) == Failure(
        kind=ErrorKind.TOO_MANY_REDIRECTS, phase=None, detail="more than 10 redirects"
    )


@pytest.mark.parametrize(
    "location",
    [
        "https://user:s3cr3t@h.example:0/",
        "//user:s3cr3t@[",
        "//user:s3cr3t@℀.example/",
        "https://user:a s3cr3t@h.example:0/",
        "https://user:s3cr3t/x@h.example/",
        "https://user:s3cr3t?x@h.example/",
        "https://user:s3cr3t#x@h.example/",
        "https://user:a@s3cr3t@h.example:0/",
        "https://user:s3cr3t\\x@h.example/",
        "ftp://user:s3cr3t@h.example/",
        "ftp://h.example/?token=s3cr3t",
        "https://h.example:0/?token=a s3cr3t",
    ],
)
def test_a_password_in_a_location_is_not_shown(location: str) -> None:
    assert SECRET not in repr(step(location))


def test_a_secret_in_a_url_that_is_a_loop_is_not_shown() -> None:
    here = "https://h.example/a?token=s3cr3t"
    found = step(here, url=here)
    assert isinstance(found, Failure)
    assert found.kind is ErrorKind.REDIRECT_LOOP
    assert "https://h.example/a?token=*** was" in found.detail


def test_a_parameter_that_is_named_is_hidden_in_a_bad_location() -> None:
    before = {("GET", HERE)}
    found = follow(
        method="GET", url=HERE, status=302, locations=["ftp://h/?mine=a s3cr3t"], requested=before,
        masked=frozenset({"mine"}),
    )  # fmt: skip
    assert "'ftp://h/?mine=***', which" in complaint(found)


def test_a_long_location_is_shown_in_part() -> None:
    assert len(complaint(step("ftp://" + "x" * 60_000))) < 400


def test_a_location_with_marks_of_its_own_is_shown_harmlessly() -> None:
    assert "'ftp://\\x1b[31m\\u202e\\x23#[error]'" in complaint(
        step("ftp://\x1b[31m\u202e##[error]")
    )


def test_a_bad_location_is_shown_as_the_text_that_its_bytes_are() -> None:
    location = "ftp://é/".encode() + b"\xe9"
    assert "'ftp://é/\\xe9'" in complaint(step(location.decode("ascii", "surrogateescape")))


@PROPERTY
@given(
    LOCATIONS, st.sampled_from(sorted(REDIRECT_STATUSES)), st.sampled_from(["GET", "HEAD", "POST"])
)
def test_any_location_leads_to_a_url_that_can_be_asked_or_to_a_failure(
    location: str, status: int, method: str
) -> None:
    found = step(location, status=status, method=method)
    if isinstance(found, Failure):
        assert found.kind in {ErrorKind.BAD_REDIRECT, ErrorKind.REDIRECT_LOOP}
        assert escape(found.detail) == found.detail
    else:
        assert found.url.startswith(("http://", "https://"))
        assert urls.parse(found.url)[0] == found.url
        assert urls.without_userinfo(found.url) == (found.url, None)
        assert found.same_origin is (urls.origin(found.url) == urls.origin(HERE))


@pytest.mark.parametrize(
    "unit",
    [
        "a", "/", "//a", "../", "./", "@", ":", "@[", "#", "?", "%", ";", " ", "é.", "\x00",
        "\u0301\u0316", "\udce9", "[", "\\",
    ],
)  # fmt: skip
@pytest.mark.parametrize("start", ["", "//"])
@pytest.mark.parametrize("end", ["", "/@"])
def test_a_hostile_location_costs_little(start: str, unit: str, end: str) -> None:
    location = f"{start}{unit * (32_000 // len(unit))}{end}"
    before = time.process_time()
    step(location)
    assert time.process_time() - before < 1
