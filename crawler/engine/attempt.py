"""What one attempt has seen on the wire -> an `Attempt`, whichever way it ended."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from crawler.core import botblock, retry
from crawler.core.semantics import THROTTLING_STATUSES
from crawler.engine.chain import Chain
from crawler.engine.transports.wire import Wire
from crawler.models import Attempt, ErrorKind, Failure, Phase, Timings

RECORDED = frozenset({b"content-length", b"content-type", b"retry-after", *botblock.FIELDS})
"""The header fields, by their names in lower case, that an `AttemptState` reads."""
_DOWNLOAD = Phase.DOWNLOAD  # looked up for each response


class AttemptState:
    """State of one attempt, from which its `Attempt` is built.

    `wire` is that of the present request, `wires` are those of all requests. `size` is None
    until a final response's body is read. Times are those of the clock of `start`.
    """

    __slots__ = (
        "_body_start",
        "_fields",
        "_final_url",
        "_max_body",
        "_peek",
        "began",
        "chain",
        "head_at",
        "size",
        "status",
        "timestamp",
        "truncated",
        "wire",
        "wires",
    )

    def __init__(
        self, chain: Chain, wire: Wire, start: float, timestamp: float, max_body: int
    ) -> None:
        self.chain = chain
        self.wire = wire
        self.wires = [wire]
        self.began = start
        self.timestamp = timestamp
        self.status: int | None = None  # of the last response
        self.size: int | None = None
        self.truncated = False
        self.head_at = start  # that of the last response
        self._max_body = max_body
        self._final_url: str | None = None
        self._fields: Mapping[bytes, bytes] = _NONE  # of the final response
        self._body_start = b""
        self._peek = 0

    def begin_request(self) -> None:
        """Use a wire of its own for the next request, under the same timeout and gate."""
        self.wire = Wire(paused=self.wire.paused, gate=self.wire.gate)
        self.wires.append(self.wire)

    def begin_response(self, status: int, now: float) -> None:
        """Record that the head of a response is here."""
        self.status = status
        self._final_url = self.chain.url
        self.head_at = self.wire.first_byte or now
        self.wire.phase = _DOWNLOAD

    def begin_body(self, fields: Mapping[bytes, bytes]) -> None:
        """Record that the last response is the final one.

        `fields` holds the last value of each of its fields, by its name in lower case; those
        that are not `RECORDED` may be missing.
        """
        assert self.status is not None
        self._fields = fields
        self.size = 0
        if botblock.may_need_body(self.status):
            self._peek = botblock.PEEK if botblock.needs_body(self.status, self._texts()) else 0

    def receive(self, data: bytes) -> bool:
        """Count body bytes as they are on the wire; return whether the cap is exceeded.

        Bodies are not kept; only of what may be a bot protection's page the first bytes are.
        """
        assert self.size is not None
        self.size += len(data)
        if len(self._body_start) < self._peek:
            self._body_start += data
        self.truncated = self.size > self._max_body
        return self.truncated

    def discard_body(self) -> None:
        """Forget a final response that is requested once more."""
        self._fields, self.size, self._body_start = _NONE, None, b""

    def attempt(self, error: Failure | None, end: float, now: Callable[[], float]) -> Attempt:
        """Return the facts; `error` is why there is no complete response, if there is none.

        `now` gives seconds since the epoch, for a Retry-After that is a date.
        """
        wire, size, fields = self.wire, self.size, self._fields
        stall = wire.stall if len(self.wires) == 1 else sum(one.stall for one in self.wires)
        content_type, length = fields.get(b"content-type"), fields.get(b"content-length")
        return Attempt(
            method=self.chain.target.method,
            status=self.status,
            size=size if error is None else None,
            latency=end - self.began - stall,
            ttfb=None if size is None else self.head_at - self.began - stall,
            timings=self._timings(end),
            redirects=self.chain.hops,
            final_url=self._final_url,
            http_version=wire.http_version,
            remote_ip=wire.remote_ip,
            tls=wire.tls_peer,
            content_type=None if content_type is None else _text(content_type),
            content_length=None if length is None else _content_length(length),
            truncated=self.truncated,
            error=None if error is None else self._detailed(error),
            timestamp=self.timestamp,
            retry_after=self._retry_after(now) if self.status in THROTTLING_STATUSES else None,
            blocked_by=None if error is not None else self._blocked_by(),
        )

    def _detailed(self, error: Failure) -> Failure:
        """Add to an error's detail how much of the body came, and whether the proxy failed."""
        detail = error.detail
        if error.kind is ErrorKind.BODY_INCOMPLETE:
            length = _content_length(self._fields.get(b"content-length", b""))
            whole = "" if length is None else f" of {length:,}"
            detail = f"{detail}: received {self.size or 0:,}{whole} bytes"
        if self.wire.at_proxy and error.kind is not ErrorKind.LOCAL_RESOURCE:
            detail = f"the proxy: {detail}"
        return error if detail is error.detail else replace(error, detail=detail)

    def _retry_after(self, now: Callable[[], float]) -> float | None:
        value = self._fields.get(b"retry-after")
        return None if value is None else retry.parse_retry_after(_text(value), now())

    def _blocked_by(self) -> str | None:
        if self.status is None or not botblock.may_block(self.status, self._fields):
            return None
        return botblock.blocked_by(self.status, self._texts(), self._body_start)

    def _texts(self) -> dict[bytes, str]:
        """Return the fields that tell a bot protection, as text."""
        fields = self._fields
        return {name: _text(fields[name]) for name in botblock.FIELDS if name in fields}

    def _timings(self, end: float) -> Timings:
        wire, wires = self.wire, self.wires
        download = None if self.size is None else end - self.head_at
        if len(wires) == 1:
            return Timings(
                dns=wire.dns, connect=wire.connect, tls=wire.tls, wait=wire.wait, download=download
            )
        return Timings(
            dns=_total(one.dns for one in wires),
            connect=_total(one.connect for one in wires),
            tls=_total(one.tls for one in wires),
            wait=_total(one.wait for one in wires),
            download=download,
        )


def _text(value: bytes) -> str:
    """Return a field value as text: UTF-8 if it is valid, else ISO 8859-1 (RFC 9110, 5.5)."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("iso-8859-1")


def _content_length(value: bytes) -> int | None:
    """Return a Content-Length as a number, None if it is not one (RFC 9110, section 8.6)."""
    digits = value.strip(b" \t")
    return int(digits) if digits.isdigit() and len(digits) < 19 else None


def _total(seconds: Iterable[float | None]) -> float | None:
    known = [value for value in seconds if value is not None]
    return sum(known) if known else None


_NONE: Mapping[bytes, bytes] = {}
