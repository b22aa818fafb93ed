"""A check -> its record (schema 1), a summary -> its object: fixed key order, secrets masked."""

import json
import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from crawler.core.display import escape_surrogates, mask
from crawler.core.exitcode import exit_code
from crawler.core.summary import Summary
from crawler.models import Attempt, Check, Failure, Result, Tls

SCHEMA = 1
_WORDS = {True: "true", False: "false", None: "null"}
_quote = json.encoder.encode_basestring_ascii
_to_json = json.JSONEncoder(allow_nan=False, check_circular=False).encode


def encode(value: Any) -> str:
    """Return strict ASCII JSON without the command marks of CI runners ("##[", "##vso[")."""
    return _without_marks(_to_json(value))


def dump(check: Check) -> dict[str, Any]:
    """Return the record of a check. All keys are always present; unknown values are None.

    Times are in milliseconds, sizes in bytes.
    """
    result = check.result
    target, attempt, masked = result.target, result.attempt, result.target.masked
    return {
        "schema": SCHEMA,
        "index": target.index,
        "source": target.source,
        "line": target.line,
        "input": _clean(target.input, masked),
        "url": _clean(target.url, masked),
        "final_url": _clean(attempt.final_url, masked),
        "method": target.method,
        "ok": check.ok,
        "outcome": result.outcome.value,
        "status": attempt.status,
        "size": attempt.size,
        "latency_ms": _ms(attempt.latency),
        "ttfb_ms": _ms(attempt.ttfb),
        "timings_ms": _timings(result),
        "attempts": result.attempts,
        "redirects": _redirects(attempt, masked),
        "http_version": attempt.http_version,
        "remote_ip": attempt.remote_ip,
        "content_type": _clean(attempt.content_type, masked),
        "content_length": attempt.content_length,
        "truncated": attempt.truncated,
        "error": _error(attempt.error, masked),
        "reasons": _reasons(check, masked),
        "timestamp": _timestamp(result.timestamp),
        "tls": _tls(attempt.tls),
        "retried": [_retried(attempt) for attempt in result.earlier],
        "flaky": result.flaky,
        "hedged": result.hedged,
        "blocked_by": attempt.blocked_by,
        "warned": bool(check.verdict.warnings),
    }


def dumps(check: Check) -> str:
    """Return `encode(dump(check))`, in a third of the time.

    One template; only the rare nested values go through the JSON encoder.
    """
    result, verdict = check.result, check.verdict
    target, attempt, timings = result.target, result.attempt, result.attempt.timings
    line, masked = target.line, target.masked
    status, size, length = attempt.status, attempt.size, attempt.content_length
    url = _text(target.url, masked)
    written = url if target.input == target.url else _text(target.input, masked)
    final = url if attempt.final_url == target.url else _text(attempt.final_url, masked)
    text = (
        f'{{"schema": {SCHEMA}, "index": {target.index}, "source": {_quoted(target.source)}, '
        f'"line": {"null" if line is None else line}, "input": {written}, "url": {url}, '
        f'"final_url": {final}, "method": {_quoted(target.method)}, "ok": {_WORDS[check.ok]}, '
        f'"outcome": {_quoted(result.outcome)}, "status": {"null" if status is None else status}, '
        f'"size": {"null" if size is None else size}, "latency_ms": {_ms_text(attempt.latency)}, '
        f'"ttfb_ms": {_ms_text(attempt.ttfb)}, "timings_ms": {{"queue": {_ms_text(result.queue)}, '
        f'"dns": {_ms_text(timings.dns)}, "connect": {_ms_text(timings.connect)}, '
        f'"tls": {_ms_text(timings.tls)}, "wait": {_ms_text(timings.wait)}, '
        f'"download": {_ms_text(timings.download)}}}, "attempts": {result.attempts}, '
        f'"redirects": {_to_json(_redirects(attempt, masked)) if attempt.redirects else "[]"}, '
        f'"http_version": {_quoted(attempt.http_version)}, '
        f'"remote_ip": {_quoted(attempt.remote_ip)}, '
        f'"content_type": {_text(attempt.content_type, masked)}, '
        f'"content_length": {"null" if length is None else length}, '
        f'"truncated": {_WORDS[attempt.truncated]}, '
        f'"error": {_to_json(_error(attempt.error, masked)) if attempt.error else "null"}, '
        f'"reasons": {_to_json(_reasons(check, masked)) if verdict.reasons else "[]"}, '
        f'"timestamp": {_time_text(result.timestamp)}, '
        f'"tls": {_to_json(_tls(attempt.tls)) if attempt.tls else "null"}, '
        f'"retried": {_to_json([*map(_retried, result.earlier)]) if result.earlier else "[]"}, '
        f'"flaky": {_WORDS[result.flaky]}, "hedged": {_WORDS[result.hedged]}, '
        f'"blocked_by": {_quoted(attempt.blocked_by)}, "warned": {_WORDS[bool(verdict.warnings)]}}}'
    )
    return _without_marks(text)


def dump_summary(summary: Summary) -> dict[str, Any]:
    """Return the summary object: the counts, and the figures of the whole run."""
    latency = summary.latency
    return {
        "total": summary.total,
        "passed": summary.passed,
        "failed": summary.failed,
        "invalid": summary.invalid,
        "unreached": summary.unreached,
        "complete": summary.complete,
        "bytes": summary.bytes,
        "elapsed_s": round(summary.stats.elapsed, 3),
        "requests_per_s": None
        if summary.requests_per_s is None
        else round(summary.requests_per_s, 1),
        "latency_ms": {
            name: _ms(getattr(latency, name)) if latency else None
            for name in ("min", "mean", "p50", "p90", "p95", "p99", "max")
        },
        "by_status": {str(status): count for status, count in summary.by_status.items()},
        "by_error": summary.by_error,
        "exit_code": int(exit_code(summary)),
        "duplicates": summary.stats.duplicates,
        "flaky": summary.flaky,
        "warned": summary.warned,
        "blocked": summary.blocked,
    }


def _without_marks(text: str) -> str:
    if "#" not in text:  # a search for one character is 30 times as fast as one for two
        return text
    return text.replace("##", r"\u0023\u0023")


def _text(text: str | None, masked: frozenset[str]) -> str:
    """Return the JSON of a text as `_clean` leaves it."""
    if text is None:
        return "null"
    if "@" in text or "=" in text or not text.isascii():
        return _quote(_clean(text, masked) or "")
    return _quote(text)


def _quoted(text: str | None) -> str:
    return "null" if text is None else _quote(text)


def _ms_text(seconds: float | None) -> str:
    """Return the JSON of `_ms(seconds)`, in half the time."""
    if seconds is None:
        return "null"
    text = f"{seconds * 1000:.3f}"
    if text[-1] != "0" and seconds < 1e6:  # up to 15 digits, none too many: as `repr` has them
        return text
    return repr(round(seconds * 1000, 3))


def _time_text(seconds: float | None) -> str:
    """Return the JSON of a timestamp, with microseconds rounded as `datetime` rounds them."""
    if seconds is None:
        return "null"
    fraction, whole = math.modf(seconds)
    micros = round(fraction * 1e6)
    if not 0 <= micros < 1_000_000:
        return _quoted(_timestamp(seconds))
    millis = str(micros // 1000).zfill(3)  # a format with a width takes four times as long
    return f'"{_second(int(whole))}.{millis}Z"'


@lru_cache(maxsize=8)
def _second(whole: int) -> str:
    """Return a UTC second in RFC 3339 form, without fraction and zone."""
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _clean(text: str | None, masked: frozenset[str] = frozenset()) -> str | None:
    return None if text is None else mask(escape_surrogates(text), masked)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _timings(result: Result) -> dict[str, float | None]:
    timings = result.attempt.timings
    return {
        "queue": _ms(result.queue),
        "dns": _ms(timings.dns),
        "connect": _ms(timings.connect),
        "tls": _ms(timings.tls),
        "wait": _ms(timings.wait),
        "download": _ms(timings.download),
    }


def _redirects(attempt: Attempt, masked: frozenset[str]) -> list[dict[str, str | int | None]]:
    return [{"url": _clean(hop.url, masked), "status": hop.status} for hop in attempt.redirects]


def _reasons(check: Check, masked: frozenset[str]) -> list[str | None]:
    return [_clean(reason, masked) for reason in check.verdict.reasons]


def _error(error: Failure | None, masked: frozenset[str]) -> dict[str, str | None] | None:
    if error is None:
        return None
    phase = error.phase.value if error.phase else None
    return {"kind": error.kind.value, "phase": phase, "detail": _clean(error.detail, masked)}


def _retried(attempt: Attempt) -> dict[str, str | int | None]:
    kind = attempt.error.kind.value if attempt.error else None
    status = attempt.status if kind is None else None
    return {"method": attempt.method, "kind": kind, "status": status}


def _tls(tls: Tls | None) -> dict[str, str | None] | None:
    if tls is None:
        return None
    return {
        "version": tls.version,
        "cipher": tls.cipher,
        "expires": _timestamp(tls.expires),
        "issuer": _clean(tls.issuer),
        "subject": _clean(tls.subject),
    }


def _timestamp(seconds: float | None) -> str | None:
    """Return a time in RFC 3339 form, UTC, with milliseconds."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
