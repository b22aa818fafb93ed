"""Cells -> Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A heading, a note and a table whose first `words` columns are text, the others figures."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1

    def markdown(self) -> str:
        """Return the table with padded columns, readable as plain text too."""
        cells = [self.columns, *self.rows]
        widths = [max(len(row[n]) for row in cells) for n in range(len(self.columns))]
        ruler = ["-" * width for width in widths[: self.words]]
        ruler += ["-" * (width - 1) + ":" for width in widths[self.words :]]
        lines = [self._line(row, widths) for row in (self.columns, ruler, *self.rows)]
        return "\n".join([f"### {self.title}", "", *([self.note, ""] if self.note else []), *lines])

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        texts = list(zip(cells, widths, strict=True))
        padded = [cell.ljust(width) for cell, width in texts[: self.words]]
        padded += [cell.rjust(width) for cell, width in texts[self.words :]]
        return f"| {' | '.join(padded)} |"
