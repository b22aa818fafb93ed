"""The bytes that we and a proxy exchange before its socket carries requests."""

import asyncio
import re
import socket
import ssl

from crawler.engine.transports.http1.poller import Poller
from crawler.engine.transports.tls import reset_behind
from crawler.engine.transports.wire import WireError
from crawler.models import ErrorKind

_READ = 65_536  # bytes at once
_MOST = 262_144  # bytes that a proxy may send: far more than any reply has
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def refused(detail: str, kind: ErrorKind = ErrorKind.PROTOCOL) -> WireError:
    """Return an error of the proxy, which the record names."""
    return WireError(kind, detail)


class Dialogue:
    """Writes to and reads from a non-blocking socket, plain or TLS.

    What breaks the connection is raised by the next read, or by `finish`.
    """

    def __init__(self, poller: Poller, sock: socket.socket) -> None:
        self._received = bytearray()
        self._count = 0  # bytes received, those that were returned included
        self._unsent = b""
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._poller = poller
        self._sock = sock
        self._fd = sock.fileno()
        poller.watch(self._fd, self._ready)

    def write(self, data: bytes) -> None:
        """Send some bytes; if there is no room for all of them, the rest is sent later."""
        self._unsent += data
        self._flush()

    def close(self) -> None:
        """Leave the socket to others."""
        self._poller.forget(self._fd)

    async def exactly(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        while len(self._received) < count:
            await self._more()
        return self._pop(count)

    async def until(self, end: re.Pattern[bytes], most: int) -> bytes:
        """Return the bytes up to a match of `end`, at most `most`."""
        while (found := end.search(self._received)) is None:
            if len(self._received) > most:
                raise refused(f"the head of its response is longer than {most:,} bytes")
            await self._more()
        return self._pop(found.end())

    def finish(self) -> None:
        """Raise the reason, if any, why the connection cannot be handed over now."""
        if self._failure is not None:
            raise self._failure
        if self._received:  # nothing was requested from the target yet
            raise refused("it sent unsolicited bytes")

    def _ready(self, _mask: int) -> None:
        self._flush()
        try:
            while data := self._sock.recv(_READ):
                self._received += data
                self._count += len(data)
                if self._count > _MOST:  # it may send faster than this loop can read
                    self._fail(refused(f"it sent more than {_MOST:,} bytes of replies"))
                    return
            self._fail(None)
        except _WOULD_BLOCK:
            pass
        except ssl.SSLEOFError as exc:
            self._fail(reset_behind(exc))
        except OSError as exc:
            self._fail(exc)
        self._wake()

    def _flush(self) -> None:
        if not self._unsent:
            return
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except _WOULD_BLOCK:
            pass
        except OSError as exc:
            self._unsent = b""
            self._fail(exc)
        self._poller.want_write(self._fd, wanted=bool(self._unsent))

    def _fail(self, exc: Exception | None) -> None:
        """Note why the dialogue is over; None: the proxy closed the connection."""
        if self._failure is not None:
            return
        if exc is None:
            detail = "it closed the connection instead of a reply"
            self._failure = refused(detail, ErrorKind.DISCONNECTED)
        elif isinstance(exc, ConnectionError):
            detail = "it reset the connection instead of a reply"
            self._failure = refused(detail, ErrorKind.RESET)
        else:
            self._failure = exc
        self._wake()

    def _pop(self, count: int) -> bytes:
        data = bytes(self._received[:count])
        del self._received[:count]
        return data

    async def _more(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
