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
        """Return heading, note and table."""
        parts = [f"### {self.title}", self.note, table(self.columns, self.rows, words=self.words)]
        return "\n\n".join(part for part in parts if part)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """Return a table with padded columns, readable as plain text too."""
    cells = [columns, *rows]
    widths = [max(len(row[n]) for row in cells) for n in range(len(columns))]
    ruler = ["-" * width for width in widths[:words]]
    ruler += ["-" * (width - 1) + ":" for width in widths[words:]]
    return "\n".join(_line(row, widths, words) for row in (columns, ruler, *rows))


def _line(cells: Sequence[str], widths: Sequence[int], words: int) -> str:
    texts = list(zip(cells, widths, strict=True))
    padded = [cell.ljust(width) for cell, width in texts[:words]]
    padded += [cell.rjust(width) for cell, width in texts[words:]]
    return f"| {' | '.join(padded)} |"
