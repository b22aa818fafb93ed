"""The requests of one attempt, one redirect after the other, without any I/O."""

from typing import Any

import pytest
from fetching import target

from crawler.engine.chain import Chain
from crawler.engine.headers import RequestHeaders
from crawler.models import ErrorKind, Failure, Hop, Limits

SECRET = (("Authorization", "Bearer x"), ("X-Token", "y"), ("Accept-Language", "de"))


def chain(url: str = "http://a.test/", method: str = "GET", **limits: Any) -> Chain:
    return Chain(target(url, method), RequestHeaders(SECRET), Limits(**limits))


def test_the_first_request_is_that_of_the_target() -> None:
    first = chain("http://a.test/x", "HEAD")
    assert (first.method, first.url, first.hops) == ("HEAD", "http://a.test/x", ())
    assert "x-token" in first.fields.names


def test_credentials_of_the_url_are_sent_as_a_field() -> None:
    fields = Chain(target("http://u:p@a.test/"), RequestHeaders(()), Limits()).fields
    assert ("Authorization", "Basic dTpw") in fields.pairs
    assert Chain(target("http://u:p@a.test/"), RequestHeaders(()), Limits()).url == "http://a.test/"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_gives_its_locations_in_order(status: int) -> None:
    fields = [(b"location", b"/a"), (b"X", b"y"), (b"LOCATION", b"/\xe9")]
    assert chain().locations(status, fields) == ["/a", "/\udce9"]
    assert chain(follow=False).locations(status, fields) == []


@pytest.mark.parametrize("status", [200, 300, 304, 305, 404])
def test_no_other_response_has_locations(status: int) -> None:
    assert chain().locations(status, [(b"Location", b"/a")]) == []


def test_following_returns_the_host_and_goes_on_to_its_request() -> None:
    moved = chain("http://a.test/x", "POST")
    assert moved.follow(302, ["http://b.test/y"]) == "b.test"
    assert (moved.method, moved.url) == ("GET", "http://b.test/y")
    assert moved.hops == (Hop(url="http://a.test/x", status=302),)


def test_only_harmless_fields_go_to_another_origin_and_none_come_back() -> None:
    moved = chain()
    moved.follow(302, ["/x"])
    assert "x-token" in moved.fields.names
    moved.follow(302, ["http://b.test/"])
    assert not {"authorization", "x-token"} & moved.fields.names
    assert "accept-language" in moved.fields.names
    moved.follow(302, ["http://a.test/y"])
    assert not {"authorization", "x-token"} & moved.fields.names


@pytest.mark.parametrize(
    ("locations", "kind"),
    [
        (["/"], ErrorKind.REDIRECT_LOOP),
        (["/#part"], ErrorKind.REDIRECT_LOOP),
        (["/a", "/b"], ErrorKind.BAD_REDIRECT),
        (["ftp://a.test/"], ErrorKind.BAD_REDIRECT),
    ],
)
def test_a_redirect_that_cannot_be_followed_changes_nothing(
    locations: list[str], kind: ErrorKind
) -> None:
    stuck = chain()
    failed = stuck.follow(302, locations)
    assert isinstance(failed, Failure)
    assert failed.kind is kind
    assert (stuck.method, stuck.url, stuck.hops) == ("GET", "http://a.test/", ())


@pytest.mark.parametrize("most", [0, 1, 3])
def test_no_more_redirects_are_followed_than_allowed(most: int) -> None:
    moved = chain(max_redirects=most)
    hosts = [moved.follow(302, [f"/{number}"]) for number in range(most)]
    assert hosts == ["a.test"] * most
    failed = moved.follow(302, ["/more"])
    assert isinstance(failed, Failure)
    assert failed.kind is ErrorKind.TOO_MANY_REDIRECTS
    assert len(moved.hops) == most
