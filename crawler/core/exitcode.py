"""Summary -> exit code."""

from enum import IntEnum

from crawler.core.summary import Summary


class ExitCode(IntEnum):
    """Exit codes of the process; 128 + N if signal N ended it."""

    PASSED = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3


def exit_code(summary: Summary) -> int:
    """Return the exit code of the process for this crawl."""
    if summary.stats.interrupted is not None:
        return 128 + summary.stats.interrupted
    stats = summary.stats
    if stats.output_failed or stats.list_failed or stats.faulty or not summary.total:
        return ExitCode.USAGE
    if not stats.tolerance.covers(summary.failed + summary.invalid, summary.total):
        return ExitCode.FAILED
    if not summary.complete:
        return ExitCode.INCOMPLETE
    return ExitCode.PASSED
