"""A response's status and Location -> the request that follows, or why none can."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from crawler.core import url as urls
from crawler.core.display import escape, mask, safe_loosely, shorten
from crawler.models import ErrorKind, Failure, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRequest:
    """The request that a redirect asks for. `same_origin` says whether secrets may go along."""

    method: str
    url: str
    host: str
    same_origin: bool


def follow(
    *,
    method: str,
    url: str,
    status: int,
    locations: Sequence[str],
    requested: Collection[tuple[str, str]],
    masked: frozenset[str] = frozenset(),
) -> NextRequest | Failure:
    """Return where a redirect leads (RFC 9110, section 15.4).

    `url` is without userinfo. `requested` holds the (method, URL without fragment) pairs
    asked so far, the present one among them. Bytes of `locations` that are not ASCII may
    come as lone surrogates (PEP 383). `masked` are parameters that a complaint hides, too.
    """
    if len(set(locations)) > 1:
        return _bad("gives two different locations")
    if not locations[0].strip():
        return _bad("gives an empty location")
    try:
        target, host = urls.join(url, locations[0])
    except ValueError as exc:
        shown = shorten(safe_loosely(_text(locations[0]), masked), 200)
        return _bad(f"leads to '{shown}', which {escape(str(exc))}")
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method = "GET"
    if (method, target.partition("#")[0]) in requested:
        detail = f"redirects back to {shorten(mask(target, masked), 200)}, which was asked before"
        return Failure(kind=ErrorKind.REDIRECT_LOOP, phase=None, detail=detail)
    same_origin = urls.origin(url) == urls.origin(target)
    return NextRequest(method=method, url=target, host=host, same_origin=same_origin)


def too_many(limit: int) -> Failure:
    detail = f"redirects more than {limit} times"
    return Failure(kind=ErrorKind.TOO_MANY_REDIRECTS, phase=None, detail=detail)


def _bad(complaint: str) -> Failure:
    phase: Phase | None = None
    return Failure(kind=ErrorKind.BAD_REDIRECT, phase=phase, detail=f"the redirect {complaint}")


def _text(location: str) -> str:
    """Read what is UTF-8 in a Location as that; other bytes stay lone surrogates (PEP 383)."""
    try:
        data = location.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that stand for no byte: not from a server
        return location
    return data.decode("utf-8", "surrogateescape")
