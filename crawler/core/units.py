"""Text of a size -> bytes; bytes and seconds -> text for people."""

import re

_FACTORS = {
    "": 1,
    "B": 1,
    "K": 1000,
    "KB": 1000,
    "M": 1000**2,
    "MB": 1000**2,
    "G": 1000**3,
    "GB": 1000**3,
    "KIB": 1024,
    "MIB": 1024**2,
    "GIB": 1024**3,
}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)", re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes of "500KB", "10MB", "1.5GiB" or "4096"; a KB is 1,000 bytes.

    Raises ValueError with the broken rule.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].upper() not in _FACTORS:
        raise ValueError("is not a size such as 500KB, 10MB or 1GB")
    whole, _, fraction = match[1].partition(".")
    return int(whole + fraction) * _FACTORS[match[2].upper()] // int(10 ** len(fraction))


def exact_size(count: int) -> str:
    """Return bytes in the form that `parse_size` reads, without loss: "10MB", "4096"."""
    for unit in ("GB", "MB", "KB"):
        if count and count % _FACTORS[unit] == 0:
            return f"{count // _FACTORS[unit]}{unit}"
    return str(count)


def size(count: int | None) -> str:
    """Return bytes for people: "512 B", "1.5 kB", "10.0 MB"; "-" if not measured."""
    if count is None:
        return "-"
    if count < 1000:
        return f"{count} B"
    value = count / 1000
    for unit in ("kB", "MB", "GB"):
        if value < 999.95:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def duration(seconds: float | None) -> str:
    """Return seconds for people: "0.4 ms", "35 ms", "1.25 s", "2 min 05 s"; "-" if not measured."""
    if seconds is None:
        return "-"
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 99.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s"
