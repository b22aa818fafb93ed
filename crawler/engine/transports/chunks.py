"""A chunked body with bare LF at line ends -> its data (RFC 9112, sections 2.2 and 7.1).

The parser wants CRLF at the end of a chunk-size line, or two LF. Browsers and curl also
read one LF, and some servers send no more than that. A response is read here from its beginning, so
that the first such line must be among its first 128 KB.
"""

import re
from collections.abc import Iterator
from enum import IntEnum

from crawler.engine.transports.head import body_start

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_LAST = re.compile(rb"\n0+[ \t]*(?:;[^\r\n]*)?\n\n\Z")
TAIL = 64  # bytes in which a last chunk is looked for
_LONGEST_LINE = 16_384  # bytes


class Part(IntEnum):
    """What comes next."""

    SIZE = 0
    DATA = 1
    END_OF_DATA = 2
    TRAILER = 3
    NOTHING = 4


class ChunkReader:
    """Decodes one chunked body. `bare` says that a chunk-size line ended with a bare LF."""

    def __init__(self) -> None:
        self.part = Part.SIZE
        self.bare = False
        self._line = b""  # what has come of it
        self._left = 0  # bytes of data

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the data of the chunks. Raises ValueError if this is no chunked body."""
        at = 0
        while at < len(data) and self.part is not Part.NOTHING:
            if self.part is Part.DATA:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self.part = Part.END_OF_DATA
                yield piece
                continue
            end = data.find(b"\n", at) + 1
            self._line += data[at : end or len(data)]
            if len(self._line) > _LONGEST_LINE:
                raise ValueError(f"a line of the chunk framing is longer than {_LONGEST_LINE:,}")
            if not end:
                return
            at = end
            line, self._line = self._line, b""
            self._end_line(line)

    def _end_line(self, line: bytes) -> None:
        text = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        match self.part:
            case Part.SIZE:
                found = _SIZE.fullmatch(text)
                if found is None:
                    raise ValueError("Invalid character in chunk size")
                self.bare = self.bare or not line.endswith(b"\r\n")
                self._left = int(found[1], 16)
                self.part = Part.DATA if self._left else Part.TRAILER
            case Part.END_OF_DATA:
                if text:
                    raise ValueError("Expected LF after chunk data")
                self.part = Part.SIZE
            case _:
                if not text:
                    self.part = Part.NOTHING


def after_bare_lf(response: bytes) -> tuple[ChunkReader, bytes, str | None] | None:
    """Return a reader that has read a response so far, its data, and what is wrong with it.

    `response` begins with its head. None if no chunk-size line of it ends with a bare LF.
    """
    start = body_start(response)
    if start is None:
        return None
    reader = ChunkReader()
    data = b""
    problem = None
    try:
        for piece in reader.feed(response[start:]):
            data += piece
    except ValueError as exc:
        problem = str(exc)
    return (reader, data, problem) if reader.bare else None


def is_last(tail: bytes) -> bool:
    """Whether a body that ends so has ended with a last chunk and an empty line.

    Only if the parser has just read a chunk-size line: it takes both LF for the end of that,
    and waits for the empty line.
    """
    return _LAST.search(tail) is not None
