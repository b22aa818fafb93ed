"""A response -> whose bot protection answered instead of the site, or None."""

import zlib
from collections.abc import Mapping

_PAGE_STATUSES = frozenset({403, 429, 503})
# Not /cdn-cgi/challenge-platform/ alone: JavaScript detections put that into any page.
_CLOUDFLARE_PAGE = (b"/orchestrate/chl_page/", b"__cf_chl", b"cf-chl-", b"cf_chl_opt")
_PIECE = 512  # bytes decompressed at once: what comes before a fault in the data is kept
FIELDS = (b"server", b"content-encoding", b"cf-mitigated", b"x-amzn-waf-action")
PEEK = 32_768
"""How many bytes of a body `blocked_by` looks at, at most."""


def blocked_by(status: int, fields: Mapping[bytes, str], body: bytes) -> str | None:
    """Return "cloudflare", "aws-waf" or "linkedin" where their marks are on a response.

    `fields` has lower-case names, `body` is how its first bytes came over the wire.
    The marks: Cloudflare's header `cf-mitigated: challenge` or its challenge page, the
    header `x-amzn-waf-action` of AWS WAF (whose challenge is a 202, its CAPTCHA a 405), and
    LinkedIn's status 999.
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


def needs_body(status: int, fields: Mapping[bytes, str]) -> bool:
    """Whether the body of such a response may tell more than its head."""
    return status in _PAGE_STATUSES and fields.get(b"server", "").strip().lower() == "cloudflare"


def _plain(body: bytes, coding: str) -> bytes:
    """Undo a content coding as far as the bytes go; what cannot be undone is left as it is."""
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
