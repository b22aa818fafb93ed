"""What one attempt has seen on the wire -> an `Attempt`, whichever way it ended."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import httpx

from crawler.core import botblock, retry
from crawler.core.semantics import THROTTLING_STATUSES
from crawler.engine.transports.wire import Wire
from crawler.models import Attempt, ErrorKind, Failure, Hop, Phase, Target, Timings

_RECORDED = frozenset({b"content-length", b"content-type", b"retry-after", *botblock.FIELDS})


class AttemptState:
    """State of one attempt, from which its `Attempt` is built.

    `wire` is that of the present request, `wires` are those of all requests. `size` is None
    until a final response's body is read. Times are those of the clock of `start`.
    """

    def __init__(self, target: Target, wire: Wire, start: float, timestamp: float) -> None:
        self.target = target
        self.wire = wire
        self.wires = [wire]
        self.start = start
        self.timestamp = timestamp
        self.hops: list[Hop] = []
        self.size: int | None = None
        self.truncated = False
        self.head_received = start  # that of the last response
        self._response: httpx.Response | None = None
        self._final_url: str | None = None
        self._fields: dict[bytes, str] = {}  # of the final response
        self._body_start = b""

    def begin_request(self) -> None:
        """Use a wire of its own for the next request, under the same timeout and gate."""
        self.wire = Wire(paused=self.wire.paused, gate=self.wire.gate)
        self.wires.append(self.wire)

    def begin_response(self, response: httpx.Response, url: str, now: float) -> None:
        """Record that the head of a response to `url` is here."""
        self._response = response
        self._final_url = url
        self.head_received = self.wire.first_byte or now
        self.wire.phase = Phase.DOWNLOAD

    async def read_body(self, response: httpx.Response, max_body: int) -> None:
        """Count the bytes of the final response's body as sent on the wire, up to the cap.

        Bodies are not kept; only of what may be a bot protection's page the first bytes are.
        """
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._fields = _last_values(response.headers.raw)
        peek = 0
        if botblock.needs_body(response.status_code, self._fields):
            peek = botblock.PEEK
        self.size = 0
        try:
            async for chunk in response.stream:
                self.size += len(chunk)
                if len(self._body_start) < peek:
                    self._body_start += chunk
                if self.size > max_body:
                    self.truncated = True
                    break
        finally:
            await response.stream.aclose()

    def discard_body(self) -> None:
        """Forget a final response that is requested once more."""
        self._fields, self.size, self._body_start = {}, None, b""

    def attempt(self, error: Failure | None, end: float, now: Callable[[], float]) -> Attempt:
        """Return the facts; `error` is why there is no complete response, if there is none.

        `now` gives seconds since the epoch, for a Retry-After that is a date.
        """
        stall = sum(wire.stall for wire in self.wires)
        response, fields = self._response, self._fields
        length = _content_length(fields.get(b"content-length"))
        return Attempt(
            method=self.target.method,
            status=response.status_code if response is not None else None,
            size=self.size if error is None else None,
            latency=end - self.start - stall,
            ttfb=self.head_received - self.start - stall if self.size is not None else None,
            timings=self._timings(end),
            redirects=tuple(self.hops),
            final_url=self._final_url,
            http_version=self.wire.http_version,
            remote_ip=self.wire.remote_ip,
            tls=self.wire.tls_peer,
            content_type=fields.get(b"content-type"),
            content_length=length,
            truncated=self.truncated,
            error=None if error is None else self._detailed(error, length),
            timestamp=self.timestamp,
            retry_after=self._retry_after(now),
            blocked_by=self._blocked_by(error),
        )

    def _detailed(self, error: Failure, length: int | None) -> Failure:
        """Add to an error's detail how much of the body came, and whether the proxy failed."""
        detail = error.detail
        if error.kind is ErrorKind.BODY_INCOMPLETE:
            whole = "" if length is None else f" of {length:,}"
            detail = f"{detail}: received {self.size or 0:,}{whole} bytes"
        if self.wire.at_proxy and error.kind is not ErrorKind.LOCAL_RESOURCE:
            detail = f"the proxy: {detail}"
        return error if detail is error.detail else replace(error, detail=detail)

    def _retry_after(self, now: Callable[[], float]) -> float | None:
        if self._response is None or self._response.status_code not in THROTTLING_STATUSES:
            return None
        text = self._fields.get(b"retry-after")
        return None if text is None else retry.parse_retry_after(text, now())

    def _blocked_by(self, error: Failure | None) -> str | None:
        if error is not None or self._response is None:
            return None
        return botblock.blocked_by(self._response.status_code, self._fields, self._body_start)

    def _timings(self, end: float) -> Timings:
        return Timings(
            dns=_total([wire.dns for wire in self.wires]),
            connect=_total([wire.connect for wire in self.wires]),
            tls=_total([wire.tls for wire in self.wires]),
            wait=_total([wire.wait for wire in self.wires]),
            download=end - self.head_received if self.size is not None else None,
        )


def _last_values(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, str]:
    """Return the last value of each field that a record or a policy needs."""
    return {low: _text(value) for name, value in fields if (low := name.lower()) in _RECORDED}


def _text(value: bytes) -> str:
    """Return a field value as text: UTF-8 if it is valid, else ISO 8859-1 (RFC 9110, 5.5)."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("iso-8859-1")


def _content_length(text: str | None) -> int | None:
    """Return a Content-Length as a number, None if it is not one (RFC 9110, section 8.6)."""
    text = (text or "").strip(" \t")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _total(seconds: list[float | None]) -> float | None:
    if len(seconds) == 1:
        return seconds[0]
    known = [value for value in seconds if value is not None]
    return sum(known) if known else None
