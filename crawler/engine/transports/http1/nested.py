"""TLS inside TLS: a tunnel through an https proxy to an https origin, as one socket.

OpenSSL puts one TLS layer on a socket. The inner one works on memory, and this class moves
its bytes to and from the outer one. It has the part of a socket's interface that a
connection uses, and raises the same exceptions.
"""

import ssl
from contextlib import suppress

from crawler.engine.transports import tls

_CHUNK = 65_536


class NestedTls:
    """The inner TLS connection over `outer`, as a client of `host`."""

    def __init__(self, outer: ssl.SSLSocket, context: ssl.SSLContext, host: str) -> None:
        self._outer = outer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._inner = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._unsent = b""  # encrypted, for the outer connection
        self._encrypted = 0  # bytes of the caller's data that are in there

    def fileno(self) -> int:
        return self._outer.fileno()

    def close(self) -> None:
        self._outer.close()

    def do_handshake(self) -> None:
        """Go on with the handshake. Raises SSLWantReadError or SSLWantWriteError until its end."""
        while True:
            try:
                self._inner.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if self._unsent:
                    raise ssl.SSLWantWriteError from None
                self._fill()
            else:
                self._flush()
                return

    def recv_into(self, buffer: memoryview) -> int:
        """Return how many bytes were read; 0 if the server has closed TLS."""
        while True:
            try:
                return int(self._inner.read(len(buffer), buffer))
            except ssl.SSLZeroReturnError:
                return 0
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()

    def send(self, data: bytes) -> int:
        """Return how many bytes went out.

        Raises ssl.SSLWantWriteError if the outer connection does not take all; to go on,
        call it with the same data again.
        """
        if not self._encrypted:
            self._encrypted = self._inner.write(data)
        self._flush()
        if self._unsent:
            raise ssl.SSLWantWriteError
        sent, self._encrypted = self._encrypted, 0
        return sent

    def pending(self) -> int:
        """Return how many bytes were received and not read: those that no poll shows."""
        return self._outer.pending() + self._incoming.pending + self._inner.pending()

    def peer(self) -> ssl.SSLObject:
        """Return the inner connection, for the facts of its handshake."""
        return self._inner

    def _fill(self) -> None:
        """Move received bytes inwards; the end of the outer connection ends the inner one."""
        try:
            data = self._outer.recv(_CHUNK)
        except ssl.SSLEOFError as exc:
            if reset := tls.reset_behind(exc):
                raise reset from exc
            data = b""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while self._unsent:
                self._unsent = self._unsent[self._outer.send(self._unsent) :]
