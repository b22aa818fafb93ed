"""Checks and a summary -> a table and closing lines, on a terminal or as plain text."""

from collections.abc import Iterable, Iterator
from time import thread_time
from typing import NamedTuple, TextIO, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from crawler.core.display import display, mask
from crawler.core.summary import Summary
from crawler.core.units import duration, size
from crawler.models import Check, Outcome
from crawler.report.columns import Layout, Paint
from crawler.report.rows import FAILURES, NOTED, Rows, remark
from crawler.report.streams import Stream

_BY_CLASS = {1: "cyan", 2: "green", 3: "cyan", 4: "red", 5: "magenta"}
_NARROWEST = 12  # columns that a URL and a reason need each; with fewer, lines go uncut
_LAG = 0.1  # seconds the event loop may be late before the reader is told
_HURRY = 0.25  # seconds of rendering after a signal, for each of its two steps
_SOME = 100  # rows that are rendered and written in one step
_NAMES = ("URL", "Status", "Size", "Latency", "Reason")
_RIGHT = (False, False, True, True, False)
T = TypeVar("T")


class Row(NamedTuple):
    """The cells of a check, safe to show, and the style of its status."""

    cells: tuple[str, ...]
    style: str


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
        palette = Palette(self._terminal)
        closing: list[tuple[str, str]] = []
        if shown:
            left = len(shown) - self._write_table(shown, palette)
            if left:
                self._stream.cut = True
                text = f"The table is cut: {left:,} more rows are left out after the signal."
                closing.append((text, "bold red"))
        if len(shown) < self._rows.total:
            closing.append((_left_out(shown, self._rows.total), "dim"))
        closing += [("", ""), *_closing(summary)]
        self._stream.write("".join(palette.line(text, style) for text, style in closing))
        self._stream.close()

    def _write_table(self, checks: list[Check], palette: "Palette") -> int:
        """Write the rows of the checks, all that a signal leaves time for; return how many.

        Not with rich's tables: at 0.3 ms a row, the end of 20,000 took six seconds.
        """
        rows = [_row(check) for check in self._in_time(checks)]
        layout = _layout(rows, palette.width)
        columns = len(layout.widths)
        bold = [palette.painter("bold")] * columns
        lines = list(layout.lines(_NAMES[:columns], bold))
        if layout.edge:
            lines = ["", *lines, layout.edge + palette.rule * layout.width]
        written = 0
        for row in self._in_time(rows):
            paint = [None, palette.painter(row.style), *[None] * (columns - 2)]
            lines.extend(layout.lines(row.cells[:columns], paint))
            written += 1
            if written % _SOME == 0:
                self._stream.write("".join(f"{line}\n" for line in lines))
                lines.clear()
        self._stream.write("".join(f"{line}\n" for line in lines))
        return written

    def _in_time(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items; after a signal, some and as many more as there is time for.

        It is our own time that counts: a slow reader is no reason to cut.
        """
        until = None
        for count, item in enumerate(items):
            if self._stream.hurried and count % _SOME == 0:
                until = until or thread_time() + _HURRY
                if count and thread_time() > until:
                    return
            yield item


class Palette:
    """What the output makes of styles: codes on a terminal that knows them, else nothing.

    `width` is None where lines are not to be cut.
    """

    def __init__(self, terminal: TextIO | None) -> None:
        self._console = None if terminal is None else Console(file=terminal, highlight=False)
        self._painters: dict[str, Paint] = {}
        self.width = None if self._console is None else self._console.width
        utf = self._console is None or self._console.encoding.startswith("utf")
        self.rule = "─" if utf else "-"

    def line(self, text: str, style: str) -> str:
        return f"{self.painter(style)(text)}\n"

    def painter(self, style: str) -> Paint:
        if style not in self._painters:
            self._painters[style] = self._painter(style)
        return self._painters[style]

    def _painter(self, style: str) -> Paint:
        if self._console is None or not style:
            return str
        with self._console.capture() as capture:
            self._console.print(Text("x", style=style), end="")
        before, _, after = capture.get().partition("x")
        return lambda text: f"{before}{text}{after}"


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


def _row(check: Check) -> Row:
    result, masked = check.result, check.result.target.masked
    status, style = _status(check)
    cells = (
        display(mask(result.target.url, masked)),
        status,
        size(result.attempt.size) + ("+" if result.attempt.truncated else ""),
        duration(result.attempt.latency),
        display(mask(remark(check), masked)),
    )
    return Row(cells, style)


def _layout(rows: list[Row], width: int | None) -> Layout:
    """Return the layout for so many columns; uncut without `width`, or where it is too narrow."""
    columns = list(zip(*(row.cells for row in rows), strict=True))
    widest = [max(map(_cells, column)) for column in columns]
    if widest[4]:
        widest = [max(len(name), room) for name, room in zip(_NAMES, widest, strict=True)]
    else:
        widest = [max(len(name), room) for name, room in zip(_NAMES[:4], widest[:4], strict=True)]
    if width is not None:
        room = width - sum(widest[1:4]) - 3 * len(widest) + 1  # three between columns, two outside
        reason = sum(widest[4:])
        if widest[0] + reason > room:
            if room < 2 * _NARROWEST:
                width = None
            else:
                # A URL is to be copied: it keeps at least half, and what the reasons do not need.
                widest[0] = min(widest[0], max(room // 2, room - reason))
                widest[4:] = [room - widest[0]] if reason else []
    return Layout(
        widths=widest,
        right=_RIGHT[: len(widest)],
        edge="" if width is None else " ",
        gap="  " if width is None else "   ",
        measure=_cells,
    )


def _cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def _status(check: Check) -> tuple[str, str]:
    """Return the status in words, and its style."""
    result = check.result
    if result.outcome is Outcome.RESPONDED:
        status = result.attempt.status or 0
        return str(status), _BY_CLASS.get(status // 100, "yellow")
    if result.attempt.error is not None:
        return result.attempt.error.kind.value.replace("_", " "), "red"
    return result.outcome.value, "yellow"


def _closing(summary: Summary) -> list[tuple[str, str]]:
    """Return the closing lines, each with its style."""
    lines: list[tuple[str, str]] = []
    if summary.by_failure:
        kinds = [
            f"{count:,} {kind.replace('_', ' ')}" for kind, count in summary.by_failure.items()
        ]
        lines.append((f"Failures: {', '.join(kinds)}", "red"))
    if latency := summary.latency:
        figures = [(name, getattr(latency, name)) for name in ("p50", "p95", "p99", "max")]
        shown = ", ".join(f"{name} {duration(value)}" for name, value in figures)
        lines.append((f"Latency: {shown}", ""))
    if summary.stats.lag > _LAG:
        late = duration(summary.stats.lag)
        lines.append((f"This machine was busy: up to {late} of a latency may be its own", ""))
    if summary.stats.stopped:
        stopped = duration(summary.stats.stopped)
        line = f"This process was stopped for {stopped}: no latency or timeout includes that"
        lines.append((line, ""))
    rate = f", {summary.requests_per_s:,.1f} URLs/s" if summary.requests_per_s else ""
    took = duration(summary.stats.elapsed)
    lines.append((f"Transfer: {size(summary.bytes)} in {took}{rate}", ""))
    if summary.stats.duplicates:
        again = _many(summary.stats.duplicates, "duplicate")
        lines.append((f"Not asked again: {again}", ""))
    good = summary.passed == summary.total and summary.total
    lines.append((closing_line(summary), "bold green" if good else "bold red"))
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
