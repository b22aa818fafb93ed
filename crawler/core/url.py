"""Text to a normalised http or https URL, or a `ValueError` that names the rule it breaks.

Follows RFC 3986 with the percent-encode sets of the WHATWG URL standard, as httpx
does, so that the URL that is shown is, byte for byte, the URL that is asked.
"""

import ipaddress
import re
from urllib.parse import unquote, urljoin, urlsplit

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
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
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
    if found := _UNPRINTABLE.search(location):
        raise ValueError(f"holds {_name(found[0])}")
    joined = urljoin(base, location)
    parts = urlsplit(joined)
    if not parts.fragment and (fragment := urlsplit(base).fragment):
        parts = parts._replace(fragment=fragment)
    parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return parse(parts.geturl())


def without_userinfo(url: str) -> tuple[str, str | None]:
    """Split a normalised URL into the URL without credentials, and "user:password" or None."""
    scheme, _, rest = url.partition("://")
    authority = _END.split(rest, maxsplit=1)[0]
    userinfo, at, host = authority.rpartition("@")
    if not at:
        return url, None
    return f"{scheme}://{host}{rest[len(authority) :]}", unquote(userinfo)


def origin(url: str) -> str:
    """Return scheme, host and port of a normalised URL without userinfo (RFC 6454)."""
    end = _END.search(url, url.index("://") + 3)
    return url[: end.start()] if end else url


def _is_plain_host(host: str) -> bool:
    """Whether `host` is a name or an IPv4 address that the long way would leave as it is."""
    labels = host.split(".")
    if labels[-1].isdigit():
        return len(labels) == 4 and all(map(_OCTET.fullmatch, labels))
    return len(host) < 64 or (len(host) <= 253 and max(map(len, labels)) < 64)


def _is_plain_port(port: int, scheme: str) -> bool:
    return port < 65536 and port != _DEFAULT_PORT[scheme]


def _normalise(text: str) -> tuple[str, str]:
    import httpx  # costs 80 ms: only for URLs that are not in normal form

    if found := _UNPRINTABLE.search(text):
        raise ValueError(f"holds {_name(found[0])}")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in _DEFAULT_PORT:
        raise ValueError("is not an http:// or https:// URL")
    if "\\" in (authority := _END.split(rest, maxsplit=1)[0]):
        raise ValueError("has a backslash in its host")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise ValueError(f"has a malformed host: {authority.rpartition('@')[2]!r}")
    shown, host = _host(parts["host"])
    port = _port(parts["port"] or "")
    if port == _DEFAULT_PORT[scheme.lower()]:
        port = None
    userinfo = f"{parts['userinfo']}@" if parts["userinfo"] else ""
    clean = f"{scheme.lower()}://{userinfo}{shown}{'' if port is None else f':{port}'}"
    tail = _PERCENT.sub("%25", rest[len(authority) :])
    try:
        url = str(httpx.URL(clean + tail))
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise ValueError(f"is not a valid URL: {exc}") from exc
    start = len(origin(url))
    if not url.startswith("/", start):
        url = f"{url[:start]}/{url[start:]}"  # RFC 3986, section 6.2.3
    if len(url) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH:,} characters once encoded")
    return url, host


def _port(text: str) -> int | None:
    if text in ("", ":"):
        return None
    digits = text[1:]
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"has a port that is not a number: {digits!r}")
    if len(digits.lstrip("0")) > 5 or not 1 <= int(digits) <= 65535:
        raise ValueError(f"has a port outside 1-65535: {digits[:20]!r}")
    return int(digits)


def _host(text: str) -> tuple[str, str]:
    """Return the host as it stands in a URL, and as a key without brackets and dot."""
    if not text:
        raise ValueError("has no host")
    if text.startswith("["):
        try:
            address = ipaddress.IPv6Address(text[1:-1])
        except ValueError:
            raise ValueError(f"has a malformed IPv6 address: {text!r}") from None
        if address.scope_id is not None:
            raise ValueError(f"has an IPv6 zone, which cannot be asked: {text!r}")
        return f"[{address.compressed}]", address.compressed
    name = unquote(text, errors="strict") if "%" in text else text
    if not name.isascii():
        name = _to_ascii(name)
    name = name.lower()
    labels = name.removesuffix(".").split(".")
    if len(name.removesuffix(".")) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"has a malformed host: {text[:80]!r}")
    if labels[-1].isdigit():
        try:
            ipaddress.IPv4Address(".".join(labels))
        except ValueError:
            raise ValueError(f"has a malformed IPv4 address: {text[:80]!r}") from None
    return name, ".".join(labels)


def _to_ascii(name: str) -> str:
    """Encode an international name (IDNA 2008, RFC 5891; mapped as UTS 46 says)."""
    import idna

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as exc:
        raise ValueError(f"has a host that is not a valid international name: {exc}") from exc


def _name(char: str) -> str:
    if char in " \t\xa0\u2028\u2029":
        return "white space"
    if "\udc80" <= char <= "\udcff":
        return f"a byte that is not UTF-8 (0x{ord(char) - 0xDC00:02x})"
    return f"a control character (U+{ord(char):04X})"
