"""The head of a response: its fields, and its bytes before they are parsed.

The parser refuses any second Content-Length; RFC 9112, section 6.3, lets a recipient take
several equal ones for one.
"""

import re
from typing import NamedTuple

Header = tuple[bytes, bytes]

_INTERIM = re.compile(rb"HTTP/1\.[0-9] 1[0-9][0-9][ \r\n]")
_BLANK = re.compile(rb"[\r\n]*+")  # lines that the parser skips before a head
_END = re.compile(rb"\r?\n\r?\n")
# Possessive: a value of thousands of blanks must not make the match backtrack.
_LENGTH = re.compile(rb"^content-length:([0-9, \t]*+)\r?\n", re.IGNORECASE | re.MULTILINE)


class ResponseHead(NamedTuple):
    """The head of a final response. `version` is "1.0" or "1.1".

    `last` holds the last value of each field, by its name in lower case.
    """

    status: int
    headers: list[Header]
    last: dict[bytes, bytes]
    version: str
    keep_alive: bool

    def is_chunked(self) -> bool:
        """Whether the last transfer coding is chunked (RFC 9112, section 6.3)."""
        coding = self.last.get(b"transfer-encoding")
        return coding is not None and coding.lower().split(b",")[-1].strip() == b"chunked"

    def has_length(self) -> bool:
        """Whether the length of the body is given by Content-Length."""
        return not self.last.get(b"transfer-encoding") and b"content-length" in self.last


def response_head(
    status: int, headers: list[Header], version: str, *, keep_alive: bool
) -> ResponseHead:
    last = {name.lower(): value for name, value in headers}
    return ResponseHead(status, headers, last, version, keep_alive)


def with_one_length(data: bytes) -> bytes | None:
    """Return `data` with one Content-Length in its final head; None if it needs no repair,
    or is beyond it.

    `data` may begin with interim (1xx) heads, and go on with a part of the body.
    """
    start, stop = _final_head(data)
    head = data[start:stop]
    found = _LENGTH.findall(head)
    values = {value.strip() for field in found for value in field.split(b",")}
    if len(values) != 1 or (len(found) == 1 and b"," not in found[0]):
        return None
    rest = iter([b"Content-Length: " + values.pop() + b"\r\n"])
    return data[:start] + _LENGTH.sub(lambda _: next(rest, b""), head) + data[stop:]


def is_complete(data: bytes) -> bool:
    """Whether the end of the final head has come."""
    start, stop = _final_head(data)
    return _END.search(data, start, stop) is not None


def body_start(data: bytes) -> int:
    """Return the index at which the body begins, after the final head."""
    return _final_head(data)[1]


def _final_head(data: bytes) -> tuple[int, int]:
    """Return the indices at which the final head, after interim ones, begins and ends."""
    start = _BLANK.match(data).end()  # type: ignore[union-attr]  # it matches nothing, too
    end = _END.search(data, start)
    while end is not None and _INTERIM.match(data, start):
        start = _BLANK.match(data, end.end()).end()  # type: ignore[union-attr]
        end = _END.search(data, start)
    return start, end.end() if end is not None else len(data)
