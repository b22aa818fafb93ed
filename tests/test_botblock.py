"""The marks of bot protections, and responses that only resemble them."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import steady

from crawler.core.botblock import FIELDS, PEEK, blocked_by, needs_body

BLOCKED = [403, 429, 503, 999]
CLOUDFLARE = {b"server": "cloudflare"}
GZIPPED = {**CLOUDFLARE, b"content-encoding": "gzip"}

CHALLENGE = (
    b'<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title></head><body>'
    b"<noscript>Enable JavaScript and cookies to continue</noscript><script>(function(){"
    b"window._cf_chl_opt={cvId:'3',cZone:'a.example',cType:'managed',cRay:'8f1'};"
    b"var a=document.createElement('script');"
    b"a.src='/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1?ray=8f1';"
    b"}());</script></body></html>"
)
OLDER_CHALLENGE = (
    b'<form class="challenge-form" id="challenge-form" action="/?__cf_chl_f_tk=x" method="POST">'
)
# Cloudflare's JavaScript detections, which may be in any page of a site.
DETECTIONS = (
    b"<script>(function(){function c(){var b=a.contentDocument||a.contentWindow.document;if(b){"
    b"var d=b.createElement('script');d.innerHTML=\"window.__CF$cv$params={r:'8f1',t:'MTc='};"
    b"var a=document.createElement('script');"
    b"a.src='/cdn-cgi/challenge-platform/scripts/jsd/main.js';"
    b"document.getElementsByTagName('head')[0].appendChild(a);\"}}})();</script>"
)
FORBIDDEN = (
    b"<html><head><title>403 Forbidden</title></head><body><h1>Forbidden</h1>%s</body></html>"
)
LONG = gzip.compress(CHALLENGE + b"".join(b"<!-- %d -->" % (n * 7_919) for n in range(2_000)))


@pytest.mark.parametrize("status", [200, 202, 403, 405, 429, 503])
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"cf-mitigated", "challenge", "cloudflare"),
        (b"x-amzn-waf-action", "challenge", "aws-waf"),
        (b"x-amzn-waf-action", "captcha", "aws-waf"),
    ],
)
def test_the_header_of_a_bot_protection_is_recognised_with_any_status(
    status: int, name: bytes, value: str, expected: str
) -> None:
    assert blocked_by(status, {name: value}, b"") == expected


def test_status_999_is_the_bot_protection_of_linkedin() -> None:
    assert blocked_by(999, {}, b"") == "linkedin"


@pytest.mark.parametrize("status", [403, 429, 503])
@pytest.mark.parametrize("page", [CHALLENGE, OLDER_CHALLENGE], ids=["page", "older page"])
def test_a_challenge_page_is_recognised(status: int, page: bytes) -> None:
    assert blocked_by(status, CLOUDFLARE, page) == "cloudflare"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(CHALLENGE)),
        ("x-gzip", gzip.compress(CHALLENGE)),
        ("deflate", zlib.compress(CHALLENGE)),
        ("", CHALLENGE),
        ("identity", CHALLENGE),
    ],
    ids=["gzip", "x-gzip", "deflate", "none", "identity"],
)
def test_a_challenge_page_is_recognised_in_any_content_coding(coding: str, body: bytes) -> None:
    assert blocked_by(403, {**CLOUDFLARE, b"content-encoding": coding}, body) == "cloudflare"


def test_the_first_bytes_of_a_compressed_page_suffice() -> None:
    filler = b"".join(b"<!-- %d -->" % (n * 7_919) for n in range(20_000))
    body = gzip.compress(CHALLENGE + filler)
    assert len(body) > PEEK
    assert blocked_by(403, GZIPPED, body[:PEEK]) == "cloudflare"
    assert blocked_by(403, GZIPPED, body[: len(gzip.compress(CHALLENGE)) + 400]) == "cloudflare"


def test_a_page_cut_off_before_its_mark_is_not_recognised() -> None:
    assert blocked_by(403, GZIPPED, gzip.compress(CHALLENGE)[:15]) is None
    assert blocked_by(403, CLOUDFLARE, CHALLENGE[:40]) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"no gzip", gzip.compress(b""), LONG[900:]],
    ids=["empty", "two bytes", "only a head", "plain text", "nothing", "the rest of one"],
)  # fmt: skip
def test_a_body_that_cannot_be_decompressed_is_not_a_challenge(body: bytes) -> None:
    assert blocked_by(403, GZIPPED, body) is None


@pytest.mark.parametrize(
    "body",
    [LONG[:2_000] + b"\xff" * 2_000, LONG[:-8] + bytes(8), LONG[:2_000]],
    ids=["broken", "wrong checksum", "cut off"],
)
def test_a_page_corrupt_after_its_mark_is_recognised(body: bytes) -> None:
    assert blocked_by(403, GZIPPED, body) == "cloudflare"


def test_a_plain_page_labelled_as_compressed_is_recognised() -> None:
    assert blocked_by(403, GZIPPED, CHALLENGE) == "cloudflare"


@pytest.mark.parametrize("status", BLOCKED[:3])
@pytest.mark.parametrize("extra", [b"", DETECTIONS], ids=["plain", "with detections"])
@pytest.mark.parametrize("compressed", [False, True], ids=["as it is", "gzip"])
def test_an_ordinary_403_of_a_site_behind_cloudflare_is_not_a_challenge(
    status: int, extra: bytes, compressed: bool
) -> None:
    page = FORBIDDEN % extra
    body, fields = (gzip.compress(page), GZIPPED) if compressed else (page, CLOUDFLARE)
    assert blocked_by(status, fields, body) is None


@pytest.mark.parametrize(
    ("name", "value", "body"),
    [
        *(
            (b"server", value, CHALLENGE)
            for value in ("", "nginx", "cloudflared", "not cloudflare")
        ),
        *((b"cf-mitigated", value, b"") for value in ("", "none", "challenged", "no challenge")),
    ],
)
def test_other_values_of_a_header_are_not_a_challenge(name: bytes, value: str, body: bytes) -> None:
    assert blocked_by(403, {name: value}, body) is None


@pytest.mark.parametrize("value", ["challenge", "Challenge", "CHALLENGE", " challenge\t"])
def test_the_challenge_header_is_case_insensitive(value: str) -> None:
    assert blocked_by(403, {b"cf-mitigated": value}, b"") == "cloudflare"


@pytest.mark.parametrize("server", ["cloudflare", "Cloudflare", "CLOUDFLARE", " cloudflare "])
@pytest.mark.parametrize("coding", ["gzip", "GZIP", " gzip "])
def test_server_and_content_coding_are_case_insensitive(server: str, coding: str) -> None:
    fields = {b"server": server, b"content-encoding": coding}
    assert needs_body(403, fields)
    assert blocked_by(403, fields, gzip.compress(CHALLENGE)) == "cloudflare"


def test_a_challenge_page_counts_only_with_status_403_429_or_503() -> None:
    recognised = [n for n in range(100, 999) if blocked_by(n, CLOUDFLARE, CHALLENGE) is not None]
    examined = [n for n in range(100, 1000) if needs_body(n, CLOUDFLARE)]
    assert recognised == examined == [403, 429, 503]


def test_only_bodies_from_cloudflare_are_examined() -> None:
    assert not needs_body(403, {})
    assert not needs_body(403, {b"server": "nginx"})


@pytest.mark.parametrize("status", BLOCKED[:3])
def test_a_response_without_marks_is_not_blocked(status: int) -> None:
    assert blocked_by(status, {}, b"") is None
    assert blocked_by(status, {name: "" for name in FIELDS if b"waf" not in name}, b"") is None


def test_a_mark_after_the_examined_bytes_is_ignored() -> None:
    assert blocked_by(403, CLOUDFLARE, b" " * PEEK + CHALLENGE) is None


def test_a_decompression_bomb_is_not_expanded() -> None:
    bomb = gzip.compress(bytes(50_000_000), 9)[:PEEK]
    tracemalloc.start()
    try:
        assert blocked_by(403, GZIPPED, bomb) is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


@steady
@given(
    st.integers(100, 999),
    st.dictionaries(
        st.sampled_from(FIELDS),
        st.sampled_from(["cloudflare", "challenge", "gzip", "deflate", "br"]) | st.text(max_size=9),
    ),
    st.binary(max_size=60)
    | st.tuples(st.integers(0, 300), st.binary(max_size=20)).map(
        lambda cut: gzip.compress(CHALLENGE)[: cut[0]] + cut[1]
    ),
)
def test_any_response_is_classified(status: int, fields: dict[bytes, str], body: bytes) -> None:
    assert blocked_by(status, fields, body) in (None, "cloudflare", "aws-waf", "linkedin")
