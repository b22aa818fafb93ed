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
_NO_BODY = frozenset({204, 304})
Header = tuple[bytes, bytes]


class ExchangeState(IntEnum):
    """How far the response has come: a final head is awaited, its body is, nothing is."""

    HEAD = 0
    BODY = 1
    DONE = 2


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
        self.state = ExchangeState.HEAD
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
        if self._chunks is not None:
            self._read_chunks(self._chunks, bytes(data))
        elif self.state is ExchangeState.HEAD:
            self._head += data
            self._parse(data)
            if self.headed:
                self._end_head()
        else:
            self._parse(data)
        if self.state is ExchangeState.DONE:
            self._end(None, now)
        elif problem := self._problem or self._out_of_bounds():
            self._end(httpx.RemoteProtocolError(problem), now)

    def cut_off(self, error: Exception | None, now: float, *, orderly: bool = True) -> None:
        """Take the end of the connection; `error` is why it failed, None if it was closed.

        `orderly` is false if TLS was not closed before the connection was.
        """
        if self.state is not ExchangeState.DONE:
            self._end(error or self._meaning_of_the_end(orderly=orderly), now)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.state is ExchangeState.DONE:
            self._problem = "bytes beyond the end of the response"

    def on_header(self, name: bytes, value: bytes) -> None:
        if b"\0" in value:  # RFC 9110, section 5.5
            self._problem = "NUL in a field value"
        if self.state is ExchangeState.HEAD:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.state is not ExchangeState.HEAD or self._problem is not None:
            return
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status
            self.state = ExchangeState.BODY
            self._framing_start = self._received
            self._keep_alive = self._parser.should_keep_alive()
            self.version = self._parser.get_http_version()
            if self._is_bodiless or status in _NO_BODY:
                self.state = ExchangeState.DONE
            elif _is_chunked(self.headers):
                self._chunks = ChunkReader()
        elif status == 101:
            self._problem = "unexpected 101 Switching Protocols"
        elif status < 100:
            self._problem = f"{status} is not a valid status code"
        else:
            self.headers = []

    def on_body(self, data: bytes) -> None:
        if self._chunks is not None:
            return  # that is read by the other parser
        if self.state is ExchangeState.BODY:
            self.size += len(data)
            self._listener.body_received(data)
        else:
            self._problem = "bytes beyond the end of the response"

    def on_message_complete(self) -> None:
        if self.state is ExchangeState.HEAD:
            self._interim = True
        elif self._chunks is None:
            self.state = ExchangeState.DONE

    # The parts of these.

    def _parse(self, data: memoryview | bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._problem = self._problem or "unexpected 101 Switching Protocols"
        except httptools.HttpParserError as exc:
            if self._chunks is not None:
                return  # what the parser thinks of the body does not count
            if self.state is ExchangeState.HEAD and (repaired := with_one_length(self._head)):
                self.headers = []
                self._head = repaired
                self._parser = _parser(self)
                self._parse(repaired)
            else:
                self._problem = self._problem or self._explained(exc)

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
            self.state = ExchangeState.DONE

    def _end(self, error: Exception | None, now: float) -> None:
        self.state = ExchangeState.DONE
        del self._parser  # it refers to this object: only the collector would free the two
        self.last_byte = now
        # After a bare LF a server and a client may differ on where the body ended.
        strict = self._chunks is None or self._chunks.is_strict
        self.reusable = error is None and self._keep_alive and strict and self._problem is None
        self._listener.exchange_ended(error)

    def _explained(self, exc: Exception) -> str:
        if self.state is ExchangeState.HEAD and self._head[:1] in (b"\x15", b"\x16"):
            return "the server speaks TLS on this port; is it https?"
        return str(exc) or "malformed response"

    def _out_of_bounds(self) -> str | None:
        """Return a message if the head or the chunk framing exceeds its limit."""
        if self.state is ExchangeState.HEAD:
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
        if self.state is ExchangeState.HEAD:
            return _disconnected("inside the response head")
        names = {name.lower() for name, _ in self.headers}
        coded = b"transfer-encoding" in names
        if self._chunks is not None or (b"content-length" in names and not coded):
            detail = "the connection was closed inside the body"
            return WireError(ErrorKind.BODY_INCOMPLETE, detail)
        # A body that lasts until the close is complete only if TLS was closed too: anybody
        # on the way could have cut it off (RFC 9112, section 9.8).
        return None if orderly else WireError(ErrorKind.BODY_INCOMPLETE, tls.CUT)


def _is_chunked(headers: Sequence[Header]) -> bool:
    """Whether the last transfer coding is chunked (RFC 9112, section 6.3)."""
    codings = [value for name, value in headers if name.lower() == b"transfer-encoding"]
    return bool(codings) and codings[-1].lower().endswith(b"chunked")


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
