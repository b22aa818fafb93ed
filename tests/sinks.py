"""Sinks to test with: one that keeps what it accepts, one that fails, one that blocks."""

import errno
import threading

from crawler.core.summary import Summary
from crawler.models import Check


class Kept:
    """A sink that keeps the checks and the summaries it accepts."""

    def __init__(self, name: str = "kept") -> None:
        self.name = name
        self.checks: list[Check] = []
        self.summaries: list[Summary] = []
        self._buffered: list[Check] = []

    def accept(self, check: Check) -> None:
        self._buffered.append(check)

    def accept_deferred(self) -> bool:
        return False

    def flush(self) -> None:
        buffered, self._buffered = self._buffered, []
        for one in buffered:
            self.write(one)

    def write(self, check: Check) -> None:
        self.checks.append(check)

    def finish(self, summary: Summary) -> None:
        self.summaries.append(summary)


class Broken(Kept):
    """A sink that fails after `after` checks; -1 means at the end."""

    def __init__(self, error: OSError, after: int = 0, name: str = "broken") -> None:
        super().__init__(name)
        self.error = error
        self.after = after

    def write(self, check: Check) -> None:
        if len(self.checks) == self.after:
            raise self.error
        super().write(check)

    def finish(self, summary: Summary) -> None:
        raise self.error


class Valve(Kept):
    """A sink that blocks at the first check until it is opened."""

    def __init__(self) -> None:
        super().__init__("valve")
        self.opened = threading.Event()
        self.reached = threading.Event()

    def write(self, check: Check) -> None:
        self.reached.set()
        assert self.opened.wait(30)
        super().write(check)


FULL = OSError(errno.ENOSPC, "No space left on device")
GONE = BrokenPipeError(errno.EPIPE, "Broken pipe")
