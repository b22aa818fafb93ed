"""A response -> the bot protection that sent it instead of the site, or None."""

import zlib
from collections.abc import Collection, Mapping

_PAGE_STATUSES = frozenset({403, 429, 503})
# Not /cdn-cgi/challenge-platform/ alone: JavaScript detections add that to any page.
_CLOUDFLARE_PAGE = (b"/orchestrate/chl_page/", b"__cf_chl", b"cf-chl-", b"cf_chl_opt")
_PIECE = 512  # bytes decompressed at once: data before a corrupt part is kept
FIELDS = (b"server", b"content-encoding", b"cf-mitigated", b"x-amzn-waf-action")
PEEK = 32_768
"""The number of body bytes that `blocked_by` examines, at most."""


def blocked_by(status: int, fields: Mapping[bytes, str], body: bytes) -> str | None:
    """Return "cloudflare", "aws-waf" or "linkedin"; None for a response of the site itself.

    `fields` has lower-case names; `body` holds the first bytes of the body as received, with
    any content coding. Cloudflare is recognised by the header `cf-mitigated: challenge` or
    its challenge page, AWS WAF by the header `x-amzn-waf-action` (on a 202 for a challenge, a
    405 for a CAPTCHA), LinkedIn by status 999.
    """
    if status == 999:
        return "linkedin"
    if fields.get(b"cf-mitigated", "").strip().lower() == "challenge":
        return "cloudflare"
    if b"x-amzn-waf-action" in fields:
        return "aws-waf"
    if needs_body(status, fields):
        page = _plain(body[:PEEK], fields.get(b"content-encoding", ""))
        if any(mark in page for mark in _CLOUDFLARE_PAGE):
            return "cloudflare"
    return None


def may_block(status: int, fields: Collection[bytes]) -> bool:
    """Whether `blocked_by` may find anything, by the names of the fields."""
    return (
        status in _PAGE_STATUSES
        or status == 999
        or b"cf-mitigated" in fields
        or b"x-amzn-waf-action" in fields
    )


def may_need_body(status: int) -> bool:
    """Whether `needs_body` may be true."""
    return status in _PAGE_STATUSES


def needs_body(status: int, fields: Mapping[bytes, str]) -> bool:
    """Whether the head alone does not decide: the body may be a challenge page."""
    return status in _PAGE_STATUSES and fields.get(b"server", "").strip().lower() == "cloudflare"


def _plain(body: bytes, coding: str) -> bytes:
    """Decode as much of a content coding as possible; return `body` itself if nothing decodes."""
    if coding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    decoder, page = zlib.decompressobj(wbits=47), b""
    for start in range(0, len(body), _PIECE):
        try:
            page += decoder.decompress(body[start : start + _PIECE], 2 * PEEK)
        except zlib.error:
            break
        if len(page) >= 2 * PEEK:
            break
    return page or body
