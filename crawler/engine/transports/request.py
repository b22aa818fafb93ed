"""A request kept as text, whose URL is parsed only if a transport needs its parts.

Creating an `httpx.Request` takes 19 µs, nearly all of it to parse a URL that is normalised
already; writing the head of that request takes 1 µs.
"""

import re
from collections.abc import Sequence
from functools import cached_property

import httpx

from crawler.engine.transports.wire import Wire

Origin = tuple[str, str, int | None]

_ORIGIN = re.compile(r"(https?)://(\[[^\]]*\]|[^:/?#]*)(?::(\d+))?")
_SENDS_LENGTH = frozenset({"POST", "PUT", "PATCH"})


class Fields:
    """The header fields that go with every request of a run, encoded once.

    Values are sent as UTF-8; bytes that were not UTF-8 are sent unchanged (PEP 383).
    Raises ValueError if a name is not ASCII, or if a name or value contains a line end.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        raw = [(name.encode("ascii"), _encoded(name, value)) for name, value in pairs]
        self.headers = httpx.Headers(raw)
        self.has_host = "host" in self.headers
        self.lines = b"".join(b"%b: %b\r\n" % pair for pair in raw)
        self.pairs = list(pairs)

    def and_also(self, name: str, value: str) -> "Fields":
        return Fields([*self.pairs, (name, value)])


class ExactUrl(httpx.URL):
    """An `httpx.URL` of a normalised URL that is sent unchanged.

    `httpx.URL` itself escapes a "%" that does not start an escape.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._text = text

    @property
    def raw_path(self) -> bytes:
        _, slash = _host_and_path(self._text)
        return self._text[slash:].partition("#")[0].encode("ascii")

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
        return httpx.Request(self.method, self.text, headers=self.fields.headers)

    @cached_property
    def url(self) -> httpx.URL:  # type: ignore[override]  # an attribute there, created on demand here
        return ExactUrl(self.text)

    @cached_property
    def headers(self) -> httpx.Headers:  # type: ignore[override]  # an attribute there, created on demand here
        return self._whole.headers


def origin_of(request: httpx.Request) -> Origin:
    """Return scheme, host without brackets, and port (None if the URL has none) of a request."""
    if isinstance(request, LazyRequest):
        found = _ORIGIN.match(request.text)
        assert found is not None
        return found[1], found[2].strip("[]"), int(found[3]) if found[3] else None
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


def _host_and_path(text: str) -> tuple[int, int]:
    """Return the indices at which host and path of a normalised URL begin."""
    begin = text.index("://") + 3
    return begin, text.index("/", begin)


def _encoded(name: str, value: str) -> bytes:
    if re.search(r"[\r\n\0]", name + value):
        raise ValueError(f"the header {name!r} contains a line end")
    return value.encode("utf-8", "surrogateescape")


async def request_head(request: httpx.Request) -> bytes:
    """Return the bytes of a request: its head, and its body if it has one."""
    if not isinstance(request, LazyRequest):
        target = request.url.raw_path
        lines = b"".join(b"%b: %b\r\n" % pair for pair in request.headers.raw)
        start = b"%b %b HTTP/1.1\r\n" % (request.method.encode(), target)
        return start + lines + b"\r\n" + await request.aread()
    text, fields = request.text, request.fields
    begin, slash = _host_and_path(text)
    target_text = text[slash:].partition("#")[0]
    host = "" if fields.has_host else f"Host: {text[begin:slash]}\r\n"
    length = "Content-Length: 0\r\n" if request.method in _SENDS_LENGTH else ""
    start_line = f"{request.method} {target_text} HTTP/1.1\r\n{host}{length}"
    return start_line.encode("ascii") + fields.lines + b"\r\n"
