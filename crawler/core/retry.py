"""A result and how often it was asked -> seconds to wait before it is asked again, or None."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

from crawler.core.expect import accepted
from crawler.core.semantics import IDEMPOTENT_METHODS, TRANSIENT_STATUSES
from crawler.models import ErrorKind, Limits, Outcome, Result

MAX_BACKOFF = 30.0  # seconds a back-off lasts at most
TRANSIENT_KINDS = frozenset(
    {
        ErrorKind.DNS_TEMPORARY,
        ErrorKind.CONNECT_REFUSED,
        ErrorKind.UNREACHABLE,
        ErrorKind.RESET,
        ErrorKind.DISCONNECTED,
        ErrorKind.TIMEOUT,
    }
)
_CLOSED_KINDS = frozenset({ErrorKind.RESET, ErrorKind.DISCONNECTED})
_HEAD_REFUSED = frozenset({403, 404, 405, 501})  # answers of servers that answer GET otherwise
_SECONDS = re.compile(r"[0-9]+")
_FOREVER = 1e9  # seconds: for any number with more digits
_JITTER = 0.1  # of the wait that a server asks for


def is_transient(result: Result) -> bool:
    """Whether a result is a failure that says little about the next attempt.

    One by bot protection says a lot: it would only be provoked.
    """
    if result.target.method not in IDEMPOTENT_METHODS or result.attempt.blocked_by is not None:
        return False
    if result.outcome is Outcome.RESPONDED:
        return result.attempt.status in TRANSIENT_STATUSES and not accepted(result)
    return result.attempt.error is not None and result.attempt.error.kind in TRANSIENT_KINDS


def delay(result: Result, limits: Limits, attempts: int, chance: float) -> float | None:
    """Return the seconds until a target may be asked again, None where it may not.

    `attempts` is how often it was asked, `chance` a random number from 0 to 1. None, too,
    where its server asks for a longer wait than `limits.max_wait`.
    """
    if attempts > limits.retries or not is_transient(result):
        return None
    if result.attempt.retry_after is not None:
        return host_pause(result, limits, attempts, chance)
    return backoff_delay(limits.backoff, attempts, chance)


def worth_rechecking(result: Result, limits: Limits) -> bool:
    """Whether a failure is worth a second opinion: not where its server asks for longer."""
    return is_transient(result) and not _too_long(result.attempt.retry_after, limits)


def host_pause(result: Result, limits: Limits, attempts: int, chance: float) -> float | None:
    """Return for how many seconds a host asks to be left alone, None where it does not.

    The longer of what it says and of our own back-off, and some more so that not all come
    back at once; None where that is longer than `limits.max_wait`.
    """
    asked = result.attempt.retry_after
    if asked is None or _too_long(asked, limits):
        return None
    longer = max(asked, backoff_delay(limits.backoff, attempts, chance))
    return min(limits.max_wait, longer * (1 + _JITTER * chance))


def _too_long(asked: float | None, limits: Limits) -> bool:
    return asked is not None and asked > limits.max_wait


def backoff_delay(base: float, attempts: int, chance: float) -> float:
    """Return a random part of a time that doubles with each attempt ("full jitter").

    Marc Brooker, Exponential Backoff And Jitter, 2015.
    """
    return chance * min(MAX_BACKOFF, base * 2.0 ** min(attempts - 1, 64))


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After asks to wait, None where it is none.

    It is a number of seconds or an HTTP date (RFC 9110, sections 10.2.3 and 5.6.7); `now`
    is in seconds since the epoch.
    """
    text = (text or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text) if len(text) < 10 else _FOREVER
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # the form of asctime names no zone; all are UTC
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - now)
    except (ValueError, OverflowError):
        return None


def refuses_head(result: Result) -> bool:
    """Whether the answer to a HEAD says nothing about what GET would give."""
    if result.attempt.error is not None:
        return result.attempt.error.kind in _CLOSED_KINDS
    if result.attempt.blocked_by is not None:
        return False
    return result.attempt.status in _HEAD_REFUSED and not accepted(result)
