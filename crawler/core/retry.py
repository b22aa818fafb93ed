"""A result and its number of attempts -> the delay of a retry in seconds, or None."""

import re
from datetime import UTC

from crawler.core.expect import accepted
from crawler.core.semantics import IDEMPOTENT_METHODS, TRANSIENT_STATUSES
from crawler.models import ErrorKind, Limits, Outcome, Result

MAX_BACKOFF = 30.0  # seconds
DEFAULT_CONFIRM_AFTER = 5.0  # seconds before the recheck, if there is one
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
_HEAD_REFUSED = frozenset({403, 404, 405, 501})  # of servers that respond differently to GET
_SECONDS = re.compile(r"[0-9]+")
_FOREVER = 1e9  # seconds: stands for any longer number
_JITTER = 0.1  # of a Retry-After, added to it


def is_transient(result: Result) -> bool:
    """Whether a result is a transient failure of an idempotent request.

    A response of a bot protection is not transient: more requests would only provoke it.
    """
    if result.target.method not in IDEMPOTENT_METHODS or result.attempt.blocked_by is not None:
        return False
    if result.outcome is Outcome.RESPONDED:
        return result.attempt.status in TRANSIENT_STATUSES and not accepted(result)
    return result.attempt.error is not None and result.attempt.error.kind in TRANSIENT_KINDS


def delay(result: Result, limits: Limits, attempts: int, chance: float) -> float | None:
    """Return the seconds until the retry of a target; None if it is not retried.

    `attempts` is the number of attempts so far, `chance` a random number from 0 to 1. A
    Retry-After longer than `limits.max_wait` means no retry.
    """
    if attempts > limits.retries or not is_transient(result):
        return None
    if result.attempt.retry_after is not None:
        return host_pause(result, limits, attempts, chance)
    return backoff_delay(limits.backoff, attempts, chance)


def worth_rechecking(result: Result, limits: Limits) -> bool:
    """Whether a result is a transient failure without a Retry-After that is too long."""
    return is_transient(result) and not _too_long(result.attempt.retry_after, limits)


def host_pause(result: Result, limits: Limits, attempts: int, chance: float) -> float | None:
    """Return for how many seconds to pause a host because of a Retry-After, else None.

    That is the longer of Retry-After and our own back-off, and up to 10 % more so that not
    all requests return at once. None if Retry-After is longer than `limits.max_wait`.
    """
    retry_after = result.attempt.retry_after
    if retry_after is None or _too_long(retry_after, limits):
        return None
    longer = max(retry_after, backoff_delay(limits.backoff, attempts, chance))
    return min(limits.max_wait, longer * (1 + _JITTER * chance))


def _too_long(retry_after: float | None, limits: Limits) -> bool:
    return retry_after is not None and retry_after > limits.max_wait


def backoff_delay(base: float, attempts: int, chance: float) -> float:
    """Return a random part of `base` seconds, doubled with each attempt ("full jitter").

    Marc Brooker, Exponential Backoff And Jitter, 2015.
    """
    return chance * min(MAX_BACKOFF, base * 2.0 ** min(attempts - 1, 64))


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Return the seconds of a Retry-After field; None if it is missing or malformed.

    It holds a number of seconds or an HTTP date (RFC 9110, sections 10.2.3 and 5.6.7).
    `now` is in seconds since the epoch.
    """
    text = (text or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text) if len(text) < 10 else _FOREVER
    from email.utils import parsedate_to_datetime  # slow to import, for a field that few send

    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # the asctime form has no zone; all are UTC
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - now)
    except (ValueError, OverflowError):
        return None


def refuses_head(result: Result) -> bool:
    """Whether a result of HEAD says nothing about the response to GET."""
    if result.attempt.error is not None:
        return result.attempt.error.kind in _CLOSED_KINDS
    if result.attempt.blocked_by is not None:
        return False
    return result.attempt.status in _HEAD_REFUSED and not accepted(result)
