"""The bytes of a chunked body -> its data (RFC 9112, section 7.1).

llhttp requires CRLF at the end of a chunk-size line; browsers, curl and section 2.2 accept a
bare LF too. So the parser reads only the head of a chunked response, and this its body.
"""

import re
from collections.abc import Iterator
from enum import IntEnum

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_LONGEST_LINE = 16_384  # bytes


class ChunkState(IntEnum):
    """What comes next; after DONE, nothing."""

    SIZE = 0
    DATA = 1
    END_OF_DATA = 2
    TRAILER = 3
    DONE = 4


class ChunkReader:
    """Decodes one chunked body.

    `is_strict`: every chunk-size line ended with CRLF; `surplus`: bytes came after the end of
    the body.
    """

    __slots__ = ("_left", "_line", "is_strict", "state", "surplus")

    def __init__(self) -> None:
        self.state = ChunkState.SIZE
        self.is_strict = True
        self.surplus = False
        self._line = b""  # the part of a line that has come
        self._left = 0  # bytes of data in the present chunk

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the data of the chunks. Raises ValueError if this is not a chunked body."""
        at = 0
        while at < len(data):
            if self.state is ChunkState.DATA:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self.state = ChunkState.END_OF_DATA
                yield piece
            elif self.state is ChunkState.DONE:
                self.surplus = True
                return
            else:
                end = data.find(b"\n", at) + 1
                self._line += data[at : end or len(data)]
                if len(self._line) > _LONGEST_LINE:
                    limit = f"{_LONGEST_LINE:,} bytes"
                    raise ValueError(f"a line of the chunk framing is longer than {limit}")
                if not end:
                    return
                at = end
                line, self._line = self._line, b""
                self._end_line(line)

    def _end_line(self, line: bytes) -> None:
        text = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        if self.state is ChunkState.SIZE:
            found = _SIZE.fullmatch(text)
            if found is None:
                raise ValueError("invalid chunk size")
            self.is_strict = self.is_strict and line.endswith(b"\r\n")
            self._left = int(found[1], 16)
            self.state = ChunkState.DATA if self._left else ChunkState.TRAILER
        elif self.state is ChunkState.END_OF_DATA:
            if text:
                raise ValueError("a chunk is longer than its size")
            self.state = ChunkState.SIZE
        elif not text:
            self.state = ChunkState.DONE
