"""What a transport reports about one exchange: clock readings, facts and failures."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import httpx

from crawler.models import ErrorKind, Phase, Tls


class Gate(Protocol):
    """What lets an attempt send further requests after its first, each after the one before."""

    def try_hop(self, host: str) -> bool:
        """Whether the request that a redirect leads to may start now; else `wait_for_turn`."""

    def try_resend(self) -> bool:
        """Whether the present request may be sent once more now; else `wait_for_turn`."""

    async def wait_for_turn(self) -> None:
        """Return once the request that was refused may start."""


@dataclass(slots=True)
class Wire:
    """Clock readings (uvloop's own ticks in ms, so `time.perf_counter`) and facts of a request.

    `dns`, `connect` and `tls` are durations, None where that did not happen for this
    request or is not known. `stall` is time that we lost ourselves, which is nobody's
    latency, and `stalls` are start and end of each part of it; `paused` stops the clock of
    the attempt's timeout for that time. `gate` says when a further request may start: see
    `start_hop` and `start_resend`. `phase` is where the exchange is, or where it ended;
    `proxied` says that what was connected to is a proxy, not the target, `at_proxy` that
    the way through it is not open yet: what fails then is the proxy.
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
        """Seconds from the request to the first byte of the response."""
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

    async def start_hop(self, host: str) -> None:
        """Return once the request that a redirect leads to may start."""
        if self.gate is not None and not self.gate.try_hop(host):
            await self._wait(self.gate)

    async def start_resend(self) -> None:
        """Return once this request may be sent once more, as the connection had died."""
        if self.gate is not None and not self.gate.try_resend():
            await self._wait(self.gate)

    async def _wait(self, gate: Gate) -> None:
        with self.stalled():
            await gate.wait_for_turn()


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
