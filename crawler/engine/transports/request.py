"""A request kept as text, whose URL is parsed only if a transport needs its parts.

Creating an `httpx.Request` takes 19 µs, nearly all of it to parse a URL that is normalised
already; writing the head of that request takes 1 µs.
"""

from functools import cached_property

import httpx

from crawler.engine.transports.requesthead import (
    Fields,
    Origin,
    head_of,
    origin_of_site,
    split,
)
from crawler.engine.transports.wire import Wire


class ExactUrl(httpx.URL):
    """An `httpx.URL` of a normalised URL that is sent unchanged.

    `httpx.URL` itself escapes a "%" that does not start an escape.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = text

    @property
    def raw_path(self) -> bytes:
        return split(self._text)[1].encode("ascii")

    def __str__(self) -> str:
        return self._text


class LazyRequest(httpx.Request):
    """An `httpx.Request` for a normalised URL without userinfo, and without a body.

    `seconds` is the timeout of the attempt, for transports that cannot be cancelled.
    `fresh` requires a connection that was not used before.
    """

    def __init__(
        self,
        method: str,
        text: str,
        fields: Fields,
        wire: Wire,
        seconds: float | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        # Not super().__init__: parsing the URL there is the cost that this class defers.
        self.method = method
        self.text = text
        self.fields = fields
        self.extensions = {"wire": wire, "seconds": seconds, "fresh": fresh}
        self.stream = httpx.ByteStream(b"")
        self._content = b""

    @cached_property
    def _whole(self) -> httpx.Request:
        return httpx.Request(self.method, self.text, headers=self.fields.raw)

    @cached_property
    def url(self) -> httpx.URL:  # type: ignore[override]  # an attribute there, created on demand here
        return ExactUrl(self.text)

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]  # an attribute there, created on demand here
        return self._whole.headers


def origin_of(request: httpx.Request) -> Origin:
    """Return scheme, host without brackets, and port (None if the URL has none) of a request."""
    if isinstance(request, LazyRequest):
        return origin_of_site(split(request.text)[0])
    url = request.url
    return url.scheme, url.raw_host.decode("ascii"), url.port


def url_text(request: httpx.Request) -> str:
    """Return the URL of a request, as text."""
    return request.text if isinstance(request, LazyRequest) else str(request.url)


def header_pairs(request: httpx.Request) -> list[tuple[str, str]]:
    """Return the header fields of a request, as text; the sender adds Host if it is missing."""
    if isinstance(request, LazyRequest):
        return request.fields.pairs
    return [(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw]


async def request_head(request: httpx.Request) -> bytes:
    """Return the bytes of a request: its head, and its body if it has one."""
    if not isinstance(request, LazyRequest):
        target = request.url.raw_path
        lines = b"".join(b"%b: %b\r\n" % pair for pair in request.headers.raw)
        start = b"%b %b HTTP/1.1\r\n" % (request.method.encode(), target)
        return start + lines + b"\r\n" + await request.aread()
    return head_of(request.method, request.text, request.fields)
