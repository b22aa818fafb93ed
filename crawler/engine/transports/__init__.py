"""How bytes move: what every transport shares, and the choice between them.

A transport is an `httpx.AsyncBaseTransport`. Ours read a `Wire` from
`request.extensions["wire"]`, note on it how far the exchange is, and hand it back in
`response.extensions["wire"]`. Any other httpx transport may stand in for one of ours;
what it does not note stays None.
"""

from dataclasses import dataclass

import httpx

from crawler.models import Phase


@dataclass(slots=True)
class Wire:
    """Clock readings (seconds of `loop.time()`) and facts of one request on the wire.

    `dns`, `connect` and `tls` are durations, None where that did not happen for this
    request or is not known. `phase` is where the exchange is, or where it ended.
    """

    phase: Phase = Phase.CONNECT
    dns: float | None = None
    connect: float | None = None
    tls: float | None = None
    sent: float | None = None
    first_byte: float | None = None
    remote_ip: str | None = None
    http_version: str | None = None


class Disconnected(httpx.RemoteProtocolError):
    """The connection ended before a byte of the answer."""


class BodyIncomplete(httpx.RemoteProtocolError):
    """The connection ended inside the body."""


class TlsCutOff(httpx.ConnectError):
    """The connection ended inside the TLS handshake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """Proxy URLs by scheme, and the hosts that are asked without one.

    `no_proxy` is in the form of the environment variable of that name: host
    suffixes separated by commas, or "*".
    """

    http: str | None = None
    https: str | None = None
    no_proxy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """The options that say how connections are made; `idle` is how many may be kept unused."""

    idle: int = 10
    verify: bool = True
    cacert: str | None = None
    proxies: Proxies = Proxies()


def open_transport(connecting: Connecting) -> httpx.AsyncBaseTransport:
    """Return the transport that these options call for."""
    from crawler.engine.transports.stock import StockTransport

    return StockTransport(connecting)
