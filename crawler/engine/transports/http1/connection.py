"""A socket to one origin, plain or TLS, that carries one exchange after the other."""

import socket
import ssl
from collections.abc import Callable
from enum import IntEnum
from time import perf_counter

from crawler.engine.transports import tls
from crawler.engine.transports.http1.exchange import Exchange, ExchangeState
from crawler.engine.transports.http1.nested import NestedTls
from crawler.engine.transports.http1.opening import Opening, Socket
from crawler.engine.transports.http1.poller import ENDED, READABLE, WRITABLE, Poller, has_input
from crawler.engine.transports.wire import InvalidResponseError

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_NO_SOCKET = -1


class ConnectionState(IntEnum):
    """IDLE: open, without an exchange; BUSY: in an exchange."""

    OPENING = 0
    IDLE = 1
    BUSY = 2
    CLOSED = 3


_OPENING, _IDLE, _BUSY, _CLOSED = ConnectionState  # looked up several times for each response
_DONE = ExchangeState.DONE


class Connection:
    """A connection and the exchange in progress on it.

    `buffer` may be shared by all connections of one event loop: what is read is parsed
    before another socket is read. `opened` is called once, with None or with why it failed
    to open, unless `close` comes first; `closed` is called once, when the connection is
    closed. `opening` keeps the facts of the socket.

    Listeners may close the connection from their callbacks, and pause it.
    """

    __slots__ = (
        "_buffer",
        "_closed",
        "_exchange",
        "_failure",
        "_fd",
        "_is_emptied",
        "_is_plain",
        "_not_before",
        "_opened",
        "_paused",
        "_poller",
        "_sock",
        "_unsent",
        "idle_since",
        "opening",
        "state",
    )

    def __init__(
        self,
        poller: Poller,
        buffer: memoryview,
        *,
        security: tuple[ssl.SSLContext, str] | None,
        opened: Callable[[Exception | None], None],
        closed: Callable[["Connection"], None],
    ) -> None:
        self.state = _OPENING
        self.opening = Opening(poller, security, self._open)
        self.idle_since = 0.0
        self._poller = poller
        self._buffer = buffer
        self._opened = opened
        self._closed = closed
        self._sock: Socket | None = None
        self._is_plain = True
        self._is_emptied = False  # the latest read took all there was; what comes is reported
        self._fd = _NO_SOCKET
        self._exchange: Exchange | None = None
        self._unsent = b""
        self._not_before = 0.0  # what is read from now on came after this
        self._failure: Exception | None = None  # why sending failed, or an idle one was closed
        self._paused = False

    def send(self, request: bytes, exchange: Exchange) -> None:
        """Start an exchange on an open connection; its listener learns what goes wrong."""
        if self.state is _CLOSED:  # since it was opened, or taken from a pool
            exchange.cut_off(self._failure, perf_counter())
            return
        assert self.state is _IDLE
        self.state = _BUSY
        self._exchange = exchange
        self._unsent = request
        self._not_before = perf_counter()
        self._flush()

    def rest(self) -> None:
        """Be idle, after an exchange that left the connection reusable."""
        self.state = _IDLE
        self._exchange = None
        if self._paused:
            self._paused = False
            self._poller.want_read(self._fd, wanted=True)

    @property
    def is_sent(self) -> bool:
        """Whether the whole request has gone out: a server may respond before that.

        The server would take whatever is sent next for the rest of it.
        """
        return not self._unsent

    @property
    def is_fresh(self) -> bool:
        """Whether an idle connection is still open, with no unsolicited data to read."""
        if self.state is not _IDLE:
            return False
        # A response that ended with a full buffer, or together with the connection, leaves
        # something to read behind that is not reported again.
        if self._poller.is_readable(self._fd) if self._is_emptied else has_input(self._fd):
            return False
        return self._is_plain or not _pending(self._sock)

    def pause(self) -> None:
        """Stop reading the response until `resume`."""
        if self.state is _BUSY and not self._paused:
            self._paused = True
            self._poller.want_read(self._fd, wanted=False)

    def resume(self) -> None:
        """Read on, at once; not to be called from a listener's callback."""
        if not self._paused:
            return
        self._paused = False
        self._not_before = perf_counter()
        if self.state is _BUSY:
            self._poller.want_read(self._fd, wanted=True)
            self._ready(READABLE | ENDED)

    def close(self) -> None:
        """Close at once; the listener of an exchange in progress learns nothing."""
        if self.state is _CLOSED:
            return
        self.state = _CLOSED
        self._exchange = None
        self._sock = None
        self.opening.close()
        self._closed(self)

    def _open(self, error: Exception | None, may_be_readable: bool) -> None:
        """Handle the end of the opening."""
        opened, self._opened = self._opened, _ignore  # it may keep a whole attempt alive
        if error is not None:
            self.close()
            opened(error)
            return
        self.state = _IDLE
        self._sock = self.opening.sock
        assert self._sock is not None
        self._is_plain = type(self._sock) is socket.socket
        self._fd = self._sock.fileno()
        self._poller.hand_over(self._fd, self._ready)
        opened(None)
        if may_be_readable:
            self._ready(READABLE)

    # What the poller calls.

    def _ready(self, mask: int) -> None:
        """Send and read on. A fault of ours fails the exchange that it happened in."""
        try:
            if self._unsent and mask & WRITABLE and self._failure is None:
                self._flush()
                if not self._unsent:
                    self._poller.want_write(self._fd, wanted=False)
            if not mask & (READABLE | ENDED):
                return
            if self.state is _BUSY and not self._paused:
                self._read(until_empty=bool(mask & ENDED))
                if not mask & ENDED:
                    return
            if self.state is _IDLE:
                self._read_unsolicited()
        except Exception as exc:
            if self._exchange is None or self._exchange.state is _DONE:
                self.close()
                raise
            self._cut_off(exc)

    def _flush(self) -> None:
        """Send what is left of the request."""
        sock = self._sock
        assert sock is not None
        try:
            sent = sock.send(self._unsent)
        except _WOULD_BLOCK:
            sent = 0
        except OSError as exc:
            # The server may have sent a response before it refused the rest of the request.
            reset = tls.reset_behind(exc) if isinstance(exc, ssl.SSLEOFError) else None
            self._failure = reset or exc
            self._poller.want_write(self._fd, wanted=False)
            if not self._paused:
                self._read(until_empty=True)
            return
        if sent == len(self._unsent):
            self._unsent = b""
        else:
            self._unsent = self._unsent[sent:]
            self._poller.want_write(self._fd, wanted=True)

    def _read(self, *, until_empty: bool) -> None:
        """Read and parse until nothing is left, the response is done, or reading is paused.

        A plain socket that gave less than there was room for is empty: the next bytes will be
        reported. TLS may hold more, and an end that was reported is not reported again.
        """
        exchange, buffer, sock = self._exchange, self._buffer, self._sock
        assert exchange is not None
        assert sock is not None
        until_empty = until_empty or not self._is_plain
        # What is there has come when it was reported, if it is what was reported.
        now = self._poller.reported_at
        if now < self._not_before:
            now = perf_counter()
        while True:
            try:
                count = sock.recv_into(buffer)
            except _WOULD_BLOCK:
                if self._failure is not None:
                    self._cut_off(self._failure)
                return
            except ssl.SSLEOFError as exc:
                self._cut_off(self._failure or tls.reset_behind(exc), orderly=False)
                return
            except OSError as exc:
                self._cut_off(exc)
                return
            if not count:
                self._cut_off(self._failure)
                return
            self._is_emptied = count < len(buffer) and not until_empty
            exchange.feed(buffer[:count], now)
            # The listener may have closed the connection, or given it back.
            done = exchange.state is _DONE or self._exchange is not exchange
            if done or self._paused:
                return
            if count < len(buffer) and not until_empty:
                return
            now = perf_counter()

    def _read_unsolicited(self) -> None:
        """Close an idle connection, unless all that came was TLS's own (RFC 8446, section 4.6)."""
        sock = self._sock
        assert sock is not None
        try:
            if sock.recv_into(self._buffer):
                message = "the server sent data before any request"
                self._failure = InvalidResponseError(message)
        except _WOULD_BLOCK:
            return
        except ssl.SSLEOFError as exc:
            self._failure = tls.reset_behind(exc)
        except OSError as exc:
            self._failure = exc
        self.close()

    def _cut_off(self, exc: Exception | None, *, orderly: bool = True) -> None:
        exchange = self._exchange
        assert exchange is not None
        self.close()
        exchange.cut_off(exc, perf_counter(), orderly=orderly)


def _ignore(_error: Exception | None) -> None:
    """Take the place of a callback that was called."""


def _pending(sock: Socket | None) -> int:
    """Return how many bytes TLS has taken from the socket, but not given out yet."""
    return sock.pending() if isinstance(sock, ssl.SSLSocket | NestedTls) else 0
