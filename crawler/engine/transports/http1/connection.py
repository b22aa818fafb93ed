"""A socket to one origin, plain or TLS, that carries one exchange after the other."""

import errno
import os
import socket
import ssl
from collections.abc import Callable
from enum import IntEnum
from time import perf_counter

import httpx

from crawler.engine.transports import tls
from crawler.engine.transports.http1.exchange import Exchange, ExchangeState
from crawler.engine.transports.http1.opening import Opening, Socket
from crawler.engine.transports.http1.poller import ENDED, READABLE, WRITABLE, Poller
from crawler.engine.transports.sockets import readable

_AGAIN = (errno.EAGAIN, errno.EWOULDBLOCK, ssl.SSL_ERROR_WANT_READ, ssl.SSL_ERROR_WANT_WRITE)
_NO_SOCKET = -1


class ConnectionState(IntEnum):
    """What a connection does; IDLE is open and without an exchange, BUSY is in one."""

    OPENING = 0
    IDLE = 1
    BUSY = 2
    CLOSED = 3


class Connection:
    """A connection and the exchange in progress on it.

    `buffer` may be shared by all connections of one event loop: what is read is parsed
    before another socket is read. `opened` is called once, with None or with why it failed
    to open; `closed` is called once, when the connection is gone. `opening` keeps what is
    known of the socket.
    """

    __slots__ = (
        "_buffer",
        "_closed",
        "_exchange",
        "_fd",
        "_is_plain",
        "_lost",
        "_opened",
        "_paused",
        "_poller",
        "_sock",
        "_unsent",
        "_watch",
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
        self.state = ConnectionState.OPENING
        self.opening = Opening(poller, security, self._open)
        self.idle_since = 0.0
        self._poller = poller
        self._buffer = buffer
        self._opened = opened
        self._closed = closed
        self._sock: Socket | None = None
        self._is_plain = True
        self._fd = _NO_SOCKET
        self._exchange: Exchange | None = None
        self._unsent = b""
        self._paused = False
        self._lost: Exception | None = None
        self._watch: Callable[[], bool] | None = None

    def send(self, request: bytes, exchange: Exchange) -> None:
        """Start an exchange; what goes wrong with it, its listener is told."""
        if self.state is ConnectionState.CLOSED:
            exchange.cut_off(self._lost, perf_counter())
            return
        self.state = ConnectionState.BUSY
        self._exchange = exchange
        self._unsent = request
        self._flush()

    def rest(self) -> None:
        """Be idle, after an exchange that left the connection reusable."""
        self.state = ConnectionState.IDLE
        self._exchange = None
        self._paused = False

    @property
    def fresh(self) -> bool:
        """Whether an idle connection is still open, with no unsolicited data to read."""
        if self.state is not ConnectionState.IDLE:
            return False
        if self._watch is None:
            self._watch = readable(self._fd)
        return not self._watch()

    def pause(self) -> None:
        """Read no more of the response until `resume`."""
        if self.state is ConnectionState.BUSY and not self._paused:
            self._paused = True
            self._poller.want_read(self._fd, wanted=False)

    def resume(self) -> None:
        if not self._paused:
            return
        self._paused = False
        if self.state is ConnectionState.BUSY:
            self._poller.want_read(self._fd, wanted=True)
            self._read(ended=True)

    def close(self) -> None:
        """Close at once; an exchange in progress is not told."""
        if self.state is ConnectionState.CLOSED:
            return
        self.state = ConnectionState.CLOSED
        self._exchange = None
        self._sock = None
        self.opening.close()
        self._closed(self)

    def _open(self, error: Exception | None, readable: bool) -> None:
        """Take the end of the opening."""
        if error is not None:
            self.close()
            self._opened(error)
            return
        self.state = ConnectionState.IDLE
        self._sock = self.opening.sock
        assert self._sock is not None
        self._is_plain = type(self._sock) is socket.socket
        self._fd = self._sock.fileno()
        self._poller.hand_over(self._fd, self._ready)
        self._opened(None)
        if readable:  # it was reported with the connect, and will not be again
            self._ready(READABLE)

    # What the poller calls.

    def _ready(self, mask: int) -> None:
        if self._unsent and mask & WRITABLE:
            self._flush()
        if not mask & (READABLE | ENDED):
            return
        if self.state is ConnectionState.BUSY and not self._paused:
            self._read(ended=bool(mask & ENDED))
            if not mask & ENDED:
                return
        if self.state is ConnectionState.IDLE:
            self._lost = self._reason(ended=bool(mask & ENDED))
            self.close()

    def _reason(self, *, ended: bool) -> Exception | None:
        """Return why an idle connection is of no use any more; None if the server closed it."""
        assert self._sock is not None
        number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            return OSError(number, os.strerror(number))
        if ended:
            return None
        return httpx.RemoteProtocolError("the server sent data before any request")

    def _flush(self) -> None:
        """Send what is left of the request."""
        assert self._sock is not None
        try:
            sent = self._sock.send(self._unsent)
        except OSError as exc:
            if exc.errno not in _AGAIN:
                self._cut_off(exc)
                return
            sent = 0
        if sent == len(self._unsent):
            self._unsent = b""
        else:
            self._unsent = self._unsent[sent:]
            self._poller.want_write(self._fd, wanted=True)

    def _read(self, *, ended: bool) -> None:
        """Read and parse until nothing is left, the response is done, or its reader is full.

        A plain socket that gave less than asked for is empty: the next bytes are reported.
        TLS may hold more, and the end (`ended`) may have been reported already.
        """
        exchange, buffer, sock = self._exchange, self._buffer, self._sock
        assert exchange is not None
        assert sock is not None
        until_empty = ended or not self._is_plain
        while True:
            try:
                count = sock.recv_into(buffer)
            except ssl.SSLEOFError as exc:
                self._cut_off(tls.reset_behind(exc), orderly=False)
                return
            except OSError as exc:
                if exc.errno not in _AGAIN:
                    self._cut_off(exc)
                return
            if not count:
                self._cut_off(None)
                return
            exchange.feed(buffer[:count], perf_counter())
            if exchange.state is ExchangeState.DONE or self._paused:
                return
            if count < len(buffer) and not until_empty:
                return

    def _cut_off(self, exc: OSError | None, *, orderly: bool = True) -> None:
        exchange = self._exchange
        assert exchange is not None
        self.close()
        exchange.cut_off(exc, perf_counter(), orderly=orderly)
