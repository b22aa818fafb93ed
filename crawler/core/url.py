"""Text -> a normalised http or https URL, or a `ValueError` with the rule it breaks.

Follows the WHATWG URL standard, as browsers do: its percent-encode sets, "%2e" as a dot, and
a backslash in a path as a slash. The URL in a record is, byte for byte, the one requested.
"""

import re
from functools import lru_cache
from urllib.parse import quote, unquote

from crawler.core import hostname

MAX_LENGTH = 16_384

# Most URLs are normalised already, and this matches them at a fraction of the cost of
# `_normalise`. Possessive quantifiers: a hostile line cannot cause backtracking.
_NORMAL = re.compile(
    r"(https?)://"
    r"([a-z0-9_-]++(?:\.[a-z0-9_-]++)*+)"
    r"(?::([1-9][0-9]{0,4}))?"
    r"(?:/(?!\.|%2[eE])[A-Za-z0-9_.~!$&'()*+,;=:@%-]*+)++"
    r"(?:\?[A-Za-z0-9_.~!$&()*+,;=:@/?%-]*+)?+"
)
_END = re.compile(r"[/?#]")
_DEFAULT_PORT = {"http": 80, "https": 443}
# The patterns below are for other URLs, and compiled with the first of them: at every start
# that took longer than checking a URL.
_UNPRINTABLE = r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]"
# For a Location, whose bytes above 0x7f (lone surrogates) can be percent-encoded.
_CONTROL = r"[\x00-\x20\x7f\ud800-\udc7f\udd00-\udfff]"
_TWO_SLASHES = r"(?i:https?:)?(?!//)[/\\]{2}"
_COMPONENTS = (
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>(?s:.*)))?"
)
_AUTHORITY = r"(?:(?P<userinfo>.*)@)?(?P<host>\[[^\[\]]*\]|[^:@\[\]]*)(?P<port>:.*)?"
_DOT = "%2[eE]"

_PRINTABLE = bytes(range(0x21, 0x7F)).decode("ascii")


def _printable_but(encoded: str) -> str:
    return _PRINTABLE.translate(dict.fromkeys(map(ord, encoded)))


# Characters not to encode in each component; "%" is one everywhere, whatever follows it.
_KEPT_IN_FRAGMENT = _printable_but('"<>`')
_KEPT_IN_QUERY = _printable_but("\"#<>'")
_KEPT_IN_PATH = _printable_but('"#<>?^`{}')
_KEPT_IN_USERINFO = _printable_but('"#<>?^`{}/:;=@[\\]|')


def parse(text: str) -> tuple[str, str]:
    """Return the normalised URL and its host: lower case, no brackets, no trailing dot.

    Raises ValueError with the broken rule, worded as the predicate of a sentence about the URL.
    """
    if (host := normal_host(text)) is not None:
        return text, host
    if len(text) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH:,} characters")
    return _normalise(text)


def normal_host(text: str) -> str | None:
    """Return the host of a URL that is normalised already; None for any other text."""
    normal = _NORMAL.fullmatch(text)
    if normal is None or len(text) > MAX_LENGTH:
        return None
    scheme, host, port = normal.groups()
    return host if _is_normal_origin(scheme, host, port) else None


def join(base: str, location: str) -> tuple[str, str]:
    """Return the URL of a `location` relative to `base`, and its host (RFC 3986, section 5.2).

    Lone surrogates in `location` stand for bytes that are not ASCII (PEP 383): in a path,
    query or fragment they are percent-encoded, in a host they must be UTF-8. A `location`
    without a fragment inherits that of `base` (RFC 9110, section 10.2.2). Userinfo in
    `location` is dropped, and a space is read as "%20", as in browsers.
    Raises ValueError as `parse` does.
    """
    location = location.strip(" \t").replace(" ", "%20")
    # Most Locations are normalised absolute URLs, and this reads them at a tenth of the cost.
    if "#" not in base and (normal := normal_host(location)) is not None:
        return location, normal
    if len(location) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH:,} characters")
    if found := re.search(_CONTROL, location):
        raise ValueError(f"contains {_describe(found[0])}")
    if re.match(_TWO_SLASHES, location):
        # Browsers read the rest as a host, others as a path: that is two different servers.
        raise ValueError("has a backslash before its host")
    scheme, authority, path, query, fragment = _split(location)
    path = path.replace("\\", "/")
    base_scheme, base_authority, base_path, base_query, base_fragment = _split(base)
    if scheme:
        pass
    elif authority is not None:
        scheme = base_scheme
    else:
        scheme, authority = base_scheme, base_authority
        if not path:
            path, query = base_path, base_query if query is None else query
        elif not path.startswith("/"):
            path = f"{base_path.rpartition('/')[0]}/{path}"
    fragment = base_fragment if fragment is None else fragment
    if authority is not None and not authority.isascii():
        authority = _decode_utf8(authority)
    url, host = _compose(scheme, authority, path, query, fragment)
    return without_userinfo(url)[0], host


def without_userinfo(url: str) -> tuple[str, str | None]:
    """Split a normalised URL into the URL without userinfo, and "user:password" or None.

    A missing password is empty (RFC 7617, section 2). Bytes that are not UTF-8 become lone
    surrogates (PEP 383).
    """
    scheme, _, rest = url.partition("://")
    authority = _END.split(rest, maxsplit=1)[0]
    userinfo, at, host = authority.rpartition("@")
    if not at:
        return url, None
    credentials = unquote(userinfo, errors="surrogateescape")
    if ":" not in userinfo:
        credentials += ":"
    return f"{scheme}://{host}{rest[len(authority) :]}", credentials


def origin(url: str) -> str:
    """Return scheme, host and port of a normalised URL without userinfo (RFC 6454)."""
    end = _END.search(url, url.index("://") + 3)
    return url[: end.start()] if end else url


@lru_cache(maxsize=64)  # most lists name a host many times in a row, or few hosts in turn
def _is_normal_origin(scheme: str, host: str, port: str | None) -> bool:
    if port is not None and (int(port) > 65535 or int(port) == _DEFAULT_PORT[scheme]):
        return False
    return hostname.is_normal(host)


def _normalise(text: str) -> tuple[str, str]:
    """Slow path of `parse`. Errors never quote the text, which may contain a password."""
    if found := re.search(_UNPRINTABLE, text):
        raise ValueError(f"contains {_describe(found[0])}")
    return _compose(*_split(text))


def _compose(
    scheme: str | None,
    authority: str | None,
    path: str,
    query: str | None,
    fragment: str | None,
) -> tuple[str, str]:
    """Recompose a normalised URL from its components (RFC 3986, section 5.3), with its host."""
    if scheme is None or authority is None or scheme.lower() not in _DEFAULT_PORT:
        raise ValueError("is not an http:// or https:// URL")
    if "\\" in authority:
        raise ValueError("has a backslash in its host")
    parts = re.fullmatch(_AUTHORITY, authority)
    if parts is None:
        raise ValueError("has a malformed host")
    shown, host = hostname.parse(parts["host"])
    port = _port(parts["port"] or "")
    scheme = scheme.lower()
    url = f"{scheme}://{_userinfo(parts['userinfo'])}{shown}"
    if port not in (None, _DEFAULT_PORT[scheme]):
        url += f":{port}"
    url += _encode(_without_dot_segments(path.replace("\\", "/")), _KEPT_IN_PATH)
    if query is not None:
        url += f"?{_encode(query, _KEPT_IN_QUERY)}"
    if fragment is not None:
        url += f"#{_encode(fragment, _KEPT_IN_FRAGMENT)}"
    if len(url) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH:,} characters once encoded")
    return url, host


def _encode(text: str, kept: str) -> str:
    """Percent-encode all characters but `kept`, as UTF-8; lone surrogates as their bytes."""
    return quote(text, safe=kept, errors="surrogateescape")


def _userinfo(text: str | None) -> str:
    """Return the userinfo, encoded, with its "@"; empty if there is none."""
    if not text:
        return ""
    user, colon, password = text.partition(":")
    return f"{_encode(user, _KEPT_IN_USERINFO)}{colon}{_encode(password, _KEPT_IN_USERINFO)}@"


def _decode_utf8(authority: str) -> str:
    """Decode an authority in which lone surrogates stand for bytes (PEP 383)."""
    try:
        return authority.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError as exc:
        raise ValueError("has a host that is not UTF-8") from exc


def _split(text: str) -> tuple[str | None, str | None, str, str | None, str | None]:
    """Split into scheme, authority, path, query and fragment (RFC 3986, appendix B)."""
    match = re.fullmatch(_COMPONENTS, text)
    assert match is not None  # it matches anything
    return match["scheme"], match["authority"], match["path"], match["query"], match["fragment"]


def _without_dot_segments(path: str) -> str:
    """Return an absolute path without "." and ".." (RFC 3986, section 5.2.4); never empty.

    In these segments "%2e" counts as a dot.
    """
    kept: list[str] = []
    segments = path.split("/")[1:]
    dots = [
        re.sub(_DOT, ".", segment) if segment[:1] in (".", "%") and len(segment) <= 6 else ""
        for segment in segments
    ]
    for segment, dot in zip(segments, dots, strict=True):
        if dot == "..":
            del kept[-1:]
        elif dot != ".":
            kept.append(segment)
    if dots and dots[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _port(text: str) -> int | None:
    if text in ("", ":"):
        return None
    digits = text[1:]
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError("has a port that is not a number")
    digits = digits.lstrip("0")
    if not digits or len(digits) > 5 or int(digits) > 65535:
        raise ValueError("has a port outside 1-65535")
    return int(digits)


def _describe(char: str) -> str:
    if char in " \t\xa0\u2028\u2029":
        return "white space"
    if "\udc80" <= char <= "\udcff":
        return f"a byte that is not UTF-8 (0x{ord(char) - 0xDC00:02x})"
    return f"a control character (U+{ord(char):04X})"
