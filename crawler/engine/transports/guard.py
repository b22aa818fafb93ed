"""A host and its addresses -> those that `--block-private` permits, or a `WireError`."""

from crawler.engine.transports.resolve import Addresses, literal
from crawler.engine.transports.wire import WireError
from crawler.models import ErrorKind


def check_host(host: str) -> None:
    """Raise WireError if a host is itself a private address, even if a proxy would resolve it."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, section 6.3
        raise _refusal(host, "a loopback name")
    if addresses := literal(name):
        public(addresses)


def public(addresses: Addresses) -> Addresses:
    """Return the public ones of a host's addresses. Raises WireError if there are none.

    To be called with the addresses that are then connected to: another lookup of the name
    may return others (DNS rebinding).
    """
    from crawler.core.addresses import special_purpose  # 0.6 ms, which most runs do without

    judged = [(address, special_purpose(address.ip)) for address in addresses]
    permitted = tuple(address for address, what in judged if what is None)
    if not permitted:
        address, what = judged[0]
        raise _refusal(address.ip, what or "")
    return permitted


def _refusal(host: str, what: str) -> WireError:
    return WireError(ErrorKind.BLOCKED, f"refused: {host} is {what} (--block-private)")
