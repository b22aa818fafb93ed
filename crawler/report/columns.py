"""Rows of cells -> lines of text with aligned columns, folded where a column is too narrow."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

Measure = Callable[[str], int]
Paint = Callable[[str], str]
_WORD = re.compile(r"\s*\S+\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How wide each column is and how it is aligned; `edge` and `gap` stand beside and between."""

    widths: Sequence[int]
    right: Sequence[bool]
    edge: str
    gap: str
    measure: Measure

    @property
    def width(self) -> int:
        return sum(self.widths) + len(self.gap) * (len(self.widths) - 1)

    def lines(self, cells: Sequence[str], paint: Sequence[Paint | None]) -> Iterator[str]:
        """Yield the lines of one row; `paint` puts codes that take no room around a cell."""
        if all(self.measure(text) <= room for text, room in zip(cells, self.widths, strict=True)):
            yield self._line(cells, paint)
            return
        folded = (
            fold(text, room, self.measure) for text, room in zip(cells, self.widths, strict=True)
        )
        for parts in zip_longest(*folded, fillvalue=""):
            yield self._line(parts, paint)

    def _line(self, cells: Sequence[str], paint: Sequence[Paint | None]) -> str:
        aligned = []
        for text, room, right, colour in zip(cells, self.widths, self.right, paint, strict=True):
            space = " " * (room - self.measure(text))
            shown = colour(text) if colour is not None and text else text
            aligned.append(space + shown if right else shown + space)
        return self.edge + self.gap.join(aligned).rstrip()


def fold(text: str, width: int, measure: Measure) -> list[str]:
    """Break a text into lines of at most `width` columns, between words where that is possible.

    A word that is longer than a line is broken, and begins a line. No character is lost but
    the white space at the end of a line.
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
            *whole, last = _chop(bare, width, measure)
            lines += whole
            word = last + word[len(bare) :]
        line += word
        used += measure(word)
    return [one.rstrip() for one in (*lines, line)]


def _chop(word: str, width: int, measure: Measure) -> Iterator[str]:
    """Yield the parts of a word that fill a line each; a wide character may leave one free."""
    part, used = "", 0
    for char in word:
        room = measure(char)
        if part and used + room > width:
            yield part
            part, used = "", 0
        part += char
        used += room
    yield part
