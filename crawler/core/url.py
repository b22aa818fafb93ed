"""Text to a normalised http or https URL, or a `ValueError` that names the rule it breaks.

Follows the WHATWG URL standard, as browsers do: its percent-encode sets, "%2e" as a dot and
a backslash in a path as a slash. The URL that is shown is, byte for byte, the one requested.
"""

import re
from urllib.parse import quote, unquote

from crawler.core import hostname

MAX_LENGTH = 16_384

# A URL in this form needs no normalisation: it is what the long way would return.
# Possessive quantifiers: a hostile line cannot make the match backtrack.
_NORMAL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9_-]++(?:\.[a-z0-9_-]++)*+)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?:/(?!\.|%2[eE])[A-Za-z0-9_.~!$&'()*+,;=:@%-]*+)++"
    r"(?:\?[A-Za-z0-9_.~!$&()*+,;=:@/?%-]*+)?+"
)
_END = re.compile(r"[/?#]")
_DEFAULT_PORT = {"http": 80, "https": 443}
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]")
# The same for a Location, whose bytes above 0x7f (as lone surrogates) can be encoded.
_CONTROL = re.compile(r"[\x00-\x20\x7f\ud800-\udc7f\udd00-\udfff]")
_TWO_SLASHES = re.compile(r"(?:https?:)?(?!//)[/\\]{2}", re.IGNORECASE)
_PARTS = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_AUTHORITY = re.compile(r"(?:(?P<userinfo>.*)@)?(?P<host>\[[^\[\]]*\]|[^:@\[\]]*)(?P<port>:.*)?")
_DOT = re.compile("%2e", re.IGNORECASE)

_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


def _all_but(encoded: str) -> str:
    return "".join(char for char in _PRINTABLE if char not in encoded)


# What stays as it is in each part; "%" does everywhere, whatever follows it.
_IN_FRAGMENT = _all_but('"<>`')
_IN_QUERY = _all_but("\"#<>'")
_IN_PATH = _all_but('"#<>?^`{}')
_IN_USERINFO = _all_but('"#<>?^`{}/:;=@[\\]|')


def parse(text: str) -> tuple[str, str]:
    """Return the normalised URL and its host: lower case, no brackets, no trailing dot.

    Raises ValueError with the broken rule, worded to follow the URL in a sentence.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH:,} characters")
    if normal := _NORMAL.fullmatch(text):
        scheme, host, port = normal["scheme"], normal["host"], normal["port"]
        if hostname.is_normal(host) and (port is None or _is_plain_port(int(port), scheme)):
            return text, host
    return _normalise(text)


def join(base: str, location: str) -> tuple[str, str]:
    """Return the URL that `location` means on a page at `base`, and its host (RFC 3986, 5.2).

    Bytes of `location` that are not ASCII may come as lone surrogates (PEP 383); in a path,
    a query or a fragment they are percent-encoded as they came, in a host they are UTF-8.
    The fragment of `base` goes on where `location` has none (RFC 9110, section 10.2.2).
    Userinfo in `location` is dropped, a space in it is taken for "%20", as browsers do.
    Raises ValueError as `parse` does.
    """
    location = location.strip(" \t").replace(" ", "%20")
    if len(location) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH:,} characters")
    if found := _CONTROL.search(location):
        raise ValueError(f"holds {_name(found[0])}")
    if _TWO_SLASHES.match(location):
        # Browsers take what follows for a host, others for a path: two different servers.
        raise ValueError("has a backslash before its host")
    scheme, authority, path, query, fragment = _parts(location)
    path = path.replace("\\", "/")
    on_scheme, on_authority, on_path, on_query, on_fragment = _parts(base)
    if scheme:
        pass
    elif authority is not None:
        scheme = on_scheme
    else:
        scheme, authority = on_scheme, on_authority
        if not path:
            path, query = on_path, on_query if query is None else query
        elif not path.startswith("/"):
            path = f"{on_path.rpartition('/')[0]}/{path}"
    fragment = on_fragment if fragment is None else fragment
    if authority is not None and not authority.isascii():
        authority = _utf8(authority)
    url, host = _joined(scheme, authority, path, query, fragment)
    return without_userinfo(url)[0], host


def without_userinfo(url: str) -> tuple[str, str | None]:
    """Split a normalised URL into the URL without credentials, and "user:password" or None.

    A user without a password has an empty one (RFC 7617, section 2). Bytes that are not
    UTF-8 come as lone surrogates (PEP 383).
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


def _is_plain_port(port: int, scheme: str) -> bool:
    return port < 65536 and port != _DEFAULT_PORT[scheme]


def _normalise(text: str) -> tuple[str, str]:
    """Go the long way. No complaint repeats a part of the text: it may be part of a password."""
    if found := _UNPRINTABLE.search(text):
        raise ValueError(f"holds {_name(found[0])}")
    return _joined(*_parts(text))


def _joined(
    scheme: str | None,
    authority: str | None,
    path: str,
    query: str | None,
    fragment: str | None,
) -> tuple[str, str]:
    """Return the normalised URL of these parts, and its host (RFC 3986, section 5.3)."""
    if scheme is None or authority is None or scheme.lower() not in _DEFAULT_PORT:
        raise ValueError("is not an http:// or https:// URL")
    if "\\" in authority:
        raise ValueError("has a backslash in its host")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise ValueError("has a malformed host")
    shown, host = hostname.parse(parts["host"])
    port = _port(parts["port"] or "")
    scheme = scheme.lower()
    url = f"{scheme}://{_userinfo(parts['userinfo'])}{shown}"
    if port not in (None, _DEFAULT_PORT[scheme]):
        url += f":{port}"
    url += _encoded(_without_dot_segments(path.replace("\\", "/")), _IN_PATH)
    if query is not None:
        url += f"?{_encoded(query, _IN_QUERY)}"
    if fragment is not None:
        url += f"#{_encoded(fragment, _IN_FRAGMENT)}"
    if len(url) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH:,} characters once encoded")
    return url, host


def _encoded(text: str, kept: str) -> str:
    """Percent-encode all but ASCII and `kept`: UTF-8, and other bytes as they came."""
    return quote(text, safe=kept, errors="surrogateescape")


def _userinfo(text: str | None) -> str:
    """Return the userinfo as it stands in a URL, with its "@"; nothing where there is none."""
    if not text:
        return ""
    user, colon, password = text.partition(":")
    return f"{_encoded(user, _IN_USERINFO)}{colon}{_encoded(password, _IN_USERINFO)}@"


def _utf8(authority: str) -> str:
    """Read an authority whose bytes may come as lone surrogates (PEP 383)."""
    try:
        return authority.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError as exc:
        raise ValueError("has a host that is not UTF-8") from exc


def _parts(text: str) -> tuple[str | None, str | None, str, str | None, str | None]:
    """Split into scheme, authority, path, query and fragment (RFC 3986, appendix B)."""
    match = _PARTS.fullmatch(text)
    assert match is not None  # it matches anything
    return match["scheme"], match["authority"], match["path"], match["query"], match["fragment"]


def _without_dot_segments(path: str) -> str:
    """Return an absolute path without "." and ".." (RFC 3986, section 5.2.4); never empty.

    A dot may be written as "%2e" there.
    """
    kept: list[str] = []
    segments = path.split("/")[1:]
    dots = [
        _DOT.sub(".", segment) if segment[:1] in (".", "%") and len(segment) <= 6 else ""
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


def _name(char: str) -> str:
    if char in " \t\xa0\u2028\u2029":
        return "white space"
    if "\udc80" <= char <= "\udcff":
        return f"a byte that is not UTF-8 (0x{ord(char) - 0xDC00:02x})"
    return f"a control character (U+{ord(char):04X})"
