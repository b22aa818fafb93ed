"""Snapshots of the progress -> a live bar on a terminal."""

import os
import select
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

from crawler.core.display import escape
from crawler.core.summary import Snapshot
from crawler.core.units import duration


class ProgressBar:
    """A progress bar on standard error for the duration of a run; it is erased at the end."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        console = Console(file=terminal, highlight=False)
        self._bar = Progress(
            BarColumn(bar_width=24), _Status(), console=console, auto_refresh=False, transient=True
        )
        self._task = self._bar.add_task("", total=None, snapshot=None)

    def start(self) -> None:
        self._bar.start()

    def show(self, snapshot: Snapshot) -> None:
        total = snapshot.total
        self._bar.update(self._task, completed=snapshot.done, total=total, snapshot=snapshot)
        self._bar.refresh()

    def notify(self, text: str) -> None:
        """Print one line above the bar."""
        self._bar.console.print(f"crawl: {escape(text)}", markup=False, soft_wrap=True)

    def stop(self) -> None:
        self._bar.stop()

    def abandon(self) -> None:
        """Show the cursor again if that does not block: the process is about to exit."""
        fd = self._terminal.fileno()
        if select.select([], [fd], [], 0)[1]:
            os.write(fd, b"\x1b[?25h")


class _Status(ProgressColumn):
    max_refresh = None

    def render(self, task: Task) -> Text:
        snapshot: Snapshot | None = task.fields["snapshot"]
        return Text() if snapshot is None else Text(status_line(snapshot), no_wrap=True)


def status_line(snapshot: Snapshot) -> str:
    """Return the progress in words: counts, rate, and the time left if the total is known."""
    rate = snapshot.done / snapshot.elapsed if snapshot.elapsed > 0 else 0.0
    about = "~" if snapshot.estimated else ""
    total = "" if snapshot.total is None else f"/{about}{snapshot.total:,}"
    parts = [
        f"{snapshot.done:,}{total}",
        f"{snapshot.passed:,} passed",
        f"{snapshot.failed:,} failed",
        f"{snapshot.in_flight:,} in flight",
        f"{rate:,.0f}/s",
    ]
    if snapshot.total is not None and rate > 0:
        parts.append(f"{duration(max(0.0, (snapshot.total - snapshot.done) / rate))} left")
    return "  ".join(parts)
