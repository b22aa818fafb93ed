"""Locations as servers send them: the next request, or the failure with the broken rule."""

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
    *locations: str, method: str = "GET", url: str = HERE, status: int = 302, earlier: str = ""
) -> NextRequest | Failure:
    """Follow a redirect from `url`; `earlier` is another URL that was requested before."""
    before = {(method, url.partition("#")[0]), (method, earlier)}
    return follow(method=method, url=url, status=status, locations=locations, requested=before)


def to(*, url: str, method: str = "GET", same_origin: bool) -> NextRequest:
    """Return the next request for a URL."""
    host = urlsplit(url).hostname
    assert host is not None
    return NextRequest(method=method, url=url, host=host, same_origin=same_origin)


def complaint(of: NextRequest | Failure) -> str:
    """Return the detail of a `bad_redirect`."""
    assert isinstance(of, Failure)
    assert of.kind is ErrorKind.BAD_REDIRECT
    assert of.phase is None
    return of.detail


def test_exactly_five_statuses_are_redirects() -> None:
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
def test_the_method_after_a_redirect_follows_rfc_9110(
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
def test_a_location_gives_a_url_and_whether_it_has_the_same_origin(
    location: str, url: str, same_origin: bool
) -> None:
    assert step(location) == to(method="GET", url=url, same_origin=same_origin)


def test_identical_location_fields_count_as_one() -> None:
    assert step("/b", "/b") == step("/b")


@pytest.mark.parametrize(
    ("locations", "rule"),
    [
        (["/b", "/c"], "two different Location fields"),
        *(([blank], "an empty Location") for blank in ("", " ", "\t", " \t ")),
    ],
)
def test_ambiguous_and_empty_locations_are_bad_redirects(locations: list[str], rule: str) -> None:
    assert rule in complaint(step(*locations))


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
def test_an_invalid_location_is_a_bad_redirect_with_the_broken_rule(
    location: str, rule: str
) -> None:
    assert f"', which {rule}" in complaint(step(location))


@pytest.mark.parametrize(
    ("method", "earlier", "location"),
    [
        pytest.param("GET", "", "/a", id="to itself"),
        pytest.param("GET", "", "https://H.EXAMPLE:443/a", id="in another spelling"),
        pytest.param("GET", "", "#there", id="to another fragment of itself"),
        pytest.param("GET", "https://h.example/b", "/b", id="to an earlier URL"),
        pytest.param("HEAD", "https://h.example/b", "/b", id="with HEAD"),
        pytest.param("GET", "", "https://user:pw@h.example/a", id="with userinfo"),
    ],
)
def test_a_repeated_request_is_a_redirect_loop(method: str, earlier: str, location: str) -> None:
    found = step(location, method=method, earlier=earlier)
    assert isinstance(found, Failure)
    assert found.kind is ErrorKind.REDIRECT_LOOP
    assert "pw" not in found.detail


@pytest.mark.parametrize(
    ("location", "method", "status", "url"),
    [
        pytest.param("/a", "POST", 303, HERE, id="another method"),
        pytest.param("/a?", "GET", 302, f"{HERE}?", id="an empty query"),
    ],
)
def test_a_different_request_is_not_a_redirect_loop(
    location: str, method: str, status: int, url: str
) -> None:
    expected = to(method="GET", url=url, same_origin=True)
    assert step(location, method=method, status=status) == expected


def test_a_location_without_a_fragment_inherits_that_of_the_page() -> None:
    here = f"{HERE}#top"
    assert step("/b", url=here) == to(method="GET", url="https://h.example/b#top", same_origin=True)
    assert step("/b#own", url=here) == to(
        method="GET", url="https://h.example/b#own", same_origin=True
    )


def test_the_detail_of_too_many_redirects_states_the_limit() -> None:
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
def test_a_secret_in_a_location_is_masked(location: str) -> None:
    assert SECRET not in repr(step(location))


def test_a_secret_in_the_url_of_a_loop_is_masked() -> None:
    here = "https://h.example/a?token=s3cr3t"
    found = step(here, url=here)
    assert isinstance(found, Failure)
    assert found.kind is ErrorKind.REDIRECT_LOOP
    assert "https://h.example/a?token=*** was" in found.detail


def test_additional_parameters_are_masked_in_a_bad_location() -> None:
    before = {("GET", HERE)}
    found = follow(
        method="GET", url=HERE, status=302, locations=["ftp://h/?mine=a s3cr3t"], requested=before,
        masked=frozenset({"mine"}),
    )  # fmt: skip
    assert "'ftp://h/?mine=***', which" in complaint(found)


def test_a_long_location_is_shortened() -> None:
    assert len(complaint(step("ftp://" + "x" * 60_000))) < 400


def test_control_characters_in_a_bad_location_are_escaped() -> None:
    assert "'ftp://\\x1b[31m\\u202e\\x23#[error]'" in complaint(
        step("ftp://\x1b[31m\u202e##[error]")
    )


def test_a_bad_location_is_decoded_as_utf_8() -> None:
    location = "ftp://é/".encode() + b"\xe9"
    assert "'ftp://é/\\xe9'" in complaint(step(location.decode("ascii", "surrogateescape")))


@PROPERTY
@given(
    LOCATIONS, st.sampled_from(sorted(REDIRECT_STATUSES)), st.sampled_from(["GET", "HEAD", "POST"])
)
def test_any_location_gives_a_valid_request_or_a_failure(
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
def test_a_hostile_location_takes_linear_time(start: str, unit: str, end: str) -> None:
    location = f"{start}{unit * (32_000 // len(unit))}{end}"
    before = time.process_time()
    step(location)
    assert time.process_time() - before < 1
