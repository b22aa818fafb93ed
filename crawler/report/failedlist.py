"""Checks that did not pass -> a list of their lines, each with the reason, to be asked again."""

from crawler.core.display import safe, safe_loosely
from crawler.core.summary import Summary
from crawler.models import Check


def begin() -> str:
    return ""


def element(check: Check, first: bool) -> str:  # noqa: ARG001 - what stands first is no different
    """Return the line as it stood in the list, after a comment; nothing for one that passed."""
    if check.ok:
        return ""
    target = check.result.target
    line = target.input if target.written is None else target.written
    reason = safe(check.verdict.explanation, target.masked)
    if "\n" in line or "\r" in line:  # an argument: in a list it would be two entries
        return f"# {reason}\n# {safe_loosely(line, target.masked)}\n"
    return f"# {reason}\n{line}\n"


def end(summary: Summary) -> str:
    return "" if summary.stats.list_read else "# the list was not read to its end\n"
