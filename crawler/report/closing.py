"""A summary -> the lines under the table, each with its style."""

from crawler.core.summary import Summary
from crawler.core.units import duration, size

_REPORTED_LAG = 0.1  # seconds of event-loop lag from which it is reported


def lines(summary: Summary) -> list[tuple[str, str]]:
    """Return the lines, each with its style; the last one has the counts."""
    found: list[tuple[str, str]] = []
    if summary.by_failure:
        kinds = [
            f"{count:,} {kind.replace('_', ' ')}" for kind, count in summary.by_failure.items()
        ]
        found.append((f"Failures: {', '.join(kinds)}", "red"))
    if latency := summary.latency:
        figures = [(name, getattr(latency, name)) for name in ("p50", "p95", "p99", "max")]
        shown = ", ".join(f"{name} {duration(value)}" for name, value in figures)
        found.append((f"Latency: {shown}", ""))
    if summary.stats.lag > _REPORTED_LAG:
        lag = duration(summary.stats.lag)
        found.append((f"Local delay: latencies may include up to {lag} of event-loop lag", ""))
    if summary.stats.stopped:
        stopped = duration(summary.stats.stopped)
        line = f"This process was stopped for {stopped}: latencies and timeouts exclude that time"
        found.append((line, ""))
    rate = f", {summary.requests_per_s:,.1f} URLs/s" if summary.requests_per_s else ""
    took = duration(summary.stats.elapsed)
    found.append((f"Transfer: {size(summary.bytes)} in {took}{rate}", ""))
    if summary.stats.duplicates:
        found.append((f"Skipped: {counted(summary.stats.duplicates, 'duplicate')}", ""))
    all_passed = summary.passed == summary.total and summary.total
    found.append((last_line(summary), "bold green" if all_passed else "bold red"))
    return found


def last_line(summary: Summary) -> str:
    """Return the counts in one line: `Total: 3 URLs, 3 success, 0 failed`."""
    parts = [
        counted(summary.total, "URL"),
        f"{summary.passed:,} success",
        f"{summary.failed:,} failed",
    ]
    if summary.flaky:
        parts.append(f"{summary.flaky:,} flaky")
    if summary.warned:
        parts.append(counted(summary.warned, "warning"))
    if summary.invalid:
        parts.append(f"{summary.invalid:,} invalid")
    if summary.unreached:
        parts.append(f"{summary.unreached:,} unreached")
    return f"Total: {', '.join(parts)}"


def counted(count: int, noun: str) -> str:
    """Return a number and its noun: `1 URL`, `1,234 URLs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
