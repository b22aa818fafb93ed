"""Text to a normalised http or https URL, or a `ValueError` that names the rule it breaks.

Follows RFC 3986 with the percent-encode sets of the WHATWG URL standard, as httpx
does, so that the URL that is shown is, byte for byte, the URL that is asked.
"""

import ipaddress
import re
from urllib.parse import unquote

MAX_LENGTH = 16_384

# A URL in this form needs no normalisation: it is what the long way would return.
# Possessive quantifiers: a hostile line cannot make the match backtrack.
_NORMAL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9_-]++(?:\.[a-z0-9_-]++)*+)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?:/(?!\.)(?:[A-Za-z0-9_.~!$&'()*+,;=:@-]++|%[0-9A-Fa-f]{2})*+)++"
    r"(?:\?(?:[A-Za-z0-9_.~!$&()*+,;=:@/?-]++|%[0-9A-Fa-f]{2})*+)?+"
)
_OCTET = re.compile(r"25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9]")
_END = re.compile(r"[/?#]")
_DEFAULT_PORT = {"http": 80, "https": 443}
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff]")
_PARTS = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_AUTHORITY = re.compile(r"(?:(?P<userinfo>.*)@)?(?P<host>\[[^\[\]]*\]|[^:@\[\]]*)(?P<port>:.*)?")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def parse(text: str) -> tuple[str, str]:
    """Return the normalised URL and its host: lower case, no brackets, no trailing dot.

    Raises ValueError with the broken rule, worded to follow the URL in a sentence.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH:,} characters")
    if normal := _NORMAL.fullmatch(text):
        scheme, host, port = normal["scheme"], normal["host"], normal["port"]
        if _is_plain_host(host) and (port is None or _is_plain_port(int(port), scheme)):
            return text, host
    return _normalise(text)


def resolve(base: str, location: str) -> tuple[str, str]:
    """Return the URL that `location` means on a page at `base`, and its host (RFC 3986, 5.2).

    The fragment of `base` goes on where `location` has none (RFC 9110, section 10.2.2).
    Userinfo in `location` is dropped, a space in it is taken for "%20", as browsers do.
    Raises ValueError as `parse` does.
    """
    location = location.strip(" \t").replace(" ", "%20")
    if len(location) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH:,} characters")
    scheme, authority, path, query, fragment = _parts(location)
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
    url, host = parse(_unparted(scheme, authority, path, query, fragment))
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


def _is_plain_host(host: str) -> bool:
    """Whether `host` is a name or an IPv4 address that the long way would leave as it is."""
    if "xn--" in host:
        return False
    labels = host.split(".")
    if labels[-1].isdigit():
        return len(labels) == 4 and all(map(_OCTET.fullmatch, labels))
    return len(host) < 64 or (len(host) <= 253 and max(map(len, labels)) < 64)


def _is_plain_port(port: int, scheme: str) -> bool:
    return port < 65536 and port != _DEFAULT_PORT[scheme]


def _normalise(text: str) -> tuple[str, str]:
    """Go the long way. No complaint repeats a part of the text: it may be part of a password."""
    import httpx  # costs 80 ms: only for URLs that are not in normal form

    if found := _UNPRINTABLE.search(text):
        raise ValueError(f"holds {_name(found[0])}")
    scheme, authority, path, query, fragment = _parts(text)
    if scheme is None or authority is None or scheme.lower() not in _DEFAULT_PORT:
        raise ValueError("is not an http:// or https:// URL")
    if "\\" in authority:
        raise ValueError("has a backslash in its host")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise ValueError("has a malformed host")
    shown, host = _host(parts["host"])
    port = _port(parts["port"] or "")
    scheme = scheme.lower()
    userinfo = f"{parts['userinfo']}@" if parts["userinfo"] else ""
    place = f"{userinfo}{shown}{'' if port in (None, _DEFAULT_PORT[scheme]) else f':{port}'}"
    path = _without_dot_segments(_PERCENT.sub("%25", path))
    clean = _unparted(scheme, place, path, query and _PERCENT.sub("%25", query), fragment)
    try:
        url = str(httpx.URL(clean))
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise ValueError("is not a valid URL") from exc
    if len(url) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH:,} characters once encoded")
    return url, host


def _parts(text: str) -> tuple[str | None, str | None, str, str | None, str | None]:
    """Split into scheme, authority, path, query and fragment (RFC 3986, appendix B)."""
    match = _PARTS.fullmatch(text)
    assert match is not None  # it matches anything
    return match["scheme"], match["authority"], match["path"], match["query"], match["fragment"]


def _unparted(
    scheme: str | None,
    authority: str | None,
    path: str,
    query: str | None,
    fragment: str | None,
) -> str:
    """Put the parts together again (RFC 3986, section 5.3)."""
    before = f"{scheme}:" if scheme else ""
    before += "" if authority is None else f"//{authority}"
    after = "" if query is None else f"?{query}"
    return f"{before}{path}{after}" + ("" if fragment is None else f"#{fragment}")


def _without_dot_segments(path: str) -> str:
    """Return an absolute path without "." and ".." (RFC 3986, section 5.2.4); never empty."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
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


def _host(text: str) -> tuple[str, str]:
    """Return the host as it stands in a URL, and as a key without brackets and dot."""
    if not text:
        raise ValueError("has no host")
    if text.startswith("["):
        return _ipv6(text)
    try:
        name = unquote(text, errors="strict")
    except UnicodeDecodeError as exc:
        raise ValueError("has a malformed host") from exc
    name = (name if name.isascii() else _to_ascii(name)).lower()
    labels = name.removesuffix(".").split(".")
    if len(name.removesuffix(".")) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("has a malformed host")
    if any(label.startswith("xn--") for label in labels):
        _check_encoded(labels)
    if labels[-1].isdigit() and not (len(labels) == 4 and all(map(_OCTET.fullmatch, labels))):
        raise ValueError("has a malformed IPv4 address")
    return name, ".".join(labels)


def _ipv6(text: str) -> tuple[str, str]:
    try:
        address = ipaddress.IPv6Address(text[1:-1])
    except ValueError as exc:
        raise ValueError("has a malformed IPv6 address") from exc
    if address.scope_id is not None:
        raise ValueError("has an IPv6 zone, which cannot be asked")
    return f"[{address.compressed}]", address.compressed


def _to_ascii(name: str) -> str:
    """Encode an international name (IDNA 2008, RFC 5891; mapped as UTS 46 says)."""
    import idna

    if len(name) > 1_000:  # no name is, and the mapping of long ones is slow
        raise ValueError("has a malformed host")
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as exc:
        raise ValueError("has a host that is not a valid international name") from exc


def _check_encoded(labels: list[str]) -> None:
    """Refuse an "xn--" label that stands for no name (RFC 5891, section 5.4)."""
    import idna

    try:
        for label in labels:
            idna.ulabel(label)
    except (idna.IDNAError, UnicodeError) as exc:
        raise ValueError("has a host that is not a valid international name") from exc


def _name(char: str) -> str:
    if char in " \t\xa0\u2028\u2029":
        return "white space"
    if "\udc80" <= char <= "\udcff":
        return f"a byte that is not UTF-8 (0x{ord(char) - 0xDC00:02x})"
    return f"a control character (U+{ord(char):04X})"
