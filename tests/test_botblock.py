"""The marks of bot protections, and what only looks like them."""

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
# What Cloudflare's JavaScript detections put into any page of a site, good or bad.
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


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_challenge_that_says_so_in_its_head_is_known(status: int) -> None:
    assert blocked_by(status, {b"cf-mitigated": "challenge"}, b"") == "cloudflare"


@pytest.mark.parametrize("action", ["challenge", "captcha"])
@pytest.mark.parametrize("status", [403, 429, 503])
def test_an_action_of_the_aws_firewall_is_known(status: int, action: str) -> None:
    assert blocked_by(status, {b"x-amzn-waf-action": action}, b"") == "aws-waf"


def test_the_status_that_only_linkedin_gives_is_known() -> None:
    assert blocked_by(999, {}, b"") == "linkedin"


@pytest.mark.parametrize("status", [403, 429, 503])
@pytest.mark.parametrize("page", [CHALLENGE, OLDER_CHALLENGE], ids=["page", "older page"])
def test_a_challenge_page_is_known(status: int, page: bytes) -> None:
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
def test_a_challenge_page_is_known_in_its_coding(coding: str, body: bytes) -> None:
    assert blocked_by(403, {**CLOUDFLARE, b"content-encoding": coding}, body) == "cloudflare"


def test_a_compressed_page_is_known_by_its_first_bytes() -> None:
    filler = b"".join(b"<!-- %d -->" % (n * 7_919) for n in range(20_000))
    body = gzip.compress(CHALLENGE + filler)
    assert len(body) > PEEK
    assert blocked_by(403, GZIPPED, body[:PEEK]) == "cloudflare"
    assert blocked_by(403, GZIPPED, body[: len(gzip.compress(CHALLENGE)) + 400]) == "cloudflare"


def test_a_page_that_breaks_off_before_its_mark_is_not_known() -> None:
    assert blocked_by(403, GZIPPED, gzip.compress(CHALLENGE)[:15]) is None
    assert blocked_by(403, CLOUDFLARE, CHALLENGE[:40]) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"no gzip", gzip.compress(b""), LONG[900:]],
    ids=["empty", "two bytes", "only a head", "plain text", "nothing", "the rest of one"],
)  # fmt: skip
def test_what_cannot_be_decompressed_blocks_nothing(body: bytes) -> None:
    assert blocked_by(403, GZIPPED, body) is None


@pytest.mark.parametrize(
    "body",
    [LONG[:2_000] + b"\xff" * 2_000, LONG[:-8] + bytes(8), LONG[:2_000]],
    ids=["broken", "wrong checksum", "cut off"],
)
def test_a_page_that_breaks_behind_its_mark_is_read_up_to_there(body: bytes) -> None:
    assert blocked_by(403, GZIPPED, body) == "cloudflare"


def test_a_plain_page_that_claims_to_be_compressed_is_read_as_it_is() -> None:
    assert blocked_by(403, GZIPPED, CHALLENGE) == "cloudflare"


@pytest.mark.parametrize("status", BLOCKED[:3])
@pytest.mark.parametrize("extra", [b"", DETECTIONS], ids=["plain", "with detections"])
@pytest.mark.parametrize("compressed", [False, True], ids=["as it is", "gzip"])
def test_a_normal_refusal_of_a_site_behind_cloudflare_is_the_sites_own(
    status: int, extra: bytes, compressed: bool
) -> None:
    page = FORBIDDEN % extra
    body, fields = (gzip.compress(page), GZIPPED) if compressed else (page, CLOUDFLARE)
    assert blocked_by(status, fields, body) is None


@pytest.mark.parametrize("server", ["", "nginx", "cloudflared", "not cloudflare"])
def test_the_page_of_another_server_is_no_challenge(server: str) -> None:
    assert blocked_by(403, {b"server": server}, CHALLENGE) is None


@pytest.mark.parametrize("value", ["", "none", "challenged", "no challenge"])
def test_a_head_that_says_anything_else_is_no_challenge(value: str) -> None:
    assert blocked_by(403, {b"cf-mitigated": value}, b"") is None


@pytest.mark.parametrize("value", ["challenge", "Challenge", "CHALLENGE", " challenge\t"])
def test_the_case_of_a_value_does_not_count(value: str) -> None:
    assert blocked_by(403, {b"cf-mitigated": value}, b"") == "cloudflare"


@pytest.mark.parametrize("server", ["cloudflare", "Cloudflare", "CLOUDFLARE", " cloudflare "])
@pytest.mark.parametrize("coding", ["gzip", "GZIP", " gzip "])
def test_the_case_of_server_and_coding_does_not_count(server: str, coding: str) -> None:
    fields = {b"server": server, b"content-encoding": coding}
    assert needs_body(403, fields)
    assert blocked_by(403, fields, gzip.compress(CHALLENGE)) == "cloudflare"


@pytest.mark.parametrize("status", [200, 202, 403, 405, 429, 503])
def test_the_header_of_a_challenge_counts_with_any_status(status: int) -> None:
    assert blocked_by(status, {b"cf-mitigated": "challenge"}, b"") == "cloudflare"
    assert blocked_by(status, {b"x-amzn-waf-action": "challenge"}, b"") == "aws-waf"


def test_a_page_with_any_other_status_says_nothing() -> None:
    named = [n for n in range(100, 999) if blocked_by(n, CLOUDFLARE, CHALLENGE) is not None]
    looked_at = [n for n in range(100, 1000) if needs_body(n, CLOUDFLARE)]
    assert named == looked_at == [403, 429, 503]


def test_only_the_body_of_a_site_behind_cloudflare_is_worth_a_look() -> None:
    assert not needs_body(403, {})
    assert not needs_body(403, {b"server": "nginx"})


@pytest.mark.parametrize("status", BLOCKED[:3])
def test_without_any_mark_nobody_blocks(status: int) -> None:
    assert blocked_by(status, {}, b"") is None
    assert blocked_by(status, {name: "" for name in FIELDS if b"waf" not in name}, b"") is None


def test_no_more_of_a_body_is_looked_at_than_is_kept() -> None:
    assert blocked_by(403, CLOUDFLARE, b" " * PEEK + CHALLENGE) is None


def test_a_bomb_is_not_unpacked() -> None:
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
def test_no_response_is_too_strange(status: int, fields: dict[bytes, str], body: bytes) -> None:
    assert blocked_by(status, fields, body) in (None, "cloudflare", "aws-waf", "linkedin")
