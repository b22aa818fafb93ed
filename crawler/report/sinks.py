"""What a sink is, and the two writers: line by line, and whole documents."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from crawler.core.summary import Summary
from crawler.models import Check
from crawler.report.streams import Stream


class Sink(Protocol):
    """Takes every check once, then the summary.

    `accept` never waits: it keeps what `flush` is to write. It is called on the event loop,
    so it encodes one check at most. `accept_deferred` encodes one more if `accept` had to leave it;
    it returns whether there was one. `flush` and `finish` may block, and raise OSError if
    the output cannot be written. They are called in a thread, but no two calls happen at
    once. `name` is what a complaint calls the output.
    """

    name: str

    def accept(self, check: Check) -> None: ...

    def accept_deferred(self) -> bool: ...

    def flush(self) -> None: ...

    def finish(self, summary: Summary) -> None: ...


class Document(Protocol):
    """A format with a beginning, elements and an end."""

    def begin(self) -> str: ...

    def element(self, check: Check, first: bool) -> str: ...

    def end(self, summary: Summary) -> str: ...


class LineSink:
    """Writes one line for each check as it comes: whole lines in each write."""

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
        for text in _joined(lines, self._stream.piece):
            self._stream.write(text)

    def finish(self, summary: Summary) -> None:
        self.flush()
        self._stream.close()


class DocumentSink:
    """Writes one document that is whole however the crawl ends."""

    def __init__(self, stream: Stream, document: Document) -> None:
        self.name = stream.name
        self._stream = stream
        self._document = document
        self._started = False
        self._parts: list[str] = []

    def accept(self, check: Check) -> None:
        self._parts.append(self._document.element(check, first=not self._begin()))

    def accept_deferred(self) -> bool:
        return False

    def flush(self) -> None:
        parts, self._parts = self._parts, []
        try:
            for text in _joined(parts, self._stream.piece):
                self._stream.write(text)
        except OSError:
            self._stream.discard()
            raise

    def finish(self, summary: Summary) -> None:
        self._begin()
        self._parts.append(self._document.end(summary))
        self.flush()
        self._stream.close()

    def _begin(self) -> bool:
        """Write the beginning before the first element; return whether that was done before."""
        before = self._started
        if not before:
            self._parts.append(self._document.begin())
            self._started = True
        return before


class ReplacingSink(DocumentSink):
    """Writes a document over the list it was made from, unless part of that was not read.

    `left` says that the list was left as it was.
    """

    left = False

    def finish(self, summary: Summary) -> None:
        if summary.stats.list_read and not summary.stats.list_failed:
            super().finish(summary)
        else:
            self.left = True
            self._stream.discard()


class Ordered:
    """Passes checks on to another sink in the order of the input.

    Holds those that are ahead of their turn: as many as finish while the slowest one before
    them is in flight. When that one comes, thousands may be due at once. To encode them all
    would hold up the event loop, so `accept` passes on one, and `accept_deferred` one more.
    """

    def __init__(self, sink: Sink) -> None:
        self.name = sink.name
        self._sink = sink
        self._next = 0
        self._early: dict[int, Check] = {}

    def accept(self, check: Check) -> None:
        self._early[check.result.target.index] = check
        self.accept_deferred()

    def accept_deferred(self) -> bool:
        turn = self._early.pop(self._next, None)
        if turn is None:
            return False
        self._next += 1
        self._sink.accept(turn)
        return True

    def flush(self) -> None:
        self._sink.flush()

    def finish(self, summary: Summary) -> None:
        for _, check in sorted(self._early.items()):
            self._sink.accept(check)
        self._sink.finish(summary)


def _joined(texts: Sequence[str], most: int) -> Iterator[str]:
    """Join texts as far as they fit one write of `most` bytes.

    A write for each line would be simpler, but each costs a system call and a switch from
    and to the event loop, which a thread that writes beside it holds up.
    """
    whole = "".join(texts)
    if len(whole) <= most:
        yield whole
        return
    some: list[str] = []
    length = 0
    for text in texts:
        if some and length + len(text) > most:
            yield "".join(some)
            some, length = [], 0
        some.append(text)
        length += len(text)
    yield "".join(some)
