"""Files, standard input and URLs on the command line -> targets, read as they are needed."""

import asyncio
import os
import re
import select
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field

from crawler.core.display import display
from crawler.core.urllist import ListError, Splitter, UrlList
from crawler.inputs.sources import Source
from crawler.models import Result, Target
from crawler.system.threads import DaemonExecutor

_CHUNK = 65_536
_NOT_ALL = 1 - 1e-9
_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")  # none that text may have
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(slots=True)
class Inputs:
    """All sources of one run, read one after the other into one numbered list."""

    sources: Sequence[Source]
    urls: UrlList
    finished: bool = False
    _threads: DaemonExecutor = field(default_factory=lambda: DaemonExecutor(1, "list"))

    async def entries(self) -> AsyncGenerator[Target | Result, None]:
        """Yield targets and `invalid` records; raises ListError where a file is no list."""
        for source in self.sources:
            if source.fd is None and not source.fifo:
                if entry := self.urls.entry(source.name, source="argument"):
                    yield entry
                continue
            start = 1
            async for lines in self._lines(source):
                name = display(source.name)
                for entry in self.urls.parse(lines, source=name, start=start):
                    yield entry
                start += len(lines)
        self.finished = True

    def bytes_read(self) -> int:
        """Return how many bytes of all lists have been read, whatever stood there."""
        return sum(source.read for source in self.sources)

    def share_read(self) -> float | None:
        """Return which part of the lists has been read, 0 to 1; None where it is not known."""
        files = [source for source in self.sources if source.fd is not None or source.fifo]
        sizes = [source.size for source in files if source.size is not None]
        if self.finished:
            return 1.0
        if len(sizes) < len(files) or not sum(sizes):
            return None
        return min(_NOT_ALL, sum(source.read for source in files) / sum(sizes))

    async def _lines(self, source: Source) -> AsyncIterator[list[str]]:
        """Yield lines in the pieces in which a file or a pipe gives them, without blocking."""
        loop = asyncio.get_running_loop()
        splitter = Splitter()
        first = True
        name = "standard input" if source.name == "-" else display(source.name)
        while True:
            try:
                if source.fd is None:
                    opening = loop.run_in_executor(self._threads, os.open, source.name, os.O_RDONLY)
                    source.fd = await opening
                data = await loop.run_in_executor(self._threads, _read, source.fd)
            except OSError as exc:
                raise ListError(f"cannot read {name}: {exc.strerror}") from exc
            if first:
                _refuse_binary(name, data)
            first = False
            yield splitter.feed(data, final=not data)
            source.read += len(data)  # now that its lines were taken
            if not data:
                if source.name != "-":
                    os.close(source.fd)  # a socket that got the number 0 would abort uvloop
                return


def _read(fd: int) -> bytes:
    """Return the next piece; waits for it also where another process made `fd` non-blocking."""
    while True:
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            select.select([fd], [], [])


def _refuse_binary(name: str, head: bytes) -> None:
    """Raise ListError where the first bytes of a file show that it is no UTF-8 text."""
    if head.startswith(_UTF16):
        raise ListError(f"{name}, line 1: is UTF-16, not UTF-8 text")
    if b"\0" in head:
        line = head[: head.index(b"\0")].count(b"\n") + 1
        raise ListError(f"{name}, line {line}: is binary or UTF-16, not UTF-8 text")
    if control := _CONTROL.search(head):
        try:
            head.decode("utf-8")
        except UnicodeDecodeError as exc:
            if exc.end < len(head):  # else the piece may have ended inside a character
                line = head[: control.start()].count(b"\n") + 1
                raise ListError(f"{name}, line {line}: is binary, not UTF-8 text") from exc
