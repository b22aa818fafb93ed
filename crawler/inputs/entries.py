"""Files, standard input and URLs on the command line -> entries, read as they are needed."""

import asyncio
import os
import re
import select
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from crawler.core.display import escape
from crawler.core.urllist import LineSplitter, ListError, UrlList, source_name
from crawler.inputs.sources import Source
from crawler.models import Result, Target
from crawler.system.threads import DaemonExecutor

_CHUNK = 65_536
_NOT_ALL = 1 - 1e-9
_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")  # control characters not used in text
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class SourceReader:
    """Reads the sources of a run, one after the other, as one numbered list."""

    def __init__(self, sources: Sequence[Source], urls: UrlList) -> None:
        self.sources = sources
        self.urls = urls
        self.finished = False
        self._threads = DaemonExecutor(1, "list")

    async def entries(self) -> AsyncGenerator[Target | Result, None]:
        """Yield targets and `invalid` results; raises ListError if a file is not a list."""
        for source in self.sources:
            if not source.is_list:
                if entry := self.urls.parse_entry(source.name, source="argument"):
                    yield entry
                continue
            start = 1
            async for lines in self._lines(source):
                name = escape(source.name)
                for entry in self.urls.parse(lines, source=name, start=start):
                    yield entry
                start += len(lines)
        self.finished = True

    @property
    def duplicates(self) -> int:
        """The number of entries skipped because an equal URL preceded them."""
        return self.urls.duplicates

    def bytes_read(self) -> int:
        """Return the bytes read from all lists, comments and duplicates included."""
        return sum(source.read for source in self.sources)

    def share_read(self) -> float | None:
        """Return the share of the lists read so far, 0 to 1; None if it is unknown."""
        lists = [source for source in self.sources if source.is_list]
        sizes = [source.size for source in lists if source.size is not None]
        if self.finished:
            return 1.0
        if len(sizes) < len(lists) or not sum(sizes):
            return None
        return min(_NOT_ALL, sum(source.read for source in lists) / sum(sizes))

    def has_end(self) -> bool:
        """Whether the lists are known to end: a pipe may never end."""
        return self.share_read() is not None

    async def _lines(self, source: Source) -> AsyncIterator[list[str]]:
        """Yield the complete lines of each chunk of a file or a pipe, without blocking."""
        loop = asyncio.get_running_loop()
        splitter = LineSplitter()
        first = True
        name = escape(source_name(source.name))
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
            source.read += len(data)  # only now: its lines have been taken
            if not data:
                if source.name != "-":
                    os.close(source.fd)  # standard input stays open: uvloop aborts on a socket 0
                return


def _read(fd: int) -> bytes:
    """Return the next chunk; blocks even if another process made `fd` non-blocking."""
    while True:
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            select.select([fd], [], [])


def _refuse_binary(name: str, head: bytes) -> None:
    """Raise ListError if the first bytes of a file show that it is not UTF-8 text."""
    if head.startswith(_UTF16):
        raise ListError(f"{name}, line 1: is UTF-16, not UTF-8 text")
    if b"\0" in head:
        line = head[: head.index(b"\0")].count(b"\n") + 1
        raise ListError(f"{name}, line {line}: is binary or UTF-16, not UTF-8 text")
    if control := _CONTROL.search(head):
        try:
            head.decode("utf-8")
        except UnicodeDecodeError as exc:
            if exc.end < len(head):  # otherwise the chunk may just end inside a character
                line = head[: control.start()].count(b"\n") + 1
                raise ListError(f"{name}, line {line}: is binary, not UTF-8 text") from exc
