"""Text of an option -> its value, or a ValueError with the rule that it breaks."""

import importlib.util
import re
from collections.abc import Callable

from crawler.core import url
from crawler.core.display import escape, parameter_key
from crawler.core.semantics import is_token
from crawler.core.summary import Tolerance
from crawler.engine.transports.settings import Engine
from crawler.report import formats

_NOT_IN_VALUE = r"[\x00-\x08\x0a-\x1f\x7f]"  # RFC 9110, section 5.5
_PROXY = r"((?i:https?|socks5h?))://([^/?#\s]+)/?"
_PERCENTAGE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%", re.ASCII)
_MAX_COUNT = 10_000_000
ENGINE_NAMES = "{}, {} or {}".format(*Engine)
Header = tuple[str, str]


def count(least: int) -> Callable[[str], int]:
    """Return the conversion to a whole number from `least` to ten million."""

    def convert(text: str) -> int:
        short = text.isascii() and text.isdigit() and len(text) < 9
        if short and least <= int(text) <= _MAX_COUNT:
            return int(text)
        raise ValueError(f"is not a whole number from {least} to {_MAX_COUNT:,}")

    return convert


def seconds(text: str) -> float:
    if re.fullmatch(r"[0-9]{1,12}\.?[0-9]{0,12}|\.[0-9]{1,12}", text) and 0 < float(text) <= 1e8:
        return float(text)
    raise ValueError("is not a number of seconds above 0")


def pause(text: str) -> float:
    """Return seconds, which may be 0."""
    if re.fullmatch(r"0+\.?0*|\.0+", text):
        return 0.0
    try:
        return seconds(text)
    except ValueError as exc:
        raise ValueError("is not a number of seconds from 0") from exc


def rate(text: str) -> float:
    """Return requests per second."""
    if re.fullmatch(r"[0-9]{1,7}\.?[0-9]{0,6}|\.[0-9]{1,6}", text) and float(text) >= 0.0001:
        return float(text)
    raise ValueError("is not a number of requests per second, such as 5 or 0.5")


def share(text: str) -> float:
    """Return a percentage such as 2% as a share, 0 to 1."""
    match = _PERCENTAGE.fullmatch(text)
    if match is None or float(match[1]) > 100:
        raise ValueError("is not a percentage such as 2%")
    return float(match[1]) / 100


def tolerance(text: str) -> Tolerance:
    """Return what a number of URLs, or a percentage of them, stands for."""
    if text.endswith("%"):
        return Tolerance(share=share(text))
    try:
        return Tolerance(count=count(0)(text))
    except ValueError as exc:
        raise ValueError("is neither a whole number nor a percentage such as 5%") from exc


def engine(text: str) -> Engine:
    """Return the engine of that name; `stock` is an earlier name of `httpx`."""
    try:
        return Engine.HTTPX if text == "stock" else Engine(text)
    except ValueError as exc:
        raise ValueError(f"is not {ENGINE_NAMES}") from exc


def output(path: str) -> str:
    formats.from_path(path)
    return path


def file(path: str) -> str:
    if path in ("", "-"):
        raise ValueError("is not a file name")
    return path


def pem(path: str) -> str:
    """Return the path of a file that contains certificates."""
    try:
        with open(path, "rb") as file:
            if b"-----BEGIN " in file.read():
                return path
    except OSError as exc:
        raise ValueError(f"cannot be read: {exc.strerror}") from exc
    raise ValueError("contains no certificate in PEM format")


def authorities(path: str) -> str:
    """Return the path of a PEM file from which OpenSSL can load certificates."""
    import ssl  # slow to import, and rarely needed here

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(pem(path))
    except ssl.SSLError as exc:
        raise ValueError("contains no usable certificate") from exc
    return path


def proxy(text: str) -> str:
    """Return a proxy URL; one without a scheme is an HTTP proxy."""
    address = text if "://" in text else f"http://{text}"
    parts = re.fullmatch(_PROXY, address)
    try:
        url.parse(f"http://{parts[2] if parts else ''}/")
    except ValueError as exc:
        raise ValueError("is not a proxy URL such as http://host:3128") from exc
    if address.lower().startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise ValueError("needs SOCKS support: pip install 'crawler[socks]'")
    return address


def parameter(text: str) -> str:
    """Return the name of a query parameter in the form in which names are compared."""
    if not text or re.search(r"[\s=&#?;]", text) or not (name := parameter_key(text)):
        raise ValueError("is not the name of a query parameter, such as token")
    return name


def headers(given: str) -> tuple[Header, ...]:
    """Return name and value of a header `K: V`, or of each line of an `@file`.

    A ValueError names the header or the line but never shows a value: it may be a secret.
    """
    return tuple(_header(place, text) for place, text in _header_lines(given))


def _header_lines(given: str) -> list[tuple[str, str]]:
    if not given.startswith("@"):
        name, colon, _ = given.partition(":")
        return [(f"'{name}'" if colon and is_token(name) else "a header", given)]
    path = given[1:]
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "it is not UTF-8 text"
        raise ValueError(f"{escape(path)} cannot be read: {reason}") from exc
    named = [(f"{escape(path)}, line {n}:", line.strip()) for n, line in enumerate(lines, 1)]
    return [(place, line) for place, line in named if line and not line.startswith("#")]


def _header(place: str, text: str) -> Header:
    name, colon, value = text.partition(":")
    if not colon or not is_token(name.strip()):
        raise ValueError(f"{place} is not of the form 'Name: value'")
    if re.search(_NOT_IN_VALUE, value):
        raise ValueError(f"{place} has a character in its value that is not allowed in a header")
    return name.strip(), value.strip()
