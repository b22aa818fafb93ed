"""The nouns: what a URL list, a fetch, a verdict and a whole crawl are made of.

Seconds are floats, sizes are bytes; None means "not measured", never zero.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What happened to one target on the wire; says nothing about good or bad."""

    RESPONDED = "responded"
    ERROR = "error"
    INVALID = "invalid"
    UNREACHED = "unreached"


class Phase(StrEnum):
    """The stretch of an attempt in which it was when it ended."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    WAIT = "wait"
    DOWNLOAD = "download"


class ErrorKind(StrEnum):
    """The closed set of reasons why a target has no complete response."""

    INVALID_URL = "invalid_url"
    BLOCKED = "blocked"
    DNS_NOT_FOUND = "dns_not_found"
    DNS_TEMPORARY = "dns_temporary"
    CONNECT_REFUSED = "connect_refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS_EXPIRED = "tls_expired"
    TLS_NOT_YET_VALID = "tls_not_yet_valid"
    TLS_HOSTNAME = "tls_hostname"
    TLS_UNTRUSTED = "tls_untrusted"
    TLS_HANDSHAKE = "tls_handshake"
    RESET = "reset"
    DISCONNECTED = "disconnected"
    PROTOCOL = "protocol"
    BODY_INCOMPLETE = "body_incomplete"
    DECODE = "decode"
    TOO_MANY_REDIRECTS = "too_many_redirects"
    REDIRECT_LOOP = "redirect_loop"
    BAD_REDIRECT = "bad_redirect"
    LOCAL_RESOURCE = "local_resource"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What makes a response a pass: its status lies in one of `accept`.

    `accept` holds inclusive (low, high) pairs of status codes.
    """

    accept: tuple[tuple[int, int], ...] = ((200, 399),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One URL to ask, and where in the list it stood.

    `url` is normalised and may hold credentials; `host` is its lower-case host
    without port, the key under which it queues. `line` is 1-based.
    """

    index: int
    source: str | None
    line: int | None
    input: str
    url: str
    host: str
    expectation: Expectation
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no complete response. `detail` is a sentence, never empty."""

    kind: ErrorKind
    phase: Phase | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """A redirect that was followed: the URL that answered, and its status."""

    url: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds spent in each phase, summed over redirects; not cumulative."""

    dns: float | None = None
    connect: float | None = None
    tls: float | None = None
    wait: float | None = None
    download: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What the TLS connection to the final URL was, and whose certificate it showed.

    `expires` is seconds since the epoch. `expires`, `issuer` and `subject` are None
    where the certificate was not verified.
    """

    version: str | None = None
    cipher: str | None = None
    expires: float | None = None
    issuer: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResult:
    """The facts of one target: what was asked, what came, how long it took.

    `queue` is the wait between reading the line and the start of the attempt;
    `latency` runs from there to the last body byte or the error, `ttfb` to the
    first byte of the final response's head. `size` counts body bytes as sent
    on the wire. `timestamp` is the start as seconds since the epoch.
    """

    target: Target
    outcome: Outcome
    status: int | None = None
    size: int | None = None
    queue: float | None = None
    latency: float | None = None
    ttfb: float | None = None
    timings: Timings = field(default_factory=Timings)
    attempts: int = 0
    redirects: tuple[Hop, ...] = ()
    final_url: str | None = None
    http_version: str | None = None
    remote_ip: str | None = None
    tls: Tls | None = None
    content_type: str | None = None
    content_length: int | None = None
    truncated: bool = False
    error: Failure | None = None
    timestamp: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Policy's word on a result: the reasons why it is not a pass, for people."""

    reasons: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A result and its verdict: what reports are made of."""

    result: FetchResult
    verdict: Verdict

    @property
    def ok(self) -> bool | None:
        """True, False, or None where nothing can be said: the URL was not reached."""
        if self.result.outcome is Outcome.UNREACHED:
            return None
        return self.verdict.passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of a crawl: concurrency in all and per host, seconds, bytes.

    `window` is how many targets may be read ahead of the ones being fetched.
    """

    max: int = 10
    per_host: int = 10
    timeout: float = 10.0
    follow: bool = True
    max_redirects: int = 10
    max_body: int = 10_000_000
    window: int = 5_000

    def __post_init__(self) -> None:
        """Raises ValueError where a bound allows nothing."""
        for name in ("max", "per_host", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is less than 1")
        if not self.timeout > 0:
            raise ValueError("timeout is not above 0")
        if self.max_redirects < 0 or self.max_body < 0:
            raise ValueError("max_redirects or max_body is less than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a crawl is. `total` is None where it cannot be known yet.

    `estimated` says that `total` is a projection from the part of the list read.
    """

    elapsed: float
    done: int
    passed: int
    failed: int
    in_flight: int
    total: int | None
    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Crawl:
    """How a crawl as a whole went.

    `lag` is how late, in seconds, the event loop was at worst: what this machine, not a
    server, may have added to a latency.
    `interrupted` is the signal number that ended it, or None. `list_read` says
    whether the list was read to its end, `list_failed` that it turned out to be no
    list, `output_failed` that an output could not be written. `duplicates` counts the
    entries that were not asked again because an equal URL stood before them.
    """

    elapsed: float
    lag: float = 0.0
    duplicates: int = 0
    interrupted: int | None = None
    list_read: bool = True
    list_failed: bool = False
    output_failed: bool = False
