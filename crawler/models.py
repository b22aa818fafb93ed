"""The nouns: entries of a list, attempts, results, verdicts, and the limits of a crawl.

Seconds are floats, sizes are bytes; None means "not measured", never zero.
"""

from collections.abc import Callable
from dataclasses import field
from enum import StrEnum

from crawler.facts import fact


class Outcome(StrEnum):
    """What happened to a target on the wire; the verdict says whether that is good."""

    RESPONDED = "responded"
    ERROR = "error"
    INVALID = "invalid"
    UNREACHED = "unreached"


# Each lookup of a member in its enum costs 0.1 us with Python 3.11.
_UNREACHED = Outcome.UNREACHED
_REQUESTED = (Outcome.RESPONDED, Outcome.ERROR)


class Phase(StrEnum):
    """The phase an attempt was in when it ended."""

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


@fact
class Classes:
    """Classes of results: names of classes and error kinds, inclusive (low, high) statuses."""

    names: frozenset[str] = frozenset()
    statuses: tuple[tuple[int, int], ...] = ()


NO_CLASSES = Classes()


@fact
class Expectation:
    """What makes a result a pass: a response with a status in one of the ranges of `accept`.

    `accept` holds inclusive (low, high) pairs of status codes. Results in `fail_on` fail even
    if their status is accepted; other results in `warn_on` pass with a warning.
    """

    accept: tuple[tuple[int, int], ...] = ((200, 399),)
    fail_on: Classes = NO_CLASSES
    warn_on: Classes = NO_CLASSES


@fact
class Target:
    """One URL to check, and its position in the input.

    `index` counts entries from 0, `line` counts lines from 1. `url` is normalised and may
    contain credentials; `host` is its lower-case host without port, the key of its queue.
    `input` is the entry as written, secrets masked; `written` is the original text if that
    differs. `masked` are names of parameters to mask in addition to the built-in ones, in
    the form of `display.parameter_key`.
    """

    index: int
    source: str | None
    line: int | None
    input: str
    url: str
    host: str
    expectation: Expectation
    method: str
    written: str | None = field(default=None, repr=False)  # may contain a password
    masked: frozenset[str] = frozenset()


@fact
class Failure:
    """Why there is no complete response. `detail` is for people, and never empty."""

    kind: ErrorKind
    phase: Phase | None
    detail: str


@fact
class Hop:
    """A redirect that was followed: the URL that was requested, and the status of its response."""

    url: str
    status: int


@fact
class Timings:
    """Seconds spent in each phase, summed over redirects; not cumulative."""

    dns: float | None = None
    connect: float | None = None
    tls: float | None = None
    wait: float | None = None
    download: float | None = None


NO_TIMINGS = Timings()


@fact
class Tls:
    """The TLS connection to the final URL, and the certificate of the server.

    `expires` is seconds since the epoch. `expires`, `issuer` and `subject` are None if the
    certificate was not verified.
    """

    version: str | None = None
    cipher: str | None = None
    expires: float | None = None
    issuer: str | None = None
    subject: str | None = None


@fact
class Attempt:
    """The facts of one attempt on a target: the request, the response, the time it took.

    `latency` runs from the start of the attempt to the last body byte or the error, `ttfb`
    to the first byte of the final response's head. `size` counts body bytes as sent on the
    wire. `timestamp` is the start of the attempt in seconds since the epoch, `retry_after`
    the Retry-After of the response in seconds (RFC 9110, section 10.2.3), `blocked_by` the
    name of the bot protection that responded instead of the site.
    """

    method: str = "GET"
    status: int | None = None
    size: int | None = None
    latency: float | None = None
    ttfb: float | None = None
    timings: Timings = NO_TIMINGS
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


@fact
class Result:
    """The outcome of one target: the attempt that counted, and the history of its visit.

    `attempt` is the last one, empty if no request was sent; `earlier` are those before it.
    `queue` is the time from reading the entry to the start of the first attempt, at
    `timestamp` (seconds since the epoch). `flaky`: it passed only on the recheck. `hedged`:
    a second request was sent because the first one was slow.
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
        """The number of attempts, hedged requests excluded; 0 if no request was sent."""
        return len(self.earlier) + (self.outcome in _REQUESTED)


@fact
class Verdict:
    """Why a result does not pass, for people; `warnings` are reasons downgraded by --warn-on."""

    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.reasons

    @property
    def explanation(self) -> str:
        """The reasons in one line, unmasked."""
        return "; ".join(self.reasons)


@fact
class Check:
    """A result and its verdict: the unit of every report."""

    result: Result
    verdict: Verdict

    @property
    def ok(self) -> bool | None:
        """Whether it passed; None if the URL was not checked."""
        return None if self.result.outcome is _UNREACHED else not self.verdict.reasons


@fact
class Limits:
    """The limits of a crawl; times in seconds, sizes in bytes.

    `max` and `per_host` are requests in flight, `rate` and `host_rate` requests started per
    second, None for no limit. `timeout` is for one attempt with its redirects, `deadline` for
    the crawl. A transient failure is retried up to `retries` times, after a random part of
    `backoff`, doubled with each retry. A Retry-After longer than `max_wait` is not honoured.
    `confirm_after` is the delay from the last URL to the recheck of transient failures, None
    for no recheck; `hedge_budget` the share (0 to 1) of requests that may be hedges. With
    `head_first`, a refused HEAD is followed by GET. `window` targets are read ahead.
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
        """Raises ValueError for a value that is out of range."""
        at_least_0 = "max_redirects", "max_body", "retries", "backoff", "max_wait", "confirm_after"
        self._require("is less than 1", lambda n: n >= 1, "max", "per_host", "window")
        self._require("is not above 0", lambda n: n > 0, "timeout", "rate", "host_rate", "deadline")
        self._require("is less than 0", lambda n: n >= 0, *at_least_0)
        self._require("is not from 0 to 1", lambda n: 0 <= n <= 1, "hedge_budget")

    def _require(self, complaint: str, valid: Callable[[float], bool], *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and not valid(value):
                raise ValueError(f"{name} {complaint}")
