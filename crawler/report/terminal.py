"""A terminal's styles, its width, and the width of a text on it."""

from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from crawler.report.columns import Paint


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


def cell_width(text: str) -> int:
    """Return the width of a text in terminal columns."""
    return len(text) if text.isascii() else cell_len(text)
