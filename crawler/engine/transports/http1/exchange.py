"""One request and its response over HTTP/1.1: bytes in -> head, body pieces and an end. No I/O.

The parser is httptools (llhttp, the parser of Node.js): a response costs it 1 µs where
h11 takes 37. It reads framing as RFC 9112 has it, with its leniencies for bare LF,
obs-fold and Transfer-Encoding beside Content-Length set; equal Content-Length fields,
which it refuses, are made one here (`content_length`).
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

import httptools
import httpx

from crawler.engine.transports import tls
from crawler.engine.transports.http1.chunks import ChunkReader, ChunkState
from crawler.engine.transports.http1.responsehead import body_start, with_one_length
from crawler.engine.transports.wire import WireError
from crawler.models import ErrorKind

_MAX_HEAD = 131_072  # bytes of all heads, up to the end of the final one
_MAX_OVERHEAD = 1_048_576  # bytes of chunk framing and trailers that a small body may have
_CODING_NAME = len(b"transfer-encoding")
_NO_BODY = frozenset({204, 304})
Header = tuple[bytes, bytes]


class ExchangeState(IntEnum):
    """How far the response has come: a final head is awaited, its body is, nothing is."""

    HEAD = 0
    BODY = 1
    DONE = 2


_HEAD, _BODY, _DONE = ExchangeState  # looked up several times for each response


class Listener(Protocol):
    """Takes what an exchange gives, in this order; the end comes exactly once.

    A head that never comes whole is an end with an error; so is a body that is cut short,
    after the head.
    """

    def head_received(self) -> None: ...

    def body_received(self, data: bytes) -> None: ...

    def exchange_ended(self, error: Exception | None) -> None: ...


class Exchange:
    """The response to one request. Times are readings of `time.perf_counter`.

    `size` counts body bytes as they are on the wire. `reusable` says that the response ended
    where its framing says, that no byte came behind it, and that the server keeps the
    connection.
    """

    __slots__ = (
        "_chunks",
        "_fields",
        "_framing_start",
        "_head",
        "_interim",
        "_is_bodiless",
        "_keep_alive",
        "_listener",
        "_parser",
        "_problem",
        "_received",
        "first_byte",
        "headers",
        "last_byte",
        "reusable",
        "size",
        "state",
        "status",
        "version",
    )

    def __init__(self, listener: Listener, *, is_head: bool) -> None:
        self.state = _HEAD
        self.status = 0
        self.headers: list[Header] = []
        self.version = "1.1"
        self.size = 0
        self.first_byte: float | None = None
        self.last_byte: float | None = None
        self.reusable = False
        self._listener = listener
        self._is_bodiless = is_head
        self._interim = False  # the last head was a 1xx response
        self._keep_alive = False
        self._problem: str | None = None
        self._head = b""
        self._received = 0
        self._fields: list[Header] = []  # of the head that is being read
        self._framing_start = 0
        self._chunks: ChunkReader | None = None
        self._parser = _parser(self)

    @property
    def untouched(self) -> bool:
        """Whether no byte of the response has come."""
        return self.first_byte is None

    @property
    def headed(self) -> bool:
        """Whether the head of the final response has come."""
        return self.status >= 200

    def feed(self, data: memoryview, now: float) -> None:
        """Take bytes that came at `now`; `state` says whether the response is done."""
        if self.first_byte is None or self._interim:
            self.first_byte = now
            self._interim = False
        self._received += len(data)
        if self.state is _HEAD:
            self._head += data
            self._parse(data)
            if self.status:
                self._end_head()
        elif self._chunks is None:
            self._parse(data)
        else:
            self._read_chunks(self._chunks, bytes(data))
        if self.state is _DONE:
            self._end(None, now)
        elif problem := self._problem or self._out_of_bounds():
            self._end(httpx.RemoteProtocolError(problem), now)

    def cut_off(self, error: Exception | None, now: float, *, orderly: bool = True) -> None:
        """Take the end of the connection; `error` is why it failed, None if it was closed.

        `orderly` is false if TLS was not closed before the connection was.
        """
        if self.state is not _DONE:
            self._end(error or self._meaning_of_the_end(orderly=orderly), now)

    def abandon(self) -> None:
        """Give the response up; its listener hears no more."""
        if self.state is not _DONE:
            self.state = _DONE
            del self._parser, self._listener

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.state is _DONE:
            self._problem = "bytes beyond the end of the response"

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self.state is not _HEAD:
            return
        fields, self._fields = self._fields, []  # trailers are not wanted
        status = self._parser.get_status_code()
        if b"\0" in self._head and any(b"\0" in value for _, value in fields):
            self._problem = "NUL in a field value"  # RFC 9110, section 5.5
        elif status >= 200:
            self._begin_body(status, fields)
        elif status == 101:
            self._problem = "unexpected 101 Switching Protocols"
        elif status < 100:
            self._problem = f"{status} is not a valid status code"

    def on_body(self, data: bytes) -> None:
        if self._chunks is not None:
            return  # that is read by the other parser
        if self.state is _BODY:
            self.size += len(data)
            self._listener.body_received(data)
        else:
            self._problem = "bytes beyond the end of the response"

    def on_message_complete(self) -> None:
        if self.state is _HEAD:
            self._interim = True
        elif self._chunks is None:
            self.state = _DONE

    # The parts of these.

    def _parse(self, data: memoryview | bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._problem = self._problem or "unexpected 101 Switching Protocols"
        except httptools.HttpParserError as exc:
            if self._chunks is not None:
                return  # what the parser thinks of the body does not count
            if self.state is _HEAD and (repaired := with_one_length(self._head)):
                self._fields = []
                self._head = repaired
                self._parser = _parser(self)
                self._parse(repaired)
            else:
                self._problem = self._problem or self._explained(exc)

    def _begin_body(self, status: int, fields: list[Header]) -> None:
        parser = self._parser
        self.status = status
        self.headers = fields
        self.version = parser.get_http_version()
        self._keep_alive = parser.should_keep_alive()
        self._framing_start = self._received
        self.state = _BODY
        if self._is_bodiless or status in _NO_BODY:
            self.state = _DONE
        elif _is_chunked(fields):
            self._chunks = ChunkReader()

    def _end_head(self) -> None:
        """Announce the head; of a chunked body what came with it is still to be read."""
        head, self._head = self._head, b""
        self._listener.head_received()
        if self._chunks is not None:
            self._read_chunks(self._chunks, head[body_start(head) :])

    def _read_chunks(self, chunks: ChunkReader, data: bytes) -> None:
        try:
            for piece in chunks.feed(data):
                self.size += len(piece)
                self._listener.body_received(piece)
        except ValueError as exc:
            self._problem = f"{exc}"
        if chunks.surplus:
            self._problem = "bytes beyond the end of the response"
        if chunks.state is ChunkState.DONE:
            self.state = _DONE

    def _end(self, error: Exception | None, now: float) -> None:
        self.state = _DONE
        listener = self._listener
        # Both refer to this object: only the collector would free what is left.
        del self._parser, self._listener
        self.last_byte = now
        # After a bare LF a server and a client may differ on where the body ended.
        strict = self._chunks is None or self._chunks.is_strict
        self.reusable = error is None and self._keep_alive and strict and self._problem is None
        listener.exchange_ended(error)

    def _explained(self, exc: Exception) -> str:
        if self.state is _HEAD and self._head[:1] in (b"\x15", b"\x16"):
            return "the server speaks TLS on this port; is it https?"
        return str(exc) or "malformed response"

    def _out_of_bounds(self) -> str | None:
        """Return a message if the head or the chunk framing exceeds its limit."""
        if self.state is _HEAD:
            if self._received > _MAX_HEAD:
                return f"the response head is longer than {_MAX_HEAD:,} bytes"
        else:
            framing = self._received - self._framing_start - self.size
            if framing > _MAX_OVERHEAD + 16 * self.size:
                return "chunk framing or trailers exceed the limit"
        return None

    def _meaning_of_the_end(self, *, orderly: bool) -> Exception | None:
        """Return what a close inside the response means; None if it ends the response."""
        if self.untouched:
            return _disconnected("without a response")
        if self.state is _HEAD:
            return _disconnected("inside the response head")
        names = {name.lower() for name, _ in self.headers}
        coded = b"transfer-encoding" in names
        if self._chunks is not None or (b"content-length" in names and not coded):
            detail = "the connection was closed inside the body"
            return WireError(ErrorKind.BODY_INCOMPLETE, detail)
        # A body that lasts until the close is complete only if TLS was closed too: anybody
        # on the way could have cut it off (RFC 9112, section 9.8).
        return None if orderly else WireError(ErrorKind.BODY_INCOMPLETE, tls.CUT)


def _is_chunked(fields: Sequence[Header]) -> bool:
    """Whether the last transfer coding is chunked (RFC 9112, section 6.3)."""
    coding = b""
    for name, value in fields:
        if len(name) == _CODING_NAME and name.lower() == b"transfer-encoding":
            coding = value
    return coding.lower().endswith(b"chunked")


def _parser(exchange: Exchange) -> httptools.HttpResponseParser:
    parser = httptools.HttpResponseParser(exchange)
    parser.set_dangerous_leniencies(
        lenient_headers=True,
        lenient_chunked_length=True,
        lenient_transfer_encoding=True,
        lenient_optional_cr_before_lf=True,
    )
    return parser


def _disconnected(where: str) -> WireError:
    return WireError(ErrorKind.DISCONNECTED, f"the server closed the connection {where}")
