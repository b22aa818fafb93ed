"""Text of a URL's host -> its normal form: a name in ASCII, or an IPv4 or IPv6 address.

IPv4 addresses in any form but four decimal numbers ("127.1", "0x7f000001") are refused,
because programs disagree on their meaning.
"""

import ipaddress
import re
from urllib.parse import unquote

_OCTET = re.compile(r"25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9]")
_LABEL = r"[a-z0-9_-]{1,63}"
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # as a last label it makes the host an IPv4 address


def parse(text: str) -> tuple[str, str]:
    """Return the host as written in a URL, and as a key without brackets and trailing dot.

    Raises ValueError with the broken rule, which never quotes the text.
    """
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
    too_long = len(name.removesuffix(".")) > 253
    if too_long or not all(re.fullmatch(_LABEL, label) for label in labels):
        raise ValueError("has a malformed host")
    if any(label.startswith("xn--") for label in labels):
        _check_encoded(labels)
    if _NUMBER.fullmatch(labels[-1]) and not (
        len(labels) == 4 and all(map(_OCTET.fullmatch, labels))
    ):
        raise ValueError("has a malformed IPv4 address")
    return name, ".".join(labels)


def is_normal(host: str) -> bool:
    """Whether `host` is a name or an IPv4 address that `parse` would return unchanged."""
    if "xn--" in host:
        return False
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return len(labels) == 4 and all(map(_OCTET.fullmatch, labels))
    return len(host) < 64 or (len(host) <= 253 and max(map(len, labels)) < 64)


def _ipv6(text: str) -> tuple[str, str]:
    try:
        address = ipaddress.IPv6Address(text[1:-1])
    except ValueError as exc:
        raise ValueError("has a malformed IPv6 address") from exc
    if address.scope_id is not None:
        raise ValueError("has an IPv6 zone identifier, which is not supported")
    return f"[{address.compressed}]", address.compressed


def _to_ascii(name: str) -> str:
    """Encode an international name (IDNA 2008, RFC 5891; mapped by UTS 46)."""
    import idna

    if len(name) > 1_000:  # longer than any name, and slow to map
        raise ValueError("has a malformed host")
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as exc:
        raise ValueError("has a host that is not a valid international name") from exc


def _check_encoded(labels: list[str]) -> None:
    """Raise ValueError for an invalid "xn--" label (RFC 5891, section 5.4)."""
    import idna

    try:
        for label in labels:
            idna.ulabel(label)
    except (idna.IDNAError, UnicodeError) as exc:
        raise ValueError("has a host that is not a valid international name") from exc
