"""Text of NO_PROXY -> the hosts that are requested without a proxy, as in curl and Go.

Entries are separated by commas or blanks. A name covers itself and its subdomains, with or
without a leading dot; `*.name` covers only the subdomains; an address covers itself, a CIDR
block its addresses, and `*` everything. An entry with `:port` covers only that port.
"""

import ipaddress
import re
from collections.abc import Callable
from functools import partial

Covers = Callable[[str, int], bool]
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:]*):([0-9]{1,5})", re.ASCII)


def parse(text: str) -> Covers:
    """Return a predicate of a host, as written in a URL, and a port: no proxy for these.

    An entry that is not a name, an address or a block covers nothing, as in curl.
    """
    entries = [_entry(part) for part in re.split(r"[,\s]+", text.strip()) if part]

    def covers(host: str, port: int) -> bool:
        name = host.strip("[]").rstrip(".").lower()
        return any(entry(name, port) for entry in entries)

    return covers


def _entry(text: str) -> Covers:
    wanted, name = None, text.lower()
    if match := _WITH_PORT.fullmatch(name):
        name, wanted = match[1], int(match[2])
    name = name.rstrip(".")
    if (network := _network(name)) is not None:
        return partial(_in_network, network, wanted)
    below = name.removeprefix("*")
    if not below:
        return lambda _, port: wanted in (None, port)
    suffix = below if below.startswith(".") else f".{below}"
    # In Go `.name` covers only subdomains; in curl, wget and Python also the name itself.
    exact = None if name.startswith("*") else suffix[1:]
    return partial(_in_domain, exact, suffix, wanted)


def _in_domain(exact: str | None, suffix: str, wanted: int | None, host: str, port: int) -> bool:
    fits = host == exact or host.endswith(suffix)
    return fits and wanted in (None, port) and _address(host) is None


def _in_network(network: _Network, wanted: int | None, host: str, port: int) -> bool:
    address = _address(host)
    return address is not None and wanted in (None, port) and address in network


def _network(text: str) -> _Network | None:
    """Return an address or a block as a block; None for a name."""
    try:
        return ipaddress.ip_network(text.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return None


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
