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
class Classes:
    """Kinds of results: names of classes and error kinds, and inclusive ranges of statuses."""

    names: frozenset[str] = frozenset()
    statuses: tuple[tuple[int, int], ...] = ()


NO_CLASSES = Classes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What makes a result a pass: it responded, and its status lies in one of `accept`.

    `accept` holds inclusive (low, high) pairs of status codes. What is in `fail_on` fails
    even so; what fails but is only in `warn_on` passes with a warning.
    """

    accept: tuple[tuple[int, int], ...] = ((200, 399),)
    fail_on: Classes = NO_CLASSES
    warn_on: Classes = NO_CLASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One URL to ask, and where in the list it stood.

    `url` is normalised and may hold credentials; `host` is its lower-case host
    without port, the key under which it queues. `line` is 1-based. `written` is what
    stood in the list, where `input` hides or shortens that. `masked` are parameters
    whose values are shown in no output, besides those that are known for it.
    """

    index: int
    source: str | None
    line: int | None
    input: str
    url: str
    host: str
    expectation: Expectation
    method: str
    written: str | None = field(default=None, repr=False)  # it may hold a password
    masked: frozenset[str] = frozenset()


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
class Attempt:
    """The facts of one attempt on a target: what was requested, what came, how long it took.

    `latency` runs from the start of the attempt to the last body byte or the error, `ttfb`
    to the first byte of the final response's head. `size` counts body bytes as sent on the
    wire. `timestamp` is the start of the attempt as seconds since the epoch. `retry_after`
    is how many seconds the server asked us to wait (RFC 9110, section 10.2.3), `blocked_by`
    whose bot protection responded in its place.
    """

    method: str = "GET"
    status: int | None = None
    size: int | None = None
    latency: float | None = None
    ttfb: float | None = None
    timings: Timings = field(default_factory=Timings)
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
    retry_after: float | None = None
    blocked_by: str | None = None

    @property
    def responded(self) -> bool:
        """Whether a complete response came, whatever its status."""
        return self.error is None and self.status is not None

    @property
    def succeeded(self) -> bool:
        """Whether a complete response with a status below 400 came."""
        return self.error is None and self.status is not None and self.status < 400


NO_ATTEMPT = Attempt()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one target: the attempt that counted, and the history of its visit.

    `attempt` is the last one; it is empty if no request was sent. `queue` is the time
    between reading the line and the start of the first attempt, which began at `timestamp`
    (seconds since the epoch). `earlier` are the attempts before. `flaky`: it passed only on
    the recheck. `hedged`: a second request was sent because the first one was slow.
    """

    target: Target
    outcome: Outcome
    attempt: Attempt = NO_ATTEMPT
    queue: float | None = None
    timestamp: float | None = None
    earlier: tuple[Attempt, ...] = ()
    flaky: bool = False
    hedged: bool = False

    @property
    def attempts(self) -> int:
        """How often the target was requested, hedged requests excluded; 0 if never."""
        sent = self.outcome in (Outcome.RESPONDED, Outcome.ERROR)
        return len(self.earlier) + sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Policy's word on a result: the reasons why it is not a pass, for people.

    `warnings` are reasons that were to be no more than that.
    """

    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.reasons

    @property
    def explanation(self) -> str:
        """The reasons in one line, unmasked."""
        return "; ".join(self.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A result and its verdict: what reports are made of."""

    result: Result
    verdict: Verdict

    @property
    def ok(self) -> bool | None:
        """True, False, or None where nothing can be said: the URL was not reached."""
        if self.result.outcome is Outcome.UNREACHED:
            return None
        return self.verdict.passed


class Engine(StrEnum):
    """The HTTP engines to choose from."""

    DIRECT = "direct"
    NATIVE = "native"
    STOCK = "stock"


DEFAULT_CONFIRM_AFTER = 5.0
"""Seconds before the recheck, if there is one."""

DEFAULT_HEDGE_BUDGET = 0.02
"""The share of requests that may be hedged, if any may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of a crawl: concurrency in all and per host, pace, seconds, bytes, attempts.

    `rate` and `host_rate` are requests per second, None for as fast as may be.
    `timeout` is for one attempt, `deadline` for the whole crawl. A failure that may pass
    is asked again up to `retries` times, after a random part of `backoff`, doubled each
    time; `max_wait` is the longest that a server may ask us to wait. With `confirm_after`
    such failures are asked once more, so many seconds after the list is through.
    `hedge_budget` is the share of requests that may be sent a second time because the
    first one is slow. With `head_first`, what does not answer HEAD is asked with GET.
    `window` is how many targets may be read ahead of the ones being fetched.
    """

    max: int = 10
    per_host: int = 10
    rate: float | None = None
    host_rate: float | None = None
    timeout: float = 10.0
    deadline: float | None = None
    retries: int = 1
    backoff: float = 0.5
    max_wait: float = 60.0
    confirm_after: float | None = None
    hedge_budget: float = 0.0
    head_first: bool = False
    follow: bool = True
    max_redirects: int = 10
    max_body: int = 10_000_000
    window: int = 5_000

    def __post_init__(self) -> None:
        """Raises ValueError where a bound allows nothing."""
        for name in ("max", "per_host", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is less than 1")
        for name in ("timeout", "rate", "host_rate", "deadline"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is not above 0")
        for name in ("max_redirects", "max_body", "retries", "backoff", "max_wait"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is less than 0")
        if not 0 <= self.hedge_budget <= 1:
            raise ValueError("hedge_budget is not from 0 to 1")
        if self.confirm_after is not None and not self.confirm_after >= 0:
            raise ValueError("confirm_after is less than 0")
