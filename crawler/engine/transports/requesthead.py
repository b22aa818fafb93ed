"""A URL and header fields -> the bytes of a request's head, and the origin it goes to."""

import re
from collections.abc import Sequence
from functools import lru_cache

Origin = tuple[str, str, int | None]

_ORIGIN = re.compile(r"(https?)://(\[[^\]]*\]|[^:/?#]*)(?::(\d+))?")
_SENDS_LENGTH = frozenset({"POST", "PUT", "PATCH"})
_SHORTEST = len("http://a")  # no path begins before that


class Fields:
    """The header fields that go with every request of a run, encoded once.

    Values are sent as UTF-8; bytes that were not UTF-8 are sent unchanged (PEP 383).
    Raises ValueError if a name is not ASCII, or if a name or value contains a line end.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.raw = [(name.encode("ascii"), _encoded(name, value)) for name, value in pairs]
        self.names = {name.lower() for name, _ in pairs}
        self.has_host = "host" in self.names
        self.end = b"".join(b"%b: %b\r\n" % pair for pair in self.raw) + b"\r\n"
        self.pairs = list(pairs)

    def and_also(self, name: str, value: str) -> "Fields":
        return Fields([*self.pairs, (name, value)])


def split(url: str) -> tuple[str, str]:
    """Split a normalised URL without userinfo: scheme, host and port; path and query."""
    slash = url.index("/", _SHORTEST)
    path = url[slash:]
    return url[:slash], path if "#" not in path else path.partition("#")[0]


@lru_cache(maxsize=1_000)
def origin_of_site(site: str) -> Origin:
    """Return scheme, host without brackets, and port (None if there is none)."""
    found = _ORIGIN.match(site)
    assert found is not None
    scheme, host, port = found.groups()
    return scheme, host.strip("[]"), int(port) if port else None


def head_of(method: str, url: str, fields: Fields) -> bytes:
    """Return the bytes of a request without a body for a normalised URL without userinfo."""
    return head_of_parts(method, *split(url), fields)


def head_of_parts(method: str, site: str, path: str, fields: Fields) -> bytes:
    """Return the bytes of a request without a body, for a URL that was split."""
    host = "" if fields.has_host else f"Host: {site[site.index('//') + 2 :]}\r\n"
    length = "Content-Length: 0\r\n" if method in _SENDS_LENGTH else ""
    return f"{method} {path} HTTP/1.1\r\n{host}{length}".encode("ascii") + fields.end


def _encoded(name: str, value: str) -> bytes:
    if re.search(r"[\r\n\0]", name + value):
        raise ValueError(f"the header {name!r} contains a line end")
    return value.encode("utf-8", "surrogateescape")
