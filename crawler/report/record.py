"""A check -> the record of schema 1: plain values in a fixed order, secrets masked."""

import json
from datetime import UTC, datetime
from typing import Any

from crawler.core.display import escape_surrogates, mask
from crawler.core.summary import Summary, exit_code
from crawler.models import Attempt, Check, Failure, Result, Tls

SCHEMA = 1
_to_json = json.JSONEncoder(allow_nan=False, check_circular=False).encode


def encode(value: Any) -> str:
    """Return strict JSON in ASCII, without the marks that steer CI runners ("##[", "##vso[")."""
    text = _to_json(value)
    return text.replace("##", r"\u0023\u0023") if "##" in text else text


def record(check: Check) -> dict[str, Any]:
    """Return the record of one URL; every key is always there, unknown is None.

    Times are milliseconds, sizes bytes.
    """
    result = check.result
    target = result.target
    masked = target.masked
    return {
        "schema": SCHEMA,
        "index": target.index,
        "source": target.source,
        "line": target.line,
        "input": _clean(target.input, masked),
        "url": _clean(target.url, masked),
        "final_url": _clean(result.attempt.final_url, masked),
        "method": target.method,
        "ok": check.ok,
        "outcome": result.outcome.value,
        "status": result.attempt.status,
        "size": result.attempt.size,
        "latency_ms": _ms(result.attempt.latency),
        "ttfb_ms": _ms(result.attempt.ttfb),
        "timings_ms": _timings(result),
        "attempts": result.attempts,
        "redirects": [
            {"url": _clean(hop.url, masked), "status": hop.status}
            for hop in result.attempt.redirects
        ],
        "http_version": result.attempt.http_version,
        "remote_ip": result.attempt.remote_ip,
        "content_type": _clean(result.attempt.content_type, masked),
        "content_length": result.attempt.content_length,
        "truncated": result.attempt.truncated,
        "error": _error(result.attempt.error, masked),
        "reasons": [_clean(reason, masked) for reason in check.verdict.reasons],
        "timestamp": _timestamp(result.timestamp),
        "tls": _tls(result.attempt.tls),
        "retried": [_earlier(one) for one in result.earlier],
        "flaky": result.flaky,
        "hedged": result.hedged,
        "blocked_by": result.attempt.blocked_by,
        "warned": bool(check.verdict.warnings),
    }


def summary(of: Summary) -> dict[str, Any]:
    """Return the summary object: the counts, and how the crawl went as a whole."""
    latency = of.latency
    return {
        "total": of.total,
        "passed": of.passed,
        "failed": of.failed,
        "invalid": of.invalid,
        "unreached": of.unreached,
        "complete": of.complete,
        "bytes": of.bytes,
        "elapsed_s": round(of.stats.elapsed, 3),
        "requests_per_s": None if of.requests_per_s is None else round(of.requests_per_s, 1),
        "latency_ms": {
            name: _ms(getattr(latency, name)) if latency else None
            for name in ("min", "mean", "p50", "p90", "p95", "p99", "max")
        },
        "by_status": {str(status): count for status, count in of.by_status.items()},
        "by_error": of.by_error,
        "exit_code": int(exit_code(of)),
        "duplicates": of.stats.duplicates,
        "flaky": of.flaky,
        "warned": of.warned,
        "blocked": of.blocked,
    }


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


def _error(error: Failure | None, masked: frozenset[str]) -> dict[str, str | None] | None:
    if error is None:
        return None
    phase = error.phase.value if error.phase else None
    return {"kind": error.kind.value, "phase": phase, "detail": _clean(error.detail, masked)}


def _earlier(attempt: Attempt) -> dict[str, str | int | None]:
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
    """Return RFC 3339, UTC, with milliseconds."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
