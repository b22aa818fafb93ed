"""One request and its response over HTTP/1.1: bytes in -> head, body pieces and an end. No I/O.

The parser is httptools (llhttp, the parser of Node.js): a response costs it 1 µs where
h11 takes 37. It reads framing as RFC 9112 defines it, with its leniencies for bare LF,
obs-fold and Transfer-Encoding together with Content-Length set; equal Content-Length fields,
which it refuses, are merged here (`responsehead`).
"""

from enum import IntEnum

import httptools

from crawler.engine.transports import tls
from crawler.engine.transports.http1.chunks import ChunkReader, ChunkState
from crawler.engine.transports.http1.listener import NOBODY, Listener
from crawler.engine.transports.http1.responsehead import (
    Header,
    ResponseHead,
    body_start,
    is_complete,
    response_head,
    with_one_length,
)
from crawler.engine.transports.wire import InvalidResponseError, WireError
from crawler.models import ErrorKind

_MAX_HEAD = 131_072  # bytes of all heads, up to the end of the final one
_MAX_OVERHEAD = 1_048_576  # bytes of chunk framing and trailers that a small body may have
_NO_BODY = frozenset({204, 304})
_BEYOND = "bytes beyond the end of the response"


class ExchangeState(IntEnum):
    """What is awaited: the head of the final response, its body, or nothing any more."""

    HEAD = 0
    BODY = 1
    DONE = 2


_HEAD, _BODY, _DONE = ExchangeState  # looked up several times for each response


class Exchange:
    """The response to one request. Times are readings of `time.perf_counter`.

    `head` is that of the final response, None until it has come. `size` counts body bytes
    as they are on the wire. `first_byte` is the time of the latest head's first byte, interim
    ones included.
    """

    __slots__ = (
        "_chunks",
        "_fields",
        "_is_bodiless",
        "_is_interim",
        "_listener",
        "_parser",
        "_problem",
        "_received",
        "_text",
        "first_byte",
        "head",
        "last_byte",
        "size",
        "state",
    )

    def __init__(self, listener: Listener, *, is_head: bool) -> None:
        self.state = _HEAD
        self.head: ResponseHead | None = None
        self.size = 0
        self.first_byte: float | None = None
        self.last_byte: float | None = None
        self._listener = listener
        self._is_bodiless = is_head
        self._is_interim = False  # the latest head was that of a 1xx response
        self._problem: str | None = None
        self._text = b""  # all heads, until the final one is complete
        self._fields: list[Header] = []  # of the head that is being read
        self._received = 0  # bytes of heads; after the final one, of the body and its framing
        self._chunks: ChunkReader | None = None
        # It refers to this object: only the collector would free the two if it stayed.
        self._parser: httptools.HttpResponseParser | None = _parser(self)

    @property
    def untouched(self) -> bool:
        """Whether no byte of the response has come."""
        return self.first_byte is None

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another exchange.

        It can if this response ended as its framing says, nothing but blank lines came after
        it, and the server keeps the connection open.
        """
        if self.state is not _DONE or self._problem is not None or self.head is None:
            return False
        # After a bare LF, server and client may disagree on the end of the body.
        return self.head.keep_alive and (self._chunks is None or self._chunks.is_strict)

    def feed(self, data: memoryview, now: float) -> None:
        """Process bytes received at `now`; then `state` is DONE if the response is complete."""
        if self.first_byte is None or self._is_interim:
            self.first_byte = now
            self._is_interim = False
        self._received += len(data)
        if self.state is _HEAD:
            self._text += data
            self._parse(data)
            if self._chunks is not None:
                self._read_rest(self._chunks)
            elif self.state is not _HEAD:
                self._text, self._received = b"", 0
        elif self._chunks is None:
            self._parse(data)
        else:
            self._read_chunks(self._chunks, bytes(data))
        if self.state is _DONE:
            self._end(None, now)
        elif problem := self._problem or self._out_of_bounds():
            self._end(InvalidResponseError(problem), now)

    def cut_off(self, error: Exception | None, now: float, *, orderly: bool = True) -> None:
        """Process the end of the connection; `error` is why it failed, None if it was closed.

        `orderly` is false if TLS was not closed before the connection was.
        """
        if self.state is not _DONE:
            self._end(error or self._error_of_close(orderly=orderly), now)

    def abandon(self) -> None:
        """Drop the rest of the response; the listener gets no more calls."""
        if self.state is not _DONE:
            self.state = _DONE
            self._problem = "abandoned"
            self._listener, self._parser = NOBODY, None

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.state is _DONE:
            self._problem = _BEYOND

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if self.state is not _HEAD or self._problem is not None or parser is None:
            return
        status = parser.get_status_code()
        if b"\0" in self._text and any(b"\0" in value for _, value in self._fields):
            self._problem = "NUL in a field value"  # RFC 9110, section 5.5
        elif status >= 200:
            keep_alive = parser.should_keep_alive()
            version, fields = parser.get_http_version(), self._fields.copy()
            self._fields.clear()  # for trailers, which nobody needs
            self._begin_body(response_head(status, fields, version, keep_alive=keep_alive))
        elif status == 101:
            self._problem = "unexpected 101 Switching Protocols"
        elif status < 100:
            self._problem = f"{status} is not a valid status code"
        else:
            self._fields.clear()

    def on_body(self, data: bytes) -> None:
        if self._chunks is not None:
            return  # the chunk reader reads it
        if self.state is _BODY:
            self.size += len(data)
            self._listener.body_received(data)
        else:
            self._problem = self._problem or _BEYOND

    def on_message_complete(self) -> None:
        if self.state is _HEAD:
            self._is_interim = True
        elif self._chunks is None:
            self.state = _DONE

    # Parts of the above.

    def _parse(self, data: memoryview | bytes) -> None:
        if self._parser is None:
            self._repair()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as exc:
            raise exc.__context__ or exc from None  # a fault of ours, not of the server
        except httptools.HttpParserUpgrade:
            self._problem = self._problem or "unexpected 101 Switching Protocols"
        except httptools.HttpParserError as exc:
            if self._chunks is not None:
                return  # only the chunk reader judges the body
            if self.state is _HEAD and "Content-Length" in str(exc):
                self._parser = None  # until the head is complete
                self._repair()
            else:
                self._problem = self._problem or self._explained(exc)

    def _repair(self) -> None:
        """Read the heads anew, with one Content-Length, once the final one is complete."""
        if not is_complete(self._text):
            return
        repaired = with_one_length(self._text)
        if repaired is None:
            self._problem = "invalid or conflicting Content-Length"
            return
        self._fields.clear()
        self._text = repaired
        self._parser = _parser(self)
        self._parse(repaired)

    def _begin_body(self, head: ResponseHead) -> None:
        self.head = head
        self.state = _BODY
        if self._is_bodiless or head.status in _NO_BODY:
            self.state = _DONE
        elif head.is_chunked():
            self._chunks = ChunkReader()
        self._listener.head_received()

    def _read_rest(self, chunks: ChunkReader) -> None:
        """Read what came of a chunked body together with the head."""
        text, self._text = self._text, b""
        rest = text[body_start(text) :]
        self._received = len(rest)
        self._read_chunks(chunks, rest)

    def _read_chunks(self, chunks: ChunkReader, data: bytes) -> None:
        try:
            for piece in chunks.feed(data):
                if self.state is _DONE:
                    return  # abandoned
                self.size += len(piece)
                self._listener.body_received(piece)
        except ValueError as exc:
            self._problem = f"{exc}"
        if chunks.surplus:
            self._problem = _BEYOND
        if chunks.state is ChunkState.DONE:
            self.state = _DONE

    def _end(self, error: Exception | None, now: float) -> None:
        self.state = _DONE
        self.last_byte = now
        if error is not None:
            self._problem = str(error)
        listener = self._listener
        self._listener, self._parser = NOBODY, None
        listener.exchange_ended(error)

    def _explained(self, exc: Exception) -> str:
        if self.state is _HEAD and self._text[:1] in (b"\x15", b"\x16"):
            return "the server speaks TLS on this port; is it https?"
        return str(exc) or "malformed response"

    def _out_of_bounds(self) -> str | None:
        """Return a message if the head or the chunk framing exceeds its limit."""
        if self.state is _HEAD:
            if self._received > _MAX_HEAD:
                return f"the response head is longer than {_MAX_HEAD:,} bytes"
        elif self._received - self.size > _MAX_OVERHEAD + 16 * self.size:
            return "chunk framing or trailers exceed the limit"
        return None

    def _error_of_close(self, *, orderly: bool) -> Exception | None:
        """Return the error of a close during the response; None if the close ends it properly."""
        if self.untouched:
            return _disconnected("without a response")
        if self.head is None:
            return _disconnected("inside the response head")
        if self._chunks is not None or self.head.has_length():
            detail = "the connection was closed inside the body"
            return WireError(ErrorKind.BODY_INCOMPLETE, detail)
        # A body that lasts until the close is complete only if TLS was closed too: anybody
        # on the path could have cut it off (RFC 9112, section 9.8).
        return None if orderly else WireError(ErrorKind.BODY_INCOMPLETE, tls.CUT)


def _parser(exchange: Exchange) -> httptools.HttpResponseParser:
    parser = httptools.HttpResponseParser(exchange)
    parser.set_dangerous_leniencies(
        lenient_headers=True,
        lenient_chunked_length=True,
        lenient_transfer_encoding=True,
        lenient_optional_cr_before_lf=True,
    )
    return parser


def _disconnected(when: str) -> WireError:
    return WireError(ErrorKind.DISCONNECTED, f"the server closed the connection {when}")
