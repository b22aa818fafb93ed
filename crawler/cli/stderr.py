"""Messages for people -> lines on standard error, safe to show."""

import sys
from contextlib import suppress

from crawler.core.display import safe


def print_line(text: str, masked: frozenset[str] = frozenset()) -> None:
    """Print one line to standard error, if there is one.

    `masked` are query parameters whose values are hidden, in addition to the well-known ones.
    """
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"crawl: {safe(text, masked)}", file=sys.stderr, flush=True)
