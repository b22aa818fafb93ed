"""Checks and a summary -> a table and closing lines; progress -> a live bar. The only rich."""

import io
import os
import select
from typing import TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Table
from rich.text import Text

from crawler.core.display import display, mask
from crawler.core.summary import Summary
from crawler.core.units import duration, size
from crawler.models import Check, Outcome
from crawler.models import Progress as Reading
from crawler.report.rows import FAILURES, NOTED, Rows, remark
from crawler.report.streams import Stream

_BY_CLASS = {1: "cyan", 2: "green", 3: "cyan", 4: "red", 5: "magenta"}
_NARROWEST = 12  # columns that a URL and a reason need each; with fewer, lines go uncut
_LAG = 0.1  # seconds the event loop may be late before the reader is told
_ENDLESS = 1_000_000  # columns: what is not a terminal gets its lines uncut


class TableSink:
    """Shows the table and the summary when all is over.

    `terminal` is None where the output is none: then the same table comes as plain
    text, one line for each URL, never cut. `everything` shows all rows.
    """

    def __init__(self, stream: Stream, *, terminal: TextIO | None, everything: bool) -> None:
        self.name = stream.name
        self._stream = stream
        self._terminal = terminal
        self._rows = Rows(everything=everything)

    def write(self, check: Check) -> None:
        self._rows.add(check)

    def catch_up(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing yet: what the table looks like is known at the end."""

    def finish(self, summary: Summary) -> None:
        if not summary.total:
            return  # standard error says that there was nothing to check
        shown = self._rows.shown()
        parts: list[RenderableType] = []
        width = None if self._terminal is None else Console(file=self._terminal).width
        if shown:
            table = _table(shown, width)
            if table is None:
                table, width = _table(shown, None), None
            assert table is not None
            parts.append(table)
        if len(shown) < self._rows.total:
            parts.append(Text(_left_out(shown, self._rows.total), style="dim"))
        parts += [Text(), *_closing(summary)]
        self._stream.write(self._render(Group(*parts), width or _ENDLESS))
        self._stream.close()

    def _render(self, content: RenderableType, width: int) -> str:
        if self._terminal is not None:
            console = Console(file=self._terminal, width=width, highlight=False)
        else:
            console = Console(
                file=io.StringIO(),
                width=width,
                color_system=None,
                force_terminal=False,
                highlight=False,
            )
        with console.capture() as capture:
            console.print(content)
        return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def closing_line(summary: Summary) -> str:
    """Return the counts in one line: `Total: 3 URLs, 3 success, 0 failed`."""
    parts = [
        _many(summary.total, "URL"),
        f"{summary.passed:,} success",
        f"{summary.failed:,} failed",
    ]
    if summary.flaky:
        parts.append(f"{summary.flaky:,} flaky")
    if summary.warned:
        parts.append(_many(summary.warned, "warning"))
    if summary.invalid:
        parts.append(f"{summary.invalid:,} invalid")
    if summary.unreached:
        parts.append(f"{summary.unreached:,} unreached")
    return f"Total: {', '.join(parts)}"


class ProgressBar:
    """A bar on standard error while a crawl runs; it leaves nothing behind."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        console = Console(file=terminal, highlight=False)
        self._bar = Progress(
            BarColumn(bar_width=24), _Status(), console=console, auto_refresh=False, transient=True
        )
        self._task = self._bar.add_task("", total=None, reading=None)

    def start(self) -> None:
        self._bar.start()

    def show(self, reading: Reading) -> None:
        total = reading.total
        self._bar.update(self._task, completed=reading.done, total=total, reading=reading)
        self._bar.refresh()

    def say(self, text: str) -> None:
        """Write one line above the bar."""
        self._bar.console.print(f"crawl: {display(text)}", markup=False, soft_wrap=True)

    def stop(self) -> None:
        self._bar.stop()

    def abandon(self) -> None:
        """Show the cursor again, if the terminal takes it at once: nothing may wait now."""
        fd = self._terminal.fileno()
        if select.select([], [fd], [], 0)[1]:
            os.write(fd, b"\x1b[?25h")


class _Status(ProgressColumn):
    max_refresh = None

    def render(self, task: Task) -> Text:
        reading: Reading | None = task.fields["reading"]
        return Text() if reading is None else Text(status_line(reading), no_wrap=True)


def status_line(reading: Reading) -> str:
    """Return progress in words: counts, rate and the time left where a total is known."""
    rate = reading.done / reading.elapsed if reading.elapsed > 0 else 0.0
    about = "~" if reading.estimated else ""
    total = "" if reading.total is None else f"/{about}{reading.total:,}"
    parts = [
        f"{reading.done:,}{total}",
        f"{reading.passed:,} passed",
        f"{reading.failed:,} failed",
        f"{reading.in_flight:,} in flight",
        f"{rate:,.0f}/s",
    ]
    if reading.total is not None and rate > 0:
        parts.append(f"{duration(max(0.0, (reading.total - reading.done) / rate))} left")
    return "  ".join(parts)


def _table(checks: list[Check], width: int | None) -> Table | None:
    """Return the table for so many columns, None where they are too few; uncut without `width`."""
    rows = [
        [
            Text(display(mask(check.result.target.url, check.result.target.masked))),
            _status(check),
            Text(size(check.result.size) + ("+" if check.result.truncated else "")),
            Text(duration(check.result.latency)),
            Text(display(mask(remark(check), check.result.target.masked))),
        ]
        for check in checks
    ]
    plain = width is None
    names = ["URL", "Status", "Size", "Latency"]
    if any(row[4].plain for row in rows):
        names.append("Reason")
    widest = [
        max(len(name), *(row[place].cell_len for row in rows)) for place, name in enumerate(names)
    ]
    fixed: dict[str, int] = {}
    if width is not None:
        room = width - sum(widest[1:4]) - 3 * len(names) + 1  # three between columns, two outside
        reason = sum(widest[4:])
        if widest[0] + reason > room:
            if room < 2 * _NARROWEST:
                return None
            # A URL is to be copied: it keeps at least half, and what the reasons do not need.
            fixed["URL"] = min(widest[0], max(room // 2, room - reason))
            fixed["Reason"] = room - fixed["URL"]
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, highlight=False)
    for name in names:
        table.add_column(
            name,
            justify="right" if name in ("Size", "Latency") else "left",
            overflow="fold",
            no_wrap=plain or name not in ("URL", "Reason"),
            width=fixed.get(name),
        )
    for row in rows:
        table.add_row(*row[: len(names)])
    return table


def _status(check: Check) -> Text:
    result = check.result
    if result.outcome is Outcome.RESPONDED:
        status = result.status or 0
        return Text(str(status), style=_BY_CLASS.get(status // 100, "yellow"))
    if result.error is not None:
        return Text(result.error.kind.value.replace("_", " "), style="red")
    return Text(result.outcome.value, style="yellow")


def _closing(summary: Summary) -> list[Text]:
    lines = []
    if summary.by_failure:
        kinds = [
            f"{count:,} {kind.replace('_', ' ')}" for kind, count in summary.by_failure.items()
        ]
        lines.append(Text(f"Failures: {', '.join(kinds)}", style="red"))
    if latency := summary.latency:
        figures = [(name, getattr(latency, name)) for name in ("p50", "p95", "p99", "max")]
        shown = ", ".join(f"{name} {duration(value)}" for name, value in figures)
        lines.append(Text(f"Latency: {shown}"))
    if summary.crawl.lag > _LAG:
        late = duration(summary.crawl.lag)
        lines.append(Text(f"This machine was busy: up to {late} of a latency may be its own"))
    rate = f", {summary.requests_per_s:,.1f} URLs/s" if summary.requests_per_s else ""
    took = duration(summary.crawl.elapsed)
    lines.append(Text(f"Transfer: {size(summary.bytes)} in {took}{rate}"))
    if summary.crawl.duplicates:
        again = _many(summary.crawl.duplicates, "duplicate")
        lines.append(Text(f"Not asked again: {again}"))
    good = summary.passed == summary.total and summary.total
    lines.append(Text(closing_line(summary), style="bold green" if good else "bold red"))
    return lines


def _left_out(shown: list[Check], total: int) -> str:
    failures = sum(1 for check in shown if check.ok is False)
    noted = sum(1 for check in shown if check.ok and remark(check))
    slowest = len(shown) - failures - noted
    what = []
    if failures:
        what.append(f"{'the first ' if failures == FAILURES else ''}{_many(failures, 'failure')}")
    if noted:
        what.append(f"{'the first ' if noted == NOTED else ''}{noted} to be looked at")
    if slowest:
        what.append(f"the slowest {slowest}")
    listed = f"Shown: {' and '.join(what)}; " if what else ""
    return f"{listed}{total - len(shown):,} more left out, --all shows everything."


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
