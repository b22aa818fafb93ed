"""Checks, then a summary -> a stream, line by line or as one document."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from crawler.core.summary import Summary
from crawler.models import Check
from crawler.report.streams import Stream


class Sink(Protocol):
    """Accepts every check once, then the summary.

    `accept` is called on the event loop: it does not block, encodes at most one check and
    buffers the text. `accept_deferred` does the same for one check that `accept` deferred,
    and returns whether there was one. `flush` writes the buffered text; `finish` writes the
    end and closes the output. Both are called from a worker thread, may block, and raise
    OSError if the output cannot be written. No two calls are concurrent. `name` names the
    output in messages.
    """

    name: str

    def accept(self, check: Check) -> None: ...

    def accept_deferred(self) -> bool: ...

    def flush(self) -> None: ...

    def finish(self, summary: Summary) -> None: ...


class Document(Protocol):
    """A format with a beginning, an element for each check, and an end."""

    def begin(self) -> str: ...

    def element(self, check: Check, first: bool) -> str: ...

    def end(self, summary: Summary) -> str: ...


class LineSink:
    """Writes a line for each check; each write holds whole lines."""

    def __init__(self, stream: Stream, line: Callable[[Check], str]) -> None:
        self.name = stream.name
        self._stream = stream
        self._line = line
        self._lines: list[str] = []

    def accept(self, check: Check) -> None:
        self._lines.append(self._line(check))

    def accept_deferred(self) -> bool:
        return False

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        for text in _batched(lines, self._stream.max_write):
            self._stream.write(text)

    def finish(self, summary: Summary) -> None:
        self.flush()
        self._stream.close()


class DocumentSink:
    """Writes one document, which is complete however the run ends."""

    def __init__(self, stream: Stream, document: Document) -> None:
        self.name = stream.name
        self._stream = stream
        self._document = document
        self._begun = False
        self._parts: list[str] = []

    def accept(self, check: Check) -> None:
        self._parts.append(self._document.element(check, first=self._begin_once()))

    def accept_deferred(self) -> bool:
        return False

    def flush(self) -> None:
        parts, self._parts = self._parts, []
        try:
            for text in _batched(parts, self._stream.max_write):
                self._stream.write(text)
        except OSError:
            self._stream.discard()
            raise

    def finish(self, summary: Summary) -> None:
        self._begin_once()
        self._parts.append(self._document.end(summary))
        self.flush()
        self._stream.close()

    def _begin_once(self) -> bool:
        """Buffer the beginning of the document; return False if that is done already."""
        if self._begun:
            return False
        self._parts.append(self._document.begin())
        self._begun = True
        return True


class ReplacingSink(DocumentSink):
    """Replaces the list with a document made from it, if the list was read to its end.

    `unchanged` says that the list was not replaced.
    """

    unchanged = False

    def finish(self, summary: Summary) -> None:
        if summary.stats.list_read and not summary.stats.list_failed:
            super().finish(summary)
        else:
            self.unchanged = True
            self._stream.discard()


class Ordered:
    """Forwards checks to another sink in input order.

    Buffers checks that finish out of order. While one slow request is in flight, thousands
    may pile up behind it; encoding them all at once would block the event loop, so `accept`
    and each `accept_deferred` forward one.
    """

    def __init__(self, sink: Sink) -> None:
        self.name = sink.name
        self._sink = sink
        self._next_index = 0
        self._early: dict[int, Check] = {}

    def accept(self, check: Check) -> None:
        self._early[check.result.target.index] = check
        self.accept_deferred()

    def accept_deferred(self) -> bool:
        due = self._early.pop(self._next_index, None)
        if due is None:
            return False
        self._next_index += 1
        self._sink.accept(due)
        return True

    def flush(self) -> None:
        self._sink.flush()

    def finish(self, summary: Summary) -> None:
        for _, check in sorted(self._early.items()):
            self._sink.accept(check)
        self._sink.finish(summary)


def _batched(texts: Sequence[str], max_write: int) -> Iterator[str]:
    """Join texts into as few writes as possible, each of at most `max_write` characters.

    Only a longer text is a write of its own that exceeds it. A write for each line would be
    simpler, but each costs a system call and a switch from and to the event loop, which the
    writing thread delays.
    """
    joined = "".join(texts)
    if len(joined) <= max_write:
        yield joined
        return
    batch: list[str] = []
    length = 0
    for text in texts:
        if batch and length + len(text) > max_write:
            yield "".join(batch)
            batch, length = [], 0
        batch.append(text)
        length += len(text)
    yield "".join(batch)
