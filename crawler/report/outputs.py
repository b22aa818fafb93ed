"""Output settings -> open streams with their sinks, or an OutputError."""

import os
import stat
import sys
import threading
from collections.abc import Sequence
from typing import Protocol

from crawler.core.display import escape
from crawler.core.urllist import source_name
from crawler.facts import fact
from crawler.report import formats
from crawler.report.formats import FORMATS, TABLE
from crawler.report.sinks import DocumentSink, Ordered, ReplacingSink, Sink
from crawler.report.streams import Stream, open_file, open_list


class ListFile(Protocol):
    """A source of the list; `fd` is None for a file that is not open yet, and for a URL."""

    @property
    def name(self) -> str: ...

    @property
    def fd(self) -> int | None: ...


class OutputError(Exception):
    """An output cannot be opened, or would overwrite the list or another output."""


@fact
class OutputSettings:
    """What one run writes, and where.

    `stdout` is the name of a format, `TABLE` or None. The suffix of each of `files` stands for
    its format. `failed_to` gets the entries that did not pass, as a list. `ordered` is for all
    formats but the table, `all_rows` for the table.
    """

    stdout: str | None = TABLE
    files: tuple[str, ...] = ()
    failed_to: str | None = None
    ordered: bool = False
    all_rows: bool = False


@fact
class Output:
    """An open output; `path` is None for standard output."""

    stream: Stream
    sink: Sink
    path: str | None = None


def open_outputs(
    outputs: list[Output],
    settings: OutputSettings,
    sources: Sequence[ListFile],
    given_up: threading.Event,
) -> None:
    """Open every output and append it to `outputs`; none stays open if one cannot be opened.

    Waits for the reader of a FIFO until `given_up`. Raises OutputError.
    """
    try:
        if settings.stdout is not None:
            stream = _standard_output(settings.stdout, sources, alone=not settings.files)
            outputs.append(Output(stream=stream, sink=_sink(settings.stdout, stream, settings)))
        for path in settings.files:
            if any(_is_source(path, source) for source in sources):
                raise OutputError(f"{escape(path)} is both a list and an output")
            name = formats.from_path(path)
            stream = _open_file(path, outputs, name, given_up)
            outputs.append(Output(stream=stream, sink=_sink(name, stream, settings), path=path))
        if settings.failed_to is not None:
            from crawler.report import failedlist  # only this option needs it

            # It may be the list itself, which loses nothing if it was read to its end.
            replaces = any(_is_source(settings.failed_to, source) for source in sources)
            stream = _open_file(settings.failed_to, outputs, None, given_up)
            sink = (ReplacingSink if replaces else DocumentSink)(stream, failedlist)
            outputs.append(Output(stream=stream, sink=sink, path=settings.failed_to))
    except OutputError:
        for output in outputs:
            output.stream.discard()
        raise


def _open_file(
    path: str, others: Sequence[Output], name: str | None, given_up: threading.Event
) -> Stream:
    """Open a file for the format of this name; without one, for lines of the list."""
    for other in others:
        if other.path is None and _is_open_as(path, other.stream.fd):
            raise OutputError(f"{escape(path)} is also standard output")
        if other.path is not None and _same_path(path, other.path):
            raise OutputError(f"{escape(path)} is given as an output more than once")
    try:
        if name is None:
            return open_list(path, given_up)
        return open_file(path, whole=not FORMATS[name].streamed, given_up=given_up)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise OutputError(f"cannot write {escape(path)}: {reason}") from exc


def _standard_output(name: str, sources: Sequence[ListFile], *, alone: bool) -> Stream:
    """Open standard output for the format of this name; `alone` says that it is the only output."""
    if sys.stdout is None:
        if alone:
            raise OutputError("cannot write standard output: it is closed")
        return Stream("standard output", 1)  # the first write fails, as on a full device
    fd = sys.stdout.fileno()
    for source in sources:
        # The list would grow by the results of its own URLs: `crawl urls.txt >> urls.txt`.
        if source.fd is not None and _same_file(fd, source.fd):
            shown = escape(source_name(source.name))
            raise OutputError(f"{shown} is both a list and standard output")
    return Stream("standard output", fd, sys.stdout.encoding if name == TABLE else "utf-8")


def _is_source(path: str, source: ListFile) -> bool:
    """Whether `path` names the regular file that is already open as a list."""
    if source.fd is not None:
        return _is_open_as(path, source.fd)
    return os.path.isfile(source.name) and _same_path(path, source.name)


def _is_open_as(path: str, fd: int) -> bool:
    try:
        return os.path.isfile(path) and os.path.samestat(os.stat(path), os.fstat(fd))
    except OSError:  # standard output is closed
        return False


def _same_path(path: str, other: str) -> bool:
    """Whether two paths name the same file, which need not exist yet."""
    if os.path.isfile(path) and os.path.isfile(other):
        return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)


def _same_file(one: int, other: int) -> bool:
    """Whether two descriptors refer to the same regular file; sharing a terminal is fine."""
    info = os.fstat(one)
    return stat.S_ISREG(info.st_mode) and os.path.samestat(info, os.fstat(other))


def _sink(name: str, stream: Stream, settings: OutputSettings) -> Sink:
    if name == TABLE:
        from crawler.report.table import TableSink

        terminal = sys.stdout if sys.stdout is not None and sys.stdout.isatty() else None
        return TableSink(stream, terminal=terminal, all_rows=settings.all_rows)
    sink = FORMATS[name].open_sink(stream)
    return Ordered(sink) if settings.ordered else sink
