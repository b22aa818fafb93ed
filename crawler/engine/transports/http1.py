"""One connection, bytes in and out -> HTTP/1.1 exchanges, one after the other."""

import asyncio
import ssl
from collections.abc import Callable
from time import perf_counter
from typing import cast

import httptools
import httpx

from crawler.engine import tls
from crawler.engine.transports import Wire, WireError
from crawler.engine.transports.body import Body
from crawler.engine.transports.chunks import TAIL, ChunkReader, Part, after_bare_lf, is_last
from crawler.engine.transports.head import with_one_length
from crawler.engine.transports.parser import explained, response_parser
from crawler.engine.transports.sockets import readable
from crawler.models import ErrorKind, Phase, Tls

_MAX_HEAD = 131_072  # bytes of all heads, up to the end of the final one
_MAX_OVERHEAD = 1_048_576  # bytes of chunk framing and trailers that a small body may have
_MAX_RAW = 131_072  # bytes kept of a chunked response, to read it in another way
_HIGH_WATER = 262_144  # bytes of body held before reading pauses
_NO_BODY = frozenset({204, 304})
Header = tuple[bytes, bytes]


class Connection(asyncio.BufferedProtocol):
    """A connection to one origin, and the exchange that is under way on it.

    `untouched` says that no byte of the present answer has come. `buffer` may be shared
    by all connections of one event loop: what is read is parsed before another socket
    is. `lost` is called when the connection is given up, and when it is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        buffer: memoryview,
        lost: Callable[["Connection"], None],
    ) -> None:
        self.idle_since = 0.0
        self.remote_ip: str | None = None
        self._waiting: Callable[[], bool] | None = None
        self.tls: Tls | None = None
        self.untouched = True
        self.status = 0
        self.headers: list[Header] = []
        self.version = "1.1"
        self._loop = loop
        self._buffer = buffer
        self._when_lost = lost
        self._spoke_first = False
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._body: Body | None = None
        self._wire = Wire()
        self._waiter: asyncio.Future[None] | None = None
        self._bodiless = False
        self._in_head = False
        self._complete = True
        self._parsed_whole = True
        self._keep = False
        self._read_paused = False
        self._secured: ssl.SSLObject | None = None
        self._cut = False  # TLS ended without close_notify
        self._interim = False
        self._problem: str | None = None
        self._raw: list[bytes] | None = None
        self._chunked = False
        self._header_at = 0
        self._tail = b""
        self._chunks: ChunkReader | None = None
        self._received = 0
        self._framing = 0

    # The exchange, as the transport drives it.

    async def exchange(self, request: bytes, wire: Wire, *, is_head: bool) -> "Body":
        """Send a request and wait for the head of the final response; return its body.

        Raises WireError, httpx.RemoteProtocolError or OSError. A cancelled exchange
        closes the connection.
        """
        assert self._transport is not None
        self._wire = wire
        self._bodiless = is_head
        self._in_head = self.untouched = True
        self._complete = self._keep = self._interim = False
        self._problem = self._chunks = None
        self._chunked = False
        self._raw = []
        self._received = 0
        self.headers = []
        body = self._body = Body(self)
        if self._parser is None or not self._parsed_whole:
            self._parser = response_parser(self)
        self._parsed_whole = False
        wire.phase = Phase.WAIT
        # Before the write: under load this process may lose the processor in it, and the
        # server has the request from then on.
        wire.sent = perf_counter()
        self._transport.write(request)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None
        return body

    @property
    def reusable(self) -> bool:
        """Whether the last exchange ended cleanly and the connection may carry another."""
        ended = self._complete and self._keep and not self._read_paused
        return ended and self._transport is not None

    @property
    def complete(self) -> bool:
        return self._complete

    def fresh(self) -> bool:
        """Whether an idle connection is open still and has no unasked byte waiting to be read."""
        if self._transport is None or self._transport.is_closing():
            return False
        if self._waiting is None:
            self._waiting = readable(self._transport.get_extra_info("socket").fileno())
        return not self._waiting()

    def abort(self) -> None:
        """Close at once. Nothing that is still to come matters any more."""
        self._keep = False
        self._secured = None
        if self._transport is not None:
            self._transport.abort()
        self._when_lost(self)

    def secured_by(self, secured: ssl.SSLObject) -> None:
        """Note what encrypts the connection."""
        self._secured = secured
        if isinstance(secured, tls.TlsObject):
            secured.on_fault = self._rescue

    def resume(self) -> None:
        if self._read_paused and self._transport is not None:
            self._read_paused = False
            self._transport.resume_reading()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports are no subclasses of asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        if self.complete:  # nothing was asked: what comes now must not answer what will be
            self._spoke_first = self._parser is None
            self.abort()
            return
        data = self._buffer[:count]
        if self.untouched or self._interim:
            self._wire.first_byte = perf_counter()
            self.untouched = self._interim = False
        if self._raw is not None:
            self._raw.append(bytes(data))
        self._received += count
        self._feed(data)
        if self._chunked and not self._complete and self._chunks is None:
            self._look_for_last_chunk(data)
        problem = self._problem
        if self._complete:
            self._wire.last_byte = perf_counter()
            self._keep = self._keep and problem is None  # no reuse after bytes beyond the end
            problem = self._raw = None
            if self._read_paused:
                self.resume()  # the next exchange reads on this connection
        elif problem is None:
            problem = self._out_of_bounds()
            self._forget_raw()
            self._pause_when_full()
        if problem is not None:
            self._fail(httpx.RemoteProtocolError(problem))
        elif not self._in_head:
            self._wake()

    def eof_received(self) -> None:
        """Let the transport close; `connection_lost` says what that means."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._complete and self._secured is not None:
            exc = self._read_rest(self._secured, exc)
        self._secured = None
        if not self._complete:
            self._fail(exc or self._cut_off())
        self._when_lost(self)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._complete:
            self._problem = "bytes beyond the end of the response"

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        assert self._parser is not None
        # A NUL must not be taken for part of a value (RFC 9110, section 5.5). Most responses
        # have none anywhere: that is faster to see than to look at each field.
        for piece in self._raw or ():
            if b"\0" in piece and any(b"\0" in value for _, value in self.headers):
                self._problem = "NUL in a field value"
                return
        self.status = status = self._parser.get_status_code()
        if status == 101:
            self._problem = "switched to another protocol unasked"
        elif status < 100:
            self._problem = f"{status} is no status code"
        elif status < 200:
            self.headers = []
        else:
            self._in_head = self._interim = False
            self._framing = self._received
            self._keep = self._parser.should_keep_alive()
            self.version = self._parser.get_http_version()
            self._bodiless = self._bodiless or status in _NO_BODY
            if self._bodiless:
                self._complete = True

    def on_chunk_header(self) -> None:
        if not self._chunked:
            self._chunked = True
            self._tail = b""
        if self._body is not None:
            self._header_at = self._body.size

    def on_body(self, data: bytes) -> None:
        if self._complete or self._body is None:
            self._problem = "bytes beyond the end of the response"
            return
        self._body.add(data)

    def on_message_complete(self) -> None:
        if self._in_head:
            self._interim = True  # the end of a 1xx response
        else:
            self._parsed_whole = True
            self._complete = True

    # The parts of these.

    def _feed(self, data: memoryview | bytes) -> None:
        if self._chunks is not None:
            self._feed_chunks(self._chunks, bytes(data))
            return
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._problem = self._problem or "switched to another protocol unasked"
        except httptools.HttpParserError as exc:
            if not self._read_otherwise():
                self._parsed_whole = False
                head = b"".join(self._raw or ()) if self._in_head else b""
                self._problem = self._problem or explained(exc, head)

    def _read_otherwise(self) -> bool:
        """Read what the parser refused and others read; return whether it was that."""
        if self._complete or self._raw is None or self._problem is not None:
            return False
        raw = b"".join(self._raw)
        if self._in_head:
            repaired = with_one_length(raw)
            if repaired is None:
                return False
            self.headers = []
            self._raw = [repaired]
            self._parser = response_parser(self)
            self._feed(repaired)
            return True
        assert self._body is not None
        found = after_bare_lf(raw)
        if found is None:
            return False
        self._chunks, data, self._problem = found
        if rest := data[self._body.size :]:
            self.on_body(rest)
        self._end_chunks(self._chunks)
        return True

    def _feed_chunks(self, chunks: ChunkReader, data: bytes) -> None:
        try:
            for piece in chunks.feed(data):
                self.on_body(piece)
        except ValueError as exc:
            self._problem = str(exc)
        self._end_chunks(chunks)

    def _end_chunks(self, chunks: ChunkReader) -> None:
        self._keep = self._parsed_whole = False  # nothing is known of what may follow
        self._complete = chunks.part is Part.NOTHING

    def _look_for_last_chunk(self, data: memoryview) -> None:
        """End a body whose last chunk the parser takes for the beginning of one."""
        if self._raw is not None:
            tail = b"".join(self._raw[-TAIL:])[-TAIL:]
        else:
            tail = (self._tail + data[-TAIL:])[-TAIL:]
        self._tail = tail
        if self._body is not None and self._header_at == self._body.size and is_last(tail):
            self._keep = self._parsed_whole = False
            self._complete = True

    def _forget_raw(self) -> None:
        """Keep the bytes of a response no longer than they may have to be read once more."""
        if self._raw is None or self._in_head or self._body is None:
            return
        plain = self._body.size > 0 and not self._chunked and self._chunks is None
        if plain or self._chunks is not None or self._received > _MAX_RAW:
            self._raw = None

    def _out_of_bounds(self) -> str | None:
        """Return what a server sends without end, if it is not a body."""
        if self._in_head:
            if self._received > _MAX_HEAD:
                return f"the response head is longer than {_MAX_HEAD:,} bytes"
        elif self._body is not None:
            framing = self._received - self._framing - self._body.size
            if framing > _MAX_OVERHEAD + 16 * self._body.size:
                return "the chunk framing or trailers do not end"
        return None

    def _rescue(self, free: int) -> None:
        """Take in what was read before a fault of TLS that is about to end the connection."""
        count = len(self._buffer) - free
        if count > 0:
            self.buffer_updated(count)
        self._keep = False

    def _read_rest(self, secured: ssl.SSLObject, exc: Exception | None) -> Exception | None:
        """Take in what TLS still holds of a closed connection; return why it was closed.

        Event loops leave it there if the close comes while reading is paused.
        """
        if isinstance(exc, ssl.SSLError):
            return exc  # a fatal alert reads like a proper close afterwards
        try:
            for count in tls.read_rest(secured, self._buffer):
                self.buffer_updated(count)
                if self._complete:
                    break
        except ssl.SSLWantReadError:
            self._cut = True
            return exc
        except ssl.SSLError as fault:
            return fault
        return None  # closed properly: what TCP says afterwards matters no more

    def _pause_when_full(self) -> None:
        """Pause reading while much of the body waits for its reader.

        Only for a response that goes on: of one that is complete nothing is left to read, and
        nobody would resume.
        """
        if self._body is None or self._body.held <= _HIGH_WATER or self._read_paused:
            return
        if self._transport is not None:
            self._read_paused = True
            self._transport.pause_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        elif self._body is not None:
            self._body.wake()

    def _cut_off(self) -> Exception | None:
        """Return what an end of the connection inside the exchange means; None: its end."""
        if self._spoke_first:
            return httpx.RemoteProtocolError("the server spoke before it was asked")
        if self.untouched:
            return _disconnected("without an answer")
        if self._in_head:
            return _disconnected("inside the response head")
        fields = {name.lower(): value.lower() for name, value in self.headers}
        coding = fields.get(b"transfer-encoding")
        if b"content-length" in fields if coding is None else coding.endswith(b"chunked"):
            detail = "the connection was closed inside the body"
            return WireError(ErrorKind.BODY_INCOMPLETE, detail)
        # A body that lasts until the close is complete only if TLS was closed too (RFC 9112, 9.8).
        return WireError(ErrorKind.BODY_INCOMPLETE, tls.CUT) if self._cut else None

    def _fail(self, exc: Exception | None) -> None:
        """End the exchange: with an error, or without one where the close was its proper end."""
        self._complete = True
        self._wire.last_byte = perf_counter()
        self._parsed_whole = False
        waiter, self._waiter = self._waiter, None
        if exc is not None and self._in_head:
            if waiter is not None and not waiter.done():
                waiter.set_exception(exc)
        elif self._body is not None:
            self._body.error = exc  # after the head: the status stands, reading on fails
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
            self._body.wake()
        self.abort()


def _disconnected(where: str) -> WireError:
    return WireError(ErrorKind.DISCONNECTED, f"the server closed the connection {where}")
