"""Events of httpcore's "trace" extension -> clock readings on a `Wire`."""

from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter
from typing import Any

from crawler.engine.transports.wire import Wire
from crawler.models import Phase

trace_of_task: ContextVar["Trace"] = ContextVar("trace")


class Trace:
    """How far one of httpcore's requests has come.

    `forwarded`: a proxy gets the request itself; `http2`: it was sent over HTTP/2;
    `in_socks`: it is in the handshake with a SOCKS proxy. `stream` is the one that it was last
    written to, None before; `when_interrupted` is called with it if its connection ended.
    """

    def __init__(self, wire: Wire, when_interrupted: Callable[[Any], None]) -> None:
        self.wire = wire
        self.when_interrupted = when_interrupted
        self.forwarded = False
        self.http2 = False
        self.in_socks = False
        self.stream: Any = None
        self._connected: Any = None
        self._since = 0.0
        self._stall = 0.0
        self._tunnel_requested = False

    async def aclose(self) -> None:
        """Close the connection that was opened for this request."""
        if self._connected is not None:
            await self._connected.aclose()

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        part, name, state = event.split(".")
        match name:
            case "connect_tcp":
                self._connect(state, info)
            case "start_tls":
                # Through a tunnel, TLS with the target is started by the part that opened it.
                self._start_tls(state, to_proxy=self.wire.proxied and part == "connection")
            case "setup_socks5_connection":
                self.in_socks = state != "complete"
                if state == "complete":
                    self._record_connect(through=True)
            case "send_request_headers" if state == "started":
                self._tunnel_requested = info["request"].method == b"CONNECT"
                if not self._tunnel_requested:
                    self.http2 = part == "http2"
                    self.wire.phase = Phase.WAIT
                    self.wire.first_byte = None
                    self.wire.sent = perf_counter()  # before: the write may have to wait for us
            case "receive_response_headers" if state == "complete":
                if self._tunnel_requested:
                    self._record_connect(through=False)
                else:
                    self.wire.first_byte = perf_counter()

    def _connect(self, state: str, info: dict[str, Any]) -> None:
        if state == "started":
            self.wire.phase, self._since = Phase.CONNECT, perf_counter()
            self.wire.at_proxy = self.wire.proxied
            self.wire.dns, self._stall = None, self.wire.stall
        elif self.wire.phase is Phase.CONNECT:  # not if the lookup failed
            self._connected = info.get("return_value")
            self._record_connect(through=self.forwarded and state == "complete")

    def _start_tls(self, state: str, *, to_proxy: bool) -> None:
        if to_proxy:
            if state == "started":
                self.wire.at_proxy = True
            else:
                self._record_connect(through=self.forwarded and state == "complete")
        elif state == "started":
            self.wire.at_proxy = False
            self.wire.phase, self._since = Phase.TLS, perf_counter()
        else:
            self.wire.tls = perf_counter() - self._since

    def _record_connect(self, *, through: bool) -> None:
        """Record the connect time until now; `through`: from now on we talk to the target."""
        own = self.wire.stall - self._stall + (self.wire.dns or 0.0)
        self.wire.connect = perf_counter() - self._since - own
        if through:
            self.wire.at_proxy = False
