"""Rows of cells -> lines with aligned columns; text that does not fit its column is folded."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from crawler.facts import fact

Measure = Callable[[str], int]
Paint = Callable[[str], str]
_WORD = re.compile(r"\s*\S+\s*")


@fact
class Layout:
    """Widths and alignment of the columns.

    `edge` starts each line and `gap` separates two columns. `measure` returns the width of a
    text in terminal columns.
    """

    widths: Sequence[int]
    right_aligned: Sequence[bool]
    edge: str
    gap: str
    measure: Measure

    @property
    def width(self) -> int:
        return sum(self.widths) + len(self.gap) * (len(self.widths) - 1)

    def lines(self, cells: Sequence[str], paint: Sequence[Paint | None]) -> Iterator[str]:
        """Yield the lines of one row; `paint` adds the escape codes of each cell, if any."""
        if all(self.measure(text) <= width for text, width in zip(cells, self.widths, strict=True)):
            yield self._line(cells, paint)
            return
        folded = (
            fold(text, width, self.measure) for text, width in zip(cells, self.widths, strict=True)
        )
        for parts in zip_longest(*folded, fillvalue=""):
            yield self._line(parts, paint)

    def _line(self, cells: Sequence[str], paint: Sequence[Paint | None]) -> str:
        aligned = []
        for text, width, right, paint_cell in zip(
            cells, self.widths, self.right_aligned, paint, strict=True
        ):
            padding = " " * (width - self.measure(text))
            painted = paint_cell(text) if paint_cell is not None and text else text
            aligned.append(padding + painted if right else painted + padding)
        return self.edge + self.gap.join(aligned).rstrip()


def fold(text: str, width: int, measure: Measure) -> list[str]:
    """Break a text into lines of at most `width` columns, between words if possible.

    A word longer than a line starts a new line and is broken. Nothing is lost but white space
    at the end of a line.
    """
    if measure(text) <= width:
        return [text]
    lines: list[str] = []
    line, used = "", 0
    for word in _WORD.findall(text) or [text]:
        if used and used + measure(word.rstrip()) > width:
            lines.append(line)
            line, used = "", 0
        if measure(bare := word.rstrip()) > width:
            *full, last = _chop(bare, width, measure)
            lines += full
            word = last + word[len(bare) :]
        line += word
        used += measure(word)
    return [one.rstrip() for one in (*lines, line)]


def _chop(word: str, width: int, measure: Measure) -> Iterator[str]:
    """Yield pieces that fill one line each; before a wide character, one column may stay free."""
    part, used = "", 0
    for char in word:
        columns = measure(char)
        if part and used + columns > width:
            yield part
            part, used = "", 0
        part += char
        used += columns
    yield part
