"""Clock readings, facts and failures that a transport reports of one request."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter
from typing import Protocol

from crawler.models import ErrorKind, Phase, Tls


class Gate(Protocol):
    """Decides when an attempt may send the requests after its first, one after the other."""

    def try_hop(self, host: str) -> bool:
        """Start a redirect's request to `host` if it may; else return False: `wait_for_turn`."""

    def try_resend(self) -> bool:
        """Send the present request once more if it may; else return False: `wait_for_turn`."""

    async def wait_for_turn(self) -> None:
        """Return once the request that was refused may start."""


class Wire:
    """Clock readings and facts of one request, from the transport that sends it.

    Times are readings of `time.perf_counter` (uvloop's clock ticks in ms), durations are
    seconds. None: it did not happen for this request, or is not known.
    """

    __slots__ = (
        "at_proxy",
        "connect",
        "dns",
        "first_byte",
        "gate",
        "http_version",
        "last_byte",
        "paused",
        "phase",
        "proxied",
        "remote_ip",
        "sent",
        "stall",
        "stalls",
        "tls",
        "tls_peer",
    )

    def __init__(
        self,
        *,
        paused: Callable[[], AbstractContextManager[None]] = nullcontext,
        gate: Gate | None = None,
    ) -> None:
        """Begin with nothing known.

        `paused` stops the clock of the attempt's timeout within its context. `gate` decides
        when a further request of the attempt may start; without one, at once.
        """
        self.paused = paused
        self.gate = gate
        self.phase = Phase.CONNECT  # the request is in, or ended in
        self.dns: float | None = None  # duration of the DNS lookup
        self.connect: float | None = None  # duration of connecting, a proxy's tunnel included
        self.tls: float | None = None  # duration of the TLS handshake with the target
        self.sent: float | None = None  # when sending began
        self.first_byte: float | None = None  # when the head of the final response began to come
        self.last_byte: float | None = None  # when the last byte of the body came, or the error
        self.remote_ip: str | None = None  # of the target, not of a proxy
        self.http_version: str | None = None  # as in the response: "HTTP/1.1"
        self.tls_peer: Tls | None = None  # facts of the TLS connection with the target
        self.stall = 0.0  # local delay in seconds, subtracted from the latency
        self.stalls: tuple[tuple[float, float], ...] = ()  # start and end of each part of it
        self.proxied = False  # the connection leads to a proxy
        # The way through the proxy is not open yet: a failure is the proxy's.
        self.at_proxy = False

    @property
    def wait(self) -> float | None:
        """Seconds from the request to the first byte of the response."""
        return self.first_byte - self.sent if self.first_byte and self.sent else None

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Record the time within this context as stall."""
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
        """Return once this request may be sent again, after its kept connection was lost."""
        if self.gate is not None and not self.gate.try_resend():
            await self._wait(self.gate)

    async def _wait(self, gate: Gate) -> None:
        with self.stalled():
            await gate.wait_for_turn()


class WireError(Exception):
    """A failure whose kind the transport knows; its phase is that of the `Wire`."""

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class InvalidResponseError(WireError):
    """The response is not valid HTTP; the detail is what is wrong with it."""

    def __init__(self, detail: str) -> None:
        super().__init__(ErrorKind.PROTOCOL, detail)


class InterruptedExchangeError(WireError):
    """The shared connection ended, not because of this request.

    The request may be sent once more, `fresh`; that does not count as a retry.
    """
