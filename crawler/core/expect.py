"""A result and the expectation of its target -> a verdict."""

import re

from crawler.core.units import duration
from crawler.models import (
    NO_CLASSES,
    Classes,
    ErrorKind,
    Expectation,
    Outcome,
    Result,
    Verdict,
)

_RANGE = re.compile(r"([0-9]{3})(?:-([0-9]{3}))?|([1-9])xx", re.ASCII | re.IGNORECASE)
_KINDS_OF = {
    "dns": (ErrorKind.DNS_NOT_FOUND, ErrorKind.DNS_TEMPORARY),
    "connect": (ErrorKind.CONNECT_REFUSED, ErrorKind.UNREACHABLE),
    "tls": tuple(kind for kind in ErrorKind if kind.value.startswith("tls_")),
}
_CLASS_OF = {kind: name for name, kinds in _KINDS_OF.items() for kind in kinds}
CLASSES = ("timeout", "dns", "connect", "tls", "blocked", "redirect", "flaky")
NAMES = (
    *CLASSES,
    *(kind.value for kind in ErrorKind if kind is not ErrorKind.INVALID_URL),
)
"""The names that `--fail-on` and `--warn-on` accept, in addition to statuses."""
_RESPONDED = Outcome.RESPONDED  # Python 3.11 takes 0.1 us to look a member up
BLOCKED_BY_BOT_PROTECTION = "blocked by bot protection"


def parse(text: str) -> Expectation:
    """Return the expectation for accepted statuses such as "200,204,300-399" or "2xx".

    Raises ValueError with the part that is wrong and the rule it breaks.
    """
    accept = []
    for part in text.split(","):
        found = _statuses(part)
        if found is None:
            raise ValueError(
                f"contains '{part.strip()}', which is not a status such as 204, 2xx or 200-399"
            )
        accept.append(found)
    return Expectation(accept=tuple(accept))


def classes(text: str) -> Classes:
    """Return the classes of a text such as "timeout,429,5xx". Raises ValueError as `parse` does."""
    names, statuses = set(), []
    for part in text.split(","):
        name = part.strip().lower()
        if name == ErrorKind.INVALID_URL:
            raise ValueError(f"contains '{name}': an invalid URL always fails")
        if name in NAMES:
            names.add(name)
        elif (found := _statuses(part)) is not None:
            statuses.append(found)
        else:
            raise ValueError(
                f"contains '{part.strip()}', which is neither an error kind, nor a status such as "
                f"429 or 5xx, nor a class ({', '.join(CLASSES)})"
            )
    return Classes(names=frozenset(names), statuses=tuple(statuses))


def accepted(result: Result) -> bool:
    """Whether a result is a response of the site itself, with an accepted status."""
    if result.outcome is not _RESPONDED or result.attempt.blocked_by is not None:
        return False
    return _contains(result.target.expectation.accept, result.attempt.status)


def judge(result: Result) -> Verdict:
    """Return the verdict on a result, by the expectation of its target."""
    expectation = result.target.expectation
    good = accepted(result)
    if expectation.fail_on is NO_CLASSES and expectation.warn_on is NO_CLASSES:
        return PASS if good else Verdict(reasons=(_reason(result),))
    if result.outcome is Outcome.INVALID or result.outcome is Outcome.UNREACHED:
        return Verdict(reasons=(_reason(result),))
    if name := matching_class(expectation.fail_on, result):
        return Verdict(reasons=(f"{name} is in --fail-on" if good else _reason(result),))
    if name := matching_class(expectation.warn_on, result):
        return Verdict(warnings=(name if good else _reason(result),))
    return PASS if good else Verdict(reasons=(_reason(result),))


PASS = Verdict()


def _statuses(part: str) -> tuple[int, int] | None:
    """Return the inclusive range of "204", "2xx" or "200-399"; None for any other text.

    Raises ValueError for an empty range.
    """
    match = _RANGE.fullmatch(part.strip())
    if match is None:
        return None
    if match[3]:
        return int(match[3]) * 100, int(match[3]) * 100 + 99
    low, high = int(match[1]), int(match[2] or match[1])
    if low < 100 or high < low:
        raise ValueError(f"contains '{part.strip()}', which is not a valid status range")
    return low, high


def _contains(ranges: tuple[tuple[int, int], ...], status: int | None) -> bool:
    if status is not None:
        for low, high in ranges:
            if low <= status <= high:
                return True
    return False


def matching_class(classes: Classes, result: Result) -> str | None:
    """Return the first of a result's names that is in `classes`; None if it has none."""
    names: list[str] = []
    if result.attempt.error is not None:
        names += [result.attempt.error.kind.value, _CLASS_OF.get(result.attempt.error.kind, "")]
    elif _contains(classes.statuses, result.attempt.status):
        return f"status {result.attempt.status}"
    names += ["blocked"] * (result.attempt.blocked_by is not None)
    names += ["redirect"] * bool(result.attempt.redirects)
    names += ["flaky"] * result.flaky
    return next((name for name in names if name in classes.names), None)


def _reason(result: Result) -> str:
    """Return, for people, why a result does not pass."""
    if result.attempt.error is not None:
        return result.attempt.error.detail
    if result.outcome is Outcome.UNREACHED:
        return "not checked: the run ended first"
    if result.attempt.blocked_by is not None:
        by = f"{result.attempt.blocked_by}, status {result.attempt.status}"
        return f"{BLOCKED_BY_BOT_PROTECTION} ({by})"
    accept = format_statuses(result.target.expectation.accept)
    reason = f"status {result.attempt.status} is not in {accept}"
    if result.attempt.retry_after is not None:
        reason += f"; Retry-After: {duration(result.attempt.retry_after)}"
    return reason


def format_statuses(accept: tuple[tuple[int, int], ...]) -> str:
    """Return ranges of statuses in the form that `parse` reads."""
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in accept)
