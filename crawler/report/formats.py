"""The output formats: the suffix of a file -> how it is written.

Modules of a format are imported when it is opened: the command line needs only the names.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crawler.report.sinks import Sink
    from crawler.report.streams import Stream


class Format:
    """A format of a file or of standard output.

    A `streamed` one grows line by line; any other is one document, and its file appears
    when it is complete. `open_sink` returns a sink that writes the format to a stream.
    """

    def __init__(self, *, streamed: bool, open_sink: "Callable[[Stream], Sink]") -> None:
        self.streamed = streamed
        self.open_sink = open_sink


def _open_json(stream: "Stream") -> "Sink":
    from crawler.report import jsondocument
    from crawler.report.sinks import DocumentSink

    return DocumentSink(stream, jsondocument)


def _open_jsonl(stream: "Stream") -> "Sink":
    from crawler.report import jsonl
    from crawler.report.sinks import LineSink

    return LineSink(stream, jsonl.line)


TABLE, JSON, JSONL = "table", "json", "jsonl"
FORMATS = {
    JSON: Format(streamed=False, open_sink=_open_json),
    JSONL: Format(streamed=True, open_sink=_open_jsonl),
}
"""Each format by its name, which is its suffix. The table is not one: it is for people only."""


def suffixes() -> str:
    """Return the known suffixes in words, such as `.json or .jsonl`."""
    *others, last = (f".{name}" for name in FORMATS)
    return f"{', '.join(others)} or {last}"


def from_path(path: str) -> str:
    """Return the name of the format that the suffix of a file stands for.

    Raises ValueError if it is not a known one.
    """
    _, dot, name = path.lower().rpartition(".")
    if dot and name in FORMATS:
        return name
    raise ValueError(f"must end in {suffixes()}")
