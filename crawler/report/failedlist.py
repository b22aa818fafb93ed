"""Checks -> the list of those that did not pass, each after its reason, for another run."""

from crawler.core.display import safe, safe_loosely
from crawler.core.summary import Summary
from crawler.models import Check


def begin() -> str:
    return ""


def element(check: Check, first: bool) -> str:  # noqa: ARG001 - no separator between elements
    """Return the line as written in the input, after a comment; empty if the check passed."""
    if check.ok:
        return ""
    target = check.result.target
    line = target.input if target.written is None else target.written
    reason = safe(check.verdict.explanation, target.masked)
    if "\n" in line or "\r" in line:  # an argument: in a list it would become two entries
        return f"# {reason}\n# {safe_loosely(line, target.masked)}\n"
    return f"# {reason}\n{line}\n"


def end(summary: Summary) -> str:
    return "" if summary.stats.list_read else "# incomplete: the list was not read to the end\n"
