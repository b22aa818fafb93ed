"""An address -> a socket that is connected and, for https, secured; without blocking.

TLS is OpenSSL's own, on the socket itself: it distinguishes an end with close_notify from one
without (RFC 9112, section 9.8), keeps what came before a bad record, and needs none of the
buffers that an event loop keeps for each of its TLS transports.
"""

import errno
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from time import perf_counter
from typing import TYPE_CHECKING

from crawler.engine.transports import tls
from crawler.engine.transports.http1.nested import NestedTls
from crawler.engine.transports.http1.poller import ENDED, READABLE, WRITABLE, Poller

if TYPE_CHECKING:
    from crawler.models import Tls

Socket = socket.socket | NestedTls
_NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)
_NO_SOCKET = -1
Ended = Callable[[Exception | None, bool], None]
"""Called with why opening failed, or None, and whether there may be bytes to read already,
whose readiness was reported before and will not be again."""


class OpeningState(IntEnum):
    """What is awaited; an opening that is OPEN or CLOSED does nothing any more."""

    CONNECT = 0
    HANDSHAKE = 1
    OPEN = 2
    CLOSED = 3


class Opening:
    """One attempt to open a socket. Seconds and facts are None until they are known.

    `ended` is called once, unless `close` comes first.
    """

    __slots__ = (
        "_began",
        "_ended",
        "_fd",
        "_poller",
        "_security",
        "connect_seconds",
        "remote_ip",
        "sock",
        "state",
        "tls",
        "tls_seconds",
    )

    def __init__(
        self, poller: Poller, security: tuple[ssl.SSLContext, str] | None, ended: Ended
    ) -> None:
        self.state = OpeningState.CONNECT
        self.sock: Socket | None = None
        self.remote_ip: str | None = None
        self.tls: Tls | None = None
        self.connect_seconds: float | None = None
        self.tls_seconds: float | None = None
        self._poller = poller
        self._security = security
        self._ended: Ended | None = ended
        self._fd = _NO_SOCKET
        self._began = 0.0

    @property
    def is_secure(self) -> bool:
        """Whether TLS follows the connect."""
        return self._security is not None

    def connect(self, family: int, ip: str, port: int) -> None:
        """Begin to connect. Raises OSError if the failure is known at once."""
        self.remote_ip = ip
        self._began = perf_counter()
        sock = socket.socket(family, socket.SOCK_STREAM | _NON_BLOCKING)
        self._take(sock)
        try:
            if not _NON_BLOCKING:
                sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = sock.connect_ex((ip, port))
            if number not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
                raise OSError(number, os.strerror(number))
            self._poller.watch(self._fd, self._ready)
            self._poller.want_write(self._fd, wanted=True)
        except BaseException:
            self.close()
            raise

    def adopt(self, sock: socket.socket, ip: str | None, seconds: float) -> None:
        """Continue with a non-blocking socket that was connected to `ip` within `seconds`."""
        self.remote_ip = ip
        self.connect_seconds = seconds
        self._take(sock)
        self._poller.watch(self._fd, self._ready)
        try:
            with suppress(OSError):  # macOS: it was reset already, as reading will show
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connected(readable=False)
        except Exception as exc:
            self._fail(exc)

    def close(self) -> None:
        """Abandon the attempt, or close the socket that it opened."""
        self.state = OpeningState.CLOSED
        self._ended = None
        if self.sock is not None:
            # By its number: a socket that TLS could not be put on has lost it.
            self._poller.forget(self._fd, closing=True)
            self.sock.close()
            self.sock = None

    def release(self) -> socket.socket:
        """Return the open socket, which belongs to the caller from now on."""
        assert isinstance(self.sock, socket.socket)
        sock, self.sock = self.sock, None
        self._poller.forget(self._fd)
        return sock

    def _take(self, sock: socket.socket) -> None:
        self.sock = sock
        self._fd = sock.fileno()

    def _ready(self, mask: int) -> None:
        try:
            if self.state is OpeningState.HANDSHAKE:
                self._shake_hands()
            elif self.state is OpeningState.CONNECT and mask & (WRITABLE | ENDED):
                self._end_connect(readable=bool(mask & (READABLE | ENDED)))
        except Exception as exc:
            self._fail(exc)

    def _end_connect(self, *, readable: bool) -> None:
        assert isinstance(self.sock, socket.socket)
        number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.connect_seconds = max(0.0, self._poller.reported_at - self._began)
        if number:
            raise OSError(number, os.strerror(number))
        self._poller.want_write(self._fd, wanted=False)
        self._connected(readable=readable)

    def _connected(self, *, readable: bool) -> None:
        """Start the TLS handshake, if there is one."""
        if self._security is None:
            self._succeed(readable=readable)
            return
        assert isinstance(self.sock, socket.socket)
        context, host = self._security
        self._began = perf_counter()
        self.state = OpeningState.HANDSHAKE
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock = NestedTls(self.sock, context, host)
        else:
            self.sock = context.wrap_socket(
                self.sock,
                server_hostname=host,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
        self._shake_hands()

    def _shake_hands(self) -> None:
        assert isinstance(self.sock, ssl.SSLSocket | NestedTls)
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            self._poller.want_write(self._fd, wanted=False)
            return
        except ssl.SSLWantWriteError:
            self._poller.want_write(self._fd, wanted=True)
            return
        self.tls_seconds = perf_counter() - self._began
        inner = self.sock.peer() if isinstance(self.sock, NestedTls) else self.sock
        self.tls = tls.peer(inner)
        self._poller.want_write(self._fd, wanted=False)
        self._succeed(readable=True)

    def _succeed(self, *, readable: bool) -> None:
        self.state = OpeningState.OPEN
        ended, self._ended = self._ended, None
        assert ended is not None
        ended(None, readable)

    def _fail(self, exc: Exception) -> None:
        ended = self._ended
        if ended is None:  # it is open: what failed is what came of that
            raise exc
        if self.state is OpeningState.HANDSHAKE and self.tls_seconds is None:
            self.tls_seconds = perf_counter() - self._began
        self.close()
        ended(exc, False)
