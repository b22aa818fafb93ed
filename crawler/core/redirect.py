"""The status and Location of a response -> the next request, or why there is none."""

from collections.abc import Collection, Sequence

from crawler.core import url as urls
from crawler.core.display import escape, mask, safe_loosely, shorten
from crawler.facts import fact
from crawler.models import ErrorKind, Failure, Phase


@fact
class NextRequest:
    """The request after a redirect. Only to the `same_origin` may secrets be sent again."""

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
    """Return the request after a redirect, or why it cannot be made (RFC 9110, section 15.4).

    `url` has no userinfo. `requested` holds the (method, URL without fragment) pairs of all
    requests so far, this one included. `locations` may contain lone surrogates for bytes that
    are not ASCII (PEP 383). `masked` are parameters to mask in the detail of a failure.
    """
    if len(set(locations)) > 1:
        return _bad("has two different Location fields")
    if not locations[0].strip():
        return _bad("has an empty Location")
    try:
        target, host = urls.join(url, locations[0])
    except ValueError as exc:
        shown = shorten(safe_loosely(_text(locations[0]), masked), 200)
        return _bad(f"leads to '{shown}', which {escape(str(exc))}")
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method = "GET"
    if (method, target.partition("#")[0]) in requested:
        shown = shorten(mask(target, masked), 200)
        detail = f"redirect loop: {shown} was already requested"
        return Failure(kind=ErrorKind.REDIRECT_LOOP, phase=None, detail=detail)
    same_origin = urls.origin(url) == urls.origin(target)
    return NextRequest(method=method, url=target, host=host, same_origin=same_origin)


def too_many(limit: int) -> Failure:
    """Return the failure of a URL that redirects more often than allowed."""
    detail = f"more than {limit} redirects"
    return Failure(kind=ErrorKind.TOO_MANY_REDIRECTS, phase=None, detail=detail)


def _bad(rule: str) -> Failure:
    phase: Phase | None = None
    return Failure(kind=ErrorKind.BAD_REDIRECT, phase=phase, detail=f"the redirect {rule}")


def _text(location: str) -> str:
    """Decode UTF-8 in a Location; other bytes stay lone surrogates (PEP 383)."""
    try:
        data = location.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that does not stand for a byte: not from a server
        return location
    return data.decode("utf-8", "surrogateescape")
