"""What `--block-private` permits: the addresses that may be connected to, or a `WireError`."""

from crawler.engine.transports.resolve import Addresses, literal
from crawler.engine.transports.wire import WireError
from crawler.models import ErrorKind


def check_host(host: str) -> None:
    """Refuse a host that spells a private address out, also where a proxy would resolve it."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, section 6.3
        raise _refusal(host, "a loopback name")
    if spelled := literal(name):
        public(spelled)


def public(addresses: Addresses) -> Addresses:
    """Return those of a host's addresses that are public. Raises WireError where none is.

    To be called with the very addresses that are connected to: a name that is looked up
    once more may lead elsewhere then.
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
