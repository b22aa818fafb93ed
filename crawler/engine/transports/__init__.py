"""How bytes move: what every transport shares, and the choice between them.

A transport is an `httpx.AsyncBaseTransport`. Ours read a `Wire` from
`request.extensions["wire"]`, note on it how far the exchange is, and hand it back in
`response.extensions["wire"]`. They open a new connection for `request.extensions["fresh"]`,
and for a request that may not be sent twice. Any other httpx transport may stand in for
one of ours; what it does not note stays None.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from time import perf_counter
from typing import Protocol

import httpx

from crawler.models import ErrorKind, Phase, Tls

DIRECT, STOCK, NATIVE = "direct", "stock", "native"
ENGINES = (DIRECT, STOCK, NATIVE)


class Gate(Protocol):
    """What lets an attempt send further requests after its first, each after the one before."""

    def hop(self, host: str) -> bool:
        """Whether the request that a redirect leads to may start now; else `wait` for it."""

    def resend(self) -> bool:
        """Whether the present request may be sent once more now; else `wait` for that."""

    async def wait(self) -> None:
        """Return once the request that was refused may start."""


@dataclass(slots=True)
class Wire:
    """Clock readings (uvloop's own ticks in ms, so `time.perf_counter`) and facts of a request.

    `dns`, `connect` and `tls` are durations, None where that did not happen for this
    request or is not known. `stall` is time that we lost ourselves, which is nobody's
    latency, and `stalls` are start and end of each part of it; `paused` stops the clock of
    the attempt's timeout meanwhile. `gate` says when a further request may start: see `hop`
    and `resend`. `phase` is where the exchange is, or where it ended; `proxied` says that
    what was connected to is a proxy, not the target, `at_proxy` that the way through it is
    not open yet: what fails then is the proxy.
    """

    phase: Phase = Phase.CONNECT
    dns: float | None = None
    connect: float | None = None
    tls: float | None = None
    sent: float | None = None
    first_byte: float | None = None
    last_byte: float | None = None
    remote_ip: str | None = None
    http_version: str | None = None
    tls_peer: Tls | None = None
    stall: float = 0.0
    stalls: tuple[tuple[float, float], ...] = ()
    proxied: bool = False
    at_proxy: bool = False
    paused: Callable[[], AbstractContextManager[None]] = nullcontext
    gate: Gate | None = None

    @property
    def wait(self) -> float | None:
        """How long after the request the first byte of the answer came."""
        return self.first_byte - self.sent if self.first_byte and self.sent else None

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Note the time that this takes as lost by ourselves."""
        start = perf_counter()
        try:
            with self.paused():
                yield
        finally:
            end = perf_counter()
            self.stall += end - start
            self.stalls += ((start, end),)

    async def hop(self, host: str) -> None:
        """Return once the request that a redirect leads to may start."""
        if self.gate is not None and not self.gate.hop(host):
            await self._wait(self.gate)

    async def resend(self) -> None:
        """Return once this request may be sent once more, as the connection had died."""
        if self.gate is not None and not self.gate.resend():
            await self._wait(self.gate)

    async def _wait(self, gate: Gate) -> None:
        with self.stalled():
            await gate.wait()


class WireError(httpx.TransportError):
    """A failure whose kind the transport knows; its phase is the one the wire is in."""

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class InterruptedExchangeError(WireError):
    """The connection ended, through no fault of this request, which others shared it with.

    It may be sent once more, `fresh`, and that is not a retry.
    """


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
    """The options that say how connections are made.

    Idle connections are kept while there are no more than `idle` in all, and `per_host` to
    one host, those in use counted too; stock and native bound the idle ones alone.
    With `block_private` none is made to an address that is not public, but for a proxy's.
    """

    engine: str = DIRECT
    idle: int = 10
    per_host: int | None = None
    http2: bool = False
    verify: bool = True
    cacert: str | None = None
    proxies: Proxies = Proxies()
    block_private: bool = False


def engine_for(connecting: Connecting) -> str:
    """Return the name of the transport that these options call for.

    Stock stands in for direct where that does not speak what is asked for. Raises
    ValueError where nothing could keep all the options: none is dropped silently.
    """
    through_proxy = bool(connecting.proxies.http or connecting.proxies.https)
    if connecting.http2 and find_spec("h2") is None:
        raise ValueError("--http2 needs the extra http2: pip install 'crawler[http2]'")
    if connecting.engine == NATIVE:
        if through_proxy:
            raise ValueError("--engine native cannot go through a proxy")
        if connecting.http2:
            raise ValueError("--engine native speaks HTTP/1.1 only here, not --http2")
        if find_spec("pyreqwest") is None:
            raise ValueError("--engine native needs the extra fast: pip install 'crawler[fast]'")
        if connecting.block_private:
            raise ValueError(
                "--engine native resolves names itself, which rules out --block-private"
            )
        return NATIVE
    return STOCK if connecting.http2 else connecting.engine


def open_transport(connecting: Connecting) -> httpx.AsyncBaseTransport:
    """Return the transport that `engine_for` names. Raises ValueError as that does."""
    match engine_for(connecting):
        case "native":
            from crawler.engine.transports.native import NativeTransport

            return NativeTransport(connecting)
        case "stock" if connecting.engine != STOCK:
            from crawler.engine.transports.http2 import Http2Transport

            return Http2Transport(connecting)
        case "stock":
            from crawler.engine.transports.stock import StockTransport

            return StockTransport(connecting)
        case _:
            from crawler.engine.transports.direct import DirectTransport

            return DirectTransport(connecting)
