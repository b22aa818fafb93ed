"""Checks and a summary -> the table and the lines under it, on a terminal or as plain text."""

from collections.abc import Iterable, Iterator
from time import thread_time
from typing import NamedTuple, TextIO, TypeVar

from crawler.core.display import safe
from crawler.core.summary import Summary
from crawler.core.units import duration, size
from crawler.models import Check, Outcome
from crawler.report import closing
from crawler.report.columns import Layout
from crawler.report.rows import FAILURES, FLAGGED, Rows, remark
from crawler.report.streams import Stream
from crawler.report.terminal import Palette, cell_width

_BY_CLASS = {1: "cyan", 2: "green", 3: "cyan", 4: "red", 5: "magenta"}
_MIN_WIDTH = 12  # columns for a URL, and for a reason; on narrower terminals lines are not folded
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
        lines: list[tuple[str, str]] = []
        if shown:
            missing = len(shown) - self._write_table(shown, palette)
            if missing:
                self._stream.cut_short = True
                text = f"Table cut short by the signal: {missing:,} more rows not shown."
                lines.append((text, "bold red"))
        if len(shown) < self._rows.total:
            lines.append((_selection(shown, self._rows.total), "dim"))
        lines += [("", ""), *closing.lines(summary)]
        self._stream.write("".join(palette.line(text, style) for text, style in lines))
        self._stream.close()

    def _write_table(self, checks: list[Check], palette: Palette) -> int:
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
    widest = [max(map(cell_width, column)) for column in columns]
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
        measure=cell_width,
    )


def _status(check: Check) -> tuple[str, str]:
    """Return the status in words, and its style."""
    result = check.result
    if result.outcome is Outcome.RESPONDED:
        status = result.attempt.status or 0
        return str(status), _BY_CLASS.get(status // 100, "yellow")
    if result.attempt.error is not None:
        return result.attempt.error.kind.value.replace("_", " "), "red"
    return result.outcome.value, "yellow"


def _selection(shown: list[Check], total: int) -> str:
    """Return which checks are shown, and how many are not."""
    failures = sum(1 for check in shown if check.ok is False)
    flagged = sum(1 for check in shown if check.ok and remark(check))
    slowest = len(shown) - failures - flagged
    groups = []
    if failures:
        groups.append(
            f"{'the first ' if failures == FAILURES else ''}{closing.counted(failures, 'failure')}"
        )
    if flagged:
        groups.append(
            f"{'the first ' if flagged == FLAGGED else ''}{flagged} with warnings or flaky"
        )
    if slowest:
        groups.append(f"the slowest {slowest}")
    selected = f"Shown: {' and '.join(groups)}; " if groups else ""
    return f"{selected}{total - len(shown):,} more not shown (use --all)."
