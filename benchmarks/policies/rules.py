"""The documented rules of retries, verdicts and exit codes, written down a second time.

Deliberately not the program's own code: a fault there must not be repeated here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.policies.scenario import Options

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
TRANSIENT_KINDS = frozenset(
    {"dns_temporary", "connect_refused", "unreachable", "reset", "disconnected", "timeout"}
)
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEAD_REFUSED = frozenset({403, 404, 405, 501})
_CLASSES = {
    "connect": ("connect_refused", "unreachable"),
    "dns": ("dns_not_found", "dns_temporary"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt as recorded: how it ended, by error kind or by status."""

    method: str
    kind: str | None
    status: int | None
    blocked: bool = False

    @property
    def ended(self) -> str | int | None:
        return self.status if self.kind is None else self.kind


def attempts(record: Mapping[str, Any]) -> list[Attempt]:
    """Return the attempts of a record in order, the one that counted last."""
    found = [
        Attempt(method=e["method"], kind=e["kind"], status=e["status"]) for e in record["retried"]
    ]
    if record["outcome"] in ("responded", "error"):
        kind = None if record["error"] is None else record["error"]["kind"]
        status = None if kind is not None else record["status"]
        blocked = record["blocked_by"] is not None
        found.append(Attempt(method=record["method"], kind=kind, status=status, blocked=blocked))
    return found


def within(status: int | None, ranges: str) -> bool:
    """Whether a status lies in "200-299,404,5xx"."""
    if status is None:
        return False
    for part in ranges.split(","):
        low, _, high = part.replace("xx", "00").partition("-")
        top = int(low) + 99 if part.endswith("xx") else int(high or low)
        if int(low) <= status <= top:
            return True
    return False


def transient(attempt: Attempt, options: Options) -> bool:
    """Whether an attempt ended in a failure that may be retried."""
    if attempt.method not in IDEMPOTENT or attempt.blocked:
        return False
    if attempt.kind is not None:
        return attempt.kind in TRANSIENT_KINDS
    return attempt.status in TRANSIENT_STATUSES and not within(attempt.status, options.accept)


def refuses_head(attempt: Attempt, options: Options) -> bool:
    """Whether an attempt with HEAD is to be followed by one with GET."""
    if not options.head or attempt.method != "HEAD" or attempt.blocked:
        return False
    if attempt.kind is not None:
        return attempt.kind in ("reset", "disconnected")
    return attempt.status in _HEAD_REFUSED and not within(attempt.status, options.accept)


def verdict(record: Mapping[str, Any], options: Options) -> tuple[bool | None, bool]:
    """Return the `ok` and `warned` that follow from the facts of a record."""
    if record["outcome"] == "unreached":
        return None, False
    if record["outcome"] == "invalid":
        return False, False
    accepted = record["outcome"] == "responded" and record["blocked_by"] is None
    good = accepted and within(record["status"], options.accept)
    if options.fail_on and _belongs(record, options.fail_on):
        return False, False
    if options.warn_on and _belongs(record, options.warn_on):
        return True, True
    return good, False


def _belongs(record: Mapping[str, Any], names: str) -> bool:
    """Whether a result is in one of the classes, error kinds or status ranges named."""
    kind = None if record["error"] is None else record["error"]["kind"]
    given = names.split(",")
    statuses = [name for name in given if re.match(r"[0-9]", name)]
    if kind is None and any(within(record["status"], name) for name in statuses):
        return True
    mine = {
        "blocked": record["blocked_by"] is not None or kind == "blocked",
        "redirect": bool(record["redirects"]),
        "flaky": record["flaky"],
        "tls": kind is not None and kind.startswith("tls_"),
        **{name: kind in kinds for name, kinds in _CLASSES.items()},
    }
    return any(mine.get(name, name == kind) for name in given)


def exit_code(
    records: Sequence[Mapping[str, Any]], options: Options, *, complete: bool, interrupted: bool
) -> int:
    """Return the exit code that follows from the records (0, 1, 2, 3, or 130 after Ctrl-C)."""
    if interrupted:
        return 130
    if not records:
        return 2
    failures = sum(record["ok"] is False for record in records)
    tolerated = options.max_failures
    if tolerated.endswith("%"):
        too_many = failures / len(records) > float(tolerated[:-1]) / 100
    else:
        too_many = failures > int(tolerated)
    if too_many:
        return 1
    return 0 if complete else 3
