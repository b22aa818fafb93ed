"""Checks, one at a time -> counts and percentiles, in flat memory."""

import math
from collections import Counter

from crawler.core.expect import BLOCKED_BY_BOT_PROTECTION, PASS, accepted, matching_class
from crawler.core.quantiles import Quantiles
from crawler.facts import fact
from crawler.models import Check, Outcome, Result

_RESPONDED = Outcome.RESPONDED  # Python 3.11 takes 0.1 us to look a member up


@fact
class Snapshot:
    """The progress of a run after `elapsed` seconds. `total` is None while unknown.

    `estimated`: `total` is a projection from the part of the list read so far.
    """

    elapsed: float
    done: int
    passed: int
    failed: int
    in_flight: int
    total: int | None
    estimated: bool


@fact
class Tolerance:
    """How many URLs may fail with exit code 0: `count` of them, or a `share` (0 to 1) of all."""

    count: int = 0
    share: float = 0.0

    def covers(self, failures: int, total: int) -> bool:
        # Divided, not multiplied: 0.29 * 100 is a little less than 29.
        return failures <= self.count or failures / total <= self.share


NO_TOLERANCE = Tolerance()


@fact
class CrawlStats:
    """Facts of a crawl as a whole; times in seconds.

    `lag` is the greatest delay of the event loop: this machine may have added that much to a
    latency. `stopped` is how long this process was stopped while requests were in flight; no
    latency or timeout includes it. `duplicates` counts entries that were not checked because
    an equal URL came earlier. `interrupted` is the number of the signal that ended the crawl.
    `list_read`: the list was read to its end. `list_failed`: it was not a list of URLs.
    `output_failed`: an output could not be written. `faulty`: an internal error ended the
    crawl.
    """

    elapsed: float
    lag: float = 0.0
    stopped: float = 0.0
    duplicates: int = 0
    interrupted: int | None = None
    list_read: bool = True
    list_failed: bool = False
    output_failed: bool = False
    faulty: bool = False
    tolerance: Tolerance = NO_TOLERANCE


@fact
class Latency:
    """Seconds, over the URLs that responded. All but the mean are observed values."""

    min: float
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


@fact
class Summary:
    """The counts of a whole crawl; `total` is the sum of the four that follow it.

    `bytes` is the sum of the body sizes. `by_failure` counts failed and invalid URLs by error
    kind, status or bot protection. `flaky` and `warned` URLs are among the passed, unless
    --fail-on includes them; `blocked` counts responses of bot protections.
    """

    total: int
    passed: int
    failed: int
    invalid: int
    unreached: int
    bytes: int
    by_status: dict[int, int]
    by_error: dict[str, int]
    by_failure: dict[str, int]
    flaky: int
    warned: int
    blocked: int
    latency: Latency | None
    stats: CrawlStats

    @property
    def complete(self) -> bool:
        return not self.unreached and self.stats.list_read

    @property
    def requests_per_s(self) -> float | None:
        """URLs finished per second, over the whole run; None if no time has passed."""
        done = self.passed + self.failed
        return done / self.stats.elapsed if self.stats.elapsed > 0 else None


class Tally:
    """The counts of the checks so far."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.invalid = 0
        self.unreached = 0
        self.bytes = 0
        self.by_status: Counter[int] = Counter()
        self.by_error: Counter[str] = Counter()
        self.by_failure: Counter[str] = Counter()
        self.flaky = 0
        self.warned = 0
        self.blocked = 0
        self._latencies = Quantiles()
        self._least = math.inf

    def count_check(self, check: Check) -> None:
        result, attempt = check.result, check.result.attempt
        self.bytes += attempt.size or 0
        if attempt.status is not None:
            self.by_status[attempt.status] += 1
        self.flaky += result.flaky
        if result.outcome is _RESPONDED and attempt.latency is not None:
            self._latencies.insert(attempt.latency)
            if attempt.latency < self._least:
                self._least = attempt.latency
        if check.verdict is PASS:  # nearly always: an accepted response, without a warning
            self.passed += 1
        else:
            self._count_verdict(check)

    def _count_verdict(self, check: Check) -> None:
        """Count by outcome and verdict, whatever they are."""
        result, attempt = check.result, check.result.attempt
        if result.outcome is Outcome.INVALID:
            self.invalid += 1
        elif result.outcome is Outcome.UNREACHED:
            self.unreached += 1
        elif check.verdict.passed:
            self.passed += 1
        else:
            self.failed += 1
        if attempt.error is not None:
            self.by_error[attempt.error.kind.value] += 1
        if check.ok is False:
            self.by_failure[_failure_name(result)] += 1
        self.warned += bool(check.verdict.warnings)
        self.blocked += attempt.blocked_by is not None

    @property
    def total(self) -> int:
        return self.passed + self.failed + self.invalid + self.unreached

    def summary(self, stats: CrawlStats) -> Summary:
        return Summary(
            total=self.total,
            passed=self.passed,
            failed=self.failed,
            invalid=self.invalid,
            unreached=self.unreached,
            bytes=self.bytes,
            by_status=dict(sorted(self.by_status.items())),
            by_error=dict(sorted(self.by_error.items())),
            by_failure=dict(self.by_failure.most_common()),
            flaky=self.flaky,
            warned=self.warned,
            blocked=self.blocked,
            latency=self._latency(),
            stats=stats,
        )

    def _latency(self) -> Latency | None:
        quantiles = self._latencies
        if not quantiles.count:
            return None
        p50, p90, p95, p99, most = quantiles.at(0.50, 0.90, 0.95, 0.99, 1.0)
        mean = quantiles.total / quantiles.count
        return Latency(min=self._least, mean=mean, p50=p50, p90=p90, p95=p95, p99=p99, max=most)


def _failure_name(result: Result) -> str:
    """Return the key of a failure in `by_failure`."""
    if result.attempt.error is not None:
        return result.attempt.error.kind.value
    if result.attempt.blocked_by is not None:
        return BLOCKED_BY_BOT_PROTECTION
    status = f"status {result.attempt.status}"
    if accepted(result):  # but in --fail-on
        return matching_class(result.target.expectation.fail_on, result) or status
    return status
