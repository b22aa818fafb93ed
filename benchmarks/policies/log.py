"""The requests and connections that the scripted server saw, by CLOCK_MONOTONIC."""

import time
from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks.policies.scenario import End, Reply


@dataclass(slots=True, kw_only=True)
class Request:
    """A request as received, and its response. `turn` is its 0-based position on its connection.

    `arrived` is when its head was complete, `ended` when the last byte was handed to the system,
    or the end of the connection was; for `End.GONE`, when the client was seen to be gone.
    `retry_after` is how many seconds a Retry-After required, as of `ended`.
    """

    page: int
    hop: int
    host: str
    method: str
    connection: int
    turn: int
    step: int
    arrived: float
    reply: Reply
    ended: float | None = None
    end: End | None = None
    retry_after: float | None = None

    @property
    def held(self) -> float:
        """Seconds from its arrival to the end of its response."""
        assert self.ended is not None
        return self.ended - self.arrived

    def line(self, since: float) -> str:
        """Return one line for people; times in ms from `since`."""
        sent = f"{self.host} {self.method} /{self.page}/{self.hop} step {self.step}"
        wire = f"connection {self.connection} turn {self.turn}"
        return f"{sent} {wire} status {self.reply.status} {self.end} at {_ms(self.ended, since)}"


@dataclass(slots=True, kw_only=True)
class Connection:
    """A connection from its acceptance (with TLS: from the end of the handshake) to its end."""

    number: int
    host: str
    opened: float
    closed: float | None = None


@dataclass(slots=True, kw_only=True)
class Log:
    """The log of one run. `noise` is the longest delay in seconds that this machine caused.

    `epoch` is the time of the log's clock at the start of 1970.
    """

    requests: list[Request] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    noise: float = 0.0
    epoch: float = field(default_factory=lambda: time.monotonic() - time.time())

    def by_host(self) -> dict[str, list[Request]]:
        found: dict[str, list[Request]] = defaultdict(list)
        for request in self.requests:
            found[request.host].append(request)
        return found

    def by_page(self) -> dict[int, list[Request]]:
        found: dict[int, list[Request]] = defaultdict(list)
        for request in self.requests:
            found[request.page].append(request)
        return found

    def lines(self, since: float) -> list[str]:
        """Return one line for each request and connection; times in ms from `since`."""
        shown = [(one.arrived, one.line(since)) for one in self.requests]
        shown += [
            (one.opened, f"{one.host} connection {one.number} closed at {_ms(one.closed, since)}")
            for one in self.connections
        ]
        return [f"{_ms(time, since)} {text}" for time, text in sorted(shown)]


def _ms(time: float | None, since: float) -> str:
    return "-" if time is None else f"{(time - since) * 1000:.1f}"
