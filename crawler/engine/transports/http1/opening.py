"""An address -> a socket that is connected and, for https, secured; without blocking.

TLS is OpenSSL's on the socket itself: that tells an end with close_notify from one without
(RFC 9112, section 9.8), keeps what came before a bad record, and needs none of the buffers
that an event loop keeps for each of its TLS transports.
"""

import errno
import os
import socket
import ssl
from collections.abc import Callable
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
Ended = Callable[[Exception | None, bool], None]
"""Called with why opening failed, or None, and whether bytes wait to be read already."""


class OpeningState(IntEnum):
    """What is waited for; an opening that is OPEN or CLOSED does nothing any more."""

    CONNECT = 0
    HANDSHAKE = 1
    OPEN = 2
    CLOSED = 3


class Opening:
    """One attempt to open a socket. Seconds and facts are None until they are known."""

    __slots__ = (
        "_began",
        "_ended",
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
        self._ended = ended
        self._began = 0.0

    def connect(self, family: int, ip: str, port: int) -> None:
        """Begin to connect. Raises OSError where the failure is known at once."""
        self.remote_ip = ip
        self._began = perf_counter()
        sock = socket.socket(family, socket.SOCK_STREAM | _NON_BLOCKING)
        try:
            if not _NON_BLOCKING:
                sock.setblocking(False)
            number = sock.connect_ex((ip, port))
            if number not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
                raise OSError(number, os.strerror(number))
        except BaseException:
            sock.close()
            raise
        self.sock = sock
        self._poller.watch(sock.fileno(), self._ready)
        self._poller.want_write(sock.fileno(), wanted=True)

    def adopt(self, sock: socket.socket, ip: str | None, seconds: float) -> None:
        """Take a non-blocking socket, which it took `seconds` to connect to `ip`."""
        self.remote_ip = ip
        self.connect_seconds = seconds
        self.sock = sock
        self._poller.watch(sock.fileno(), self._ready)
        self._connected()

    def close(self) -> None:
        """Give the attempt up, or close what it has opened."""
        self.state = OpeningState.CLOSED
        if self.sock is not None:
            self._poller.forget(self.sock.fileno())
            self.sock.close()
            self.sock = None

    def release(self) -> socket.socket:
        """Return the open socket, which belongs to the caller from now on."""
        assert isinstance(self.sock, socket.socket)
        sock, self.sock = self.sock, None
        self._poller.forget(sock.fileno())
        return sock

    def _ready(self, mask: int) -> None:
        if self.state is OpeningState.CONNECT and mask & (WRITABLE | ENDED):
            assert isinstance(self.sock, socket.socket)
            number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.connect_seconds = perf_counter() - self._began
            if number:
                self._fail(OSError(number, os.strerror(number)))
            else:
                self._poller.want_write(self.sock.fileno(), wanted=False)
                self._connected(readable=bool(mask & (READABLE | ENDED)))
        elif self.state is OpeningState.HANDSHAKE:
            self._shake_hands()

    def _connected(self, *, readable: bool = False) -> None:
        """Begin with TLS, or be open."""
        assert isinstance(self.sock, socket.socket)
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._security is None:
                self._succeed(readable=readable)
                return
            context, host = self._security
            self._began = perf_counter()
            self.state = OpeningState.HANDSHAKE
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock = NestedTls(self.sock, context, host)
                self._shake_hands()
                return
            self.sock = context.wrap_socket(
                self.sock,
                server_hostname=host,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
        except (OSError, ValueError) as exc:
            self._fail(exc)
        else:
            self._shake_hands()

    def _shake_hands(self) -> None:
        assert isinstance(self.sock, ssl.SSLSocket | NestedTls)
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            self._poller.want_write(self.sock.fileno(), wanted=True)
            return
        except (OSError, ValueError) as exc:
            self.tls_seconds = perf_counter() - self._began
            self._fail(exc)
            return
        self.tls_seconds = perf_counter() - self._began
        inner = self.sock.peer() if isinstance(self.sock, NestedTls) else self.sock
        self.tls = tls.peer(inner)
        self._poller.want_write(self.sock.fileno(), wanted=False)
        self._succeed(readable=False)

    def _succeed(self, *, readable: bool) -> None:
        self.state = OpeningState.OPEN
        self._ended(None, readable)

    def _fail(self, exc: Exception) -> None:
        self.close()
        self._ended(exc, False)
