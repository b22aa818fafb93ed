"""What one command line asks to be written -> open streams with their sinks, or a complaint."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from crawler.core.display import display
from crawler.inputs import Source
from crawler.report import (
    DocumentSink,
    LineSink,
    Ordered,
    ReplacingSink,
    Sink,
    deadletters,
    jsondocument,
    jsonl,
)
from crawler.report.streams import Stream, open_file, open_list


class OutputError(Exception):
    """An output cannot be opened, or would overwrite what is still needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    stream: Stream
    sink: Sink


def open_outputs(
    *,
    stdout: str | None,
    files: Sequence[str],
    failed_to: str | None,
    ordered: bool,
    everything: bool,
    sources: Sequence[Source],
) -> list[Output]:
    """Open every output, now; nothing is left behind where one cannot be.

    `stdout` is "table", "json", "jsonl" or None; the ending of each of `files` says its
    format; `failed_to` is where the lines of the list go that did not pass. Raises
    OutputError.
    """
    outputs: list[Output] = []
    try:
        if stdout is not None:
            stream = _standard_output(stdout, alone=not files)
            outputs.append(Output(stream=stream, sink=_sink(stdout, stream, ordered, everything)))
        for path in files:
            if any(_same_file(path, source) for source in sources):
                raise OutputError(f"{display(path)} is both a list and an output")
            form = PurePath(path).suffix.lower().removeprefix(".")
            stream = _open(path, outputs, form)
            outputs.append(Output(stream=stream, sink=_sink(form, stream, ordered, everything)))
        if failed_to is not None:
            # It may be the list itself, which loses nothing where it was read to its end.
            replaces = any(_same_file(failed_to, source) for source in sources)
            stream = _open(failed_to, outputs, None)
            sink = (ReplacingSink if replaces else DocumentSink)(stream, deadletters)
            outputs.append(Output(stream=stream, sink=sink))
    except OutputError:
        for output in outputs:
            output.stream.discard()
        raise
    return outputs


def _open(path: str, others: Sequence[Output], form: str | None) -> Stream:
    """Open a file for a format, or for lines of the list."""
    if any(_same_file(path, other.stream) for other in others):
        raise OutputError(f"{display(path)} is named as an output twice")
    try:
        return open_list(path) if form is None else open_file(path, whole=form == "json")
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise OutputError(f"cannot write {display(path)}: {reason}") from exc


def _standard_output(form: str, *, alone: bool) -> Stream:
    if sys.stdout is None:
        if alone:
            raise OutputError("cannot write standard output: it is closed")
        return Stream("standard output", 1)  # fails at the first write, as a full one does
    encoding = sys.stdout.encoding if form == "table" else "utf-8"
    return Stream("standard output", sys.stdout.fileno(), encoding)


def _same_file(path: str, other: Stream | Source) -> bool:
    """Whether `path` names the regular file that is already open as a list or an output."""
    if isinstance(other, Source) and other.fd is not None and os.path.isfile(path):
        return os.path.samestat(os.fstat(other.fd), os.stat(path))
    name = os.path.realpath(other.name)
    return os.path.realpath(path) == name and (os.path.isfile(name) or isinstance(other, Stream))


def _sink(form: str, stream: Stream, ordered: bool, everything: bool) -> Sink:
    if form == "table":
        from crawler.report.terminal import TableSink

        terminal = sys.stdout if sys.stdout is not None and sys.stdout.isatty() else None
        return TableSink(stream, terminal=terminal, everything=everything)
    by_line = form == "jsonl"
    sink = LineSink(stream, jsonl.line) if by_line else DocumentSink(stream, jsondocument)
    return Ordered(sink) if ordered else sink
