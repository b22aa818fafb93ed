"""Checks and a summary -> the table and the lines under it, on a terminal or as plain text."""

from collections.abc import Iterable, Iterator
from time import thread_time
from typing import NamedTuple, TextIO, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from crawler.core.display import safe
from crawler.core.summary import Summary
from crawler.core.units import duration, size
from crawler.models import Check, Outcome
from crawler.report.columns import Layout, Paint
from crawler.report.rows import FAILURES, FLAGGED, Rows, remark
from crawler.report.streams import Stream

_BY_CLASS = {1: "cyan", 2: "green", 3: "cyan", 4: "red", 5: "magenta"}
_MIN_WIDTH = 12  # columns for a URL, and for a reason; on narrower terminals lines are not folded
_REPORTED_LAG = 0.1  # seconds of event-loop lag from which it is reported
_RENDER_LIMIT = 0.25  # seconds of rendering after a signal, for each of the two steps
_CHUNK = 100  # rows rendered and written in one step
_NAMES = ("URL", "Status", "Size", "Latency", "Reason")
_RIGHT_ALIGNED = (False, False, True, True, False)
T = TypeVar("T")


class Row(NamedTuple):
    """The cells of a check, safe to show, and the style of its status."""

    cells: tuple[str, ...]
    style: str


class TableSink:
    """Writes the table and the summary at the end of the run.

    `terminal` is None if the output is not a terminal: then the table is plain text, one
    line for each URL, never folded. With `all_rows`, no row is left out.
    """

    def __init__(self, stream: Stream, *, terminal: TextIO | None, all_rows: bool) -> None:
        self.name = stream.name
        self._stream = stream
        self._terminal = terminal
        self._rows = Rows(all_rows=all_rows)

    def accept(self, check: Check) -> None:
        self._rows.consider(check)

    def accept_deferred(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing yet: the layout of the table is known only at the end."""

    def finish(self, summary: Summary) -> None:
        if not summary.total:
            return  # standard error reports that there was nothing to check
        shown = self._rows.selected()
        palette = Palette(self._terminal)
        closing: list[tuple[str, str]] = []
        if shown:
            missing = len(shown) - self._write_table(shown, palette)
            if missing:
                self._stream.cut_short = True
                text = f"Table cut short by the signal: {missing:,} more rows not shown."
                closing.append((text, "bold red"))
        if len(shown) < self._rows.total:
            closing.append((_selection(shown, self._rows.total), "dim"))
        closing += [("", ""), *_closing(summary)]
        self._stream.write("".join(palette.line(text, style) for text, style in closing))
        self._stream.close()

    def _write_table(self, checks: list[Check], palette: "Palette") -> int:
        """Write the rows of the checks; return how many, as a signal may cut the table short.

        Not with rich's tables: at 0.3 ms a row, 20,000 rows took six seconds.
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
            if written % _CHUNK == 0:
                self._stream.write("".join(f"{line}\n" for line in lines))
                lines.clear()
        self._stream.write("".join(f"{line}\n" for line in lines))
        return written

    def _in_time(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items; after a signal, only as many as can be rendered in time.

        Only CPU time counts: a slow reader does not cut the table short.
        """
        end = None
        for count, item in enumerate(items):
            if self._stream.interrupted and count % _CHUNK == 0:
                end = end or thread_time() + _RENDER_LIMIT
                if count and thread_time() > end:
                    return
            yield item


class Palette:
    """Styles as the escape codes of the terminal; none for plain text.

    `width` is None if lines are not folded.
    """

    def __init__(self, terminal: TextIO | None) -> None:
        self._console = None if terminal is None else Console(file=terminal, highlight=False)
        self._painters: dict[str, Paint] = {}
        self.width = None if self._console is None else self._console.width
        unicode = self._console is None or self._console.encoding.startswith("utf")
        self.rule = "─" if unicode else "-"

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
        _counted(summary.total, "URL"),
        f"{summary.passed:,} success",
        f"{summary.failed:,} failed",
    ]
    if summary.flaky:
        parts.append(f"{summary.flaky:,} flaky")
    if summary.warned:
        parts.append(_counted(summary.warned, "warning"))
    if summary.invalid:
        parts.append(f"{summary.invalid:,} invalid")
    if summary.unreached:
        parts.append(f"{summary.unreached:,} unreached")
    return f"Total: {', '.join(parts)}"


def _row(check: Check) -> Row:
    result, masked = check.result, check.result.target.masked
    status, style = _status(check)
    cells = (
        safe(result.target.url, masked),
        status,
        size(result.attempt.size) + ("+" if result.attempt.truncated else ""),
        duration(result.attempt.latency),
        safe(remark(check), masked),
    )
    return Row(cells, style)


def _layout(rows: list[Row], width: int | None) -> Layout:
    """Return the layout for `width` columns; without one, or if it is too small, nothing folds."""
    columns = list(zip(*(row.cells for row in rows), strict=True))
    widest = [max(map(_cells, column)) for column in columns]
    if widest[4]:
        widest = [max(len(name), cells) for name, cells in zip(_NAMES, widest, strict=True)]
    else:
        widest = [max(len(name), cells) for name, cells in zip(_NAMES[:4], widest[:4], strict=True)]
    if width is not None:
        room = width - sum(widest[1:4]) - 3 * len(widest) + 1  # three between columns, two outside
        reason = sum(widest[4:])
        if widest[0] + reason > room:
            if room < 2 * _MIN_WIDTH:
                width = None
            else:
                # URLs are there to be copied: they get at least half, and what reasons leave.
                widest[0] = min(widest[0], max(room // 2, room - reason))
                widest[4:] = [room - widest[0]] if reason else []
    return Layout(
        widths=widest,
        right_aligned=_RIGHT_ALIGNED[: len(widest)],
        edge="" if width is None else " ",
        gap="  " if width is None else "   ",
        measure=_cells,
    )


def _cells(text: str) -> int:
    """Return the width of a text in terminal columns."""
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
    if summary.stats.lag > _REPORTED_LAG:
        lag = duration(summary.stats.lag)
        lines.append((f"Local delay: latencies may include up to {lag} of event-loop lag", ""))
    if summary.stats.stopped:
        stopped = duration(summary.stats.stopped)
        line = f"This process was stopped for {stopped}: latencies and timeouts exclude that time"
        lines.append((line, ""))
    rate = f", {summary.requests_per_s:,.1f} URLs/s" if summary.requests_per_s else ""
    took = duration(summary.stats.elapsed)
    lines.append((f"Transfer: {size(summary.bytes)} in {took}{rate}", ""))
    if summary.stats.duplicates:
        lines.append((f"Skipped: {_counted(summary.stats.duplicates, 'duplicate')}", ""))
    all_passed = summary.passed == summary.total and summary.total
    lines.append((closing_line(summary), "bold green" if all_passed else "bold red"))
    return lines


def _selection(shown: list[Check], total: int) -> str:
    """Return which checks are shown, and how many are not."""
    failures = sum(1 for check in shown if check.ok is False)
    flagged = sum(1 for check in shown if check.ok and remark(check))
    slowest = len(shown) - failures - flagged
    groups = []
    if failures:
        groups.append(
            f"{'the first ' if failures == FAILURES else ''}{_counted(failures, 'failure')}"
        )
    if flagged:
        groups.append(
            f"{'the first ' if flagged == FLAGGED else ''}{flagged} with warnings or flaky"
        )
    if slowest:
        groups.append(f"the slowest {slowest}")
    selected = f"Shown: {' and '.join(groups)}; " if groups else ""
    return f"{selected}{total - len(shown):,} more not shown (use --all)."


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
