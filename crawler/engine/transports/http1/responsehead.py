"""The bytes of a response head -> where it ends, and the same with one Content-Length.

The parser refuses any second Content-Length; RFC 9112, section 6.3, lets a recipient take
several equal ones for one.
"""

import re

_INTERIM = re.compile(rb"HTTP/1\.[0-9] 1[0-9][0-9][ \r\n]")
_END = re.compile(rb"\r?\n\r?\n")
# Possessive: a value of thousands of blanks must not make the match go back and forth.
_LENGTH = re.compile(rb"^content-length:([0-9, \t]*+)\r?\n", re.IGNORECASE | re.MULTILINE)


def with_one_length(data: bytes) -> bytes | None:
    """Return `data` with one Content-Length in its final head; None where that mends nothing.

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


def body_start(data: bytes) -> int:
    """Return where the body begins, behind the final head."""
    return _final_head(data)[1]


def _final_head(data: bytes) -> tuple[int, int]:
    """Return where the final head begins, behind interim ones, and where it ends."""
    start = 0
    end = _END.search(data)
    while end is not None and _INTERIM.match(data, start):
        start = end.end()
        end = _END.search(data, start)
    return start, end.end() if end is not None else len(data)
