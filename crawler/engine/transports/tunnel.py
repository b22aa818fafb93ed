"""A socket that is connected to a proxy -> a socket through it: CONNECT, or SOCKS5.

What follows on it are the exchanges of `http1`, under the same rules as without a proxy.
"""

import asyncio
import re
import socket
import ssl
from typing import TYPE_CHECKING, TypeVar

from crawler.engine.transports.http1.opening import Opening
from crawler.engine.transports.http1.poller import Poller
from crawler.engine.transports.proxy import PORT, Proxy, bracketed
from crawler.engine.transports.request import Origin
from crawler.engine.transports.wire import WireError
from crawler.models import ErrorKind

if TYPE_CHECKING:
    from socksio.socks5 import SOCKS5Connection

T = TypeVar("T")
_SOCKS5 = 5
_MAX_HEAD = 65_536  # bytes of a response to CONNECT
_END = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9][0-9])(?: ([^\r\n]{0,200})|\r?\n)")
# Replies of RFC 1928, section 6; 3 to 5 are the target's failure, seen from the proxy.
_SOCKS_FAILURES = {
    1: ("it reports a general failure", ErrorKind.PROTOCOL),
    2: ("its rules do not allow the connection", ErrorKind.PROTOCOL),
    3: ("it cannot reach the network of the host", ErrorKind.UNREACHABLE),
    4: ("it cannot reach the host", ErrorKind.UNREACHABLE),
    5: ("its connection to the host was refused", ErrorKind.CONNECT_REFUSED),
    6: ("its connection to the host ran out of hops (TTL)", ErrorKind.UNREACHABLE),
    7: ("it does not support CONNECT", ErrorKind.PROTOCOL),
    8: ("it does not support this type of address", ErrorKind.PROTOCOL),
}


async def through(
    poller: Poller,
    sock: socket.socket,
    proxy: Proxy,
    origin: Origin,
    context: ssl.SSLContext | None,
) -> socket.socket:
    """Return a socket through which requests for `origin` can go.

    `sock` is connected to the proxy, and closed if this fails; `context` is for the TLS
    with it. Raises OSError, ssl.SSLError, or WireError for what the proxy did.
    """
    if context is not None:
        sock = await _secured(poller, sock, context, proxy.host)
    if proxy.forwards(origin[0]):
        return sock
    dialogue = _Dialogue(poller, sock)
    try:
        if proxy.scheme.startswith("socks"):
            await _socks(dialogue, proxy, *_host_and_port(origin))
        else:
            await _tunnel(dialogue, proxy, *_host_and_port(origin))
        dialogue.finish()
    except BaseException:
        dialogue.close()
        sock.close()
        raise
    dialogue.close()
    return sock


async def _secured(
    poller: Poller, sock: socket.socket, context: ssl.SSLContext, host: str
) -> socket.socket:
    """Shake hands with the proxy itself."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(error: Exception | None, _readable: bool) -> None:
        if isinstance(error, ssl.SSLEOFError | ConnectionResetError):
            closed = "it closed the connection in the TLS handshake"
            error = _refused(closed, ErrorKind.DISCONNECTED)
        if not ended.done():
            ended.set_exception(error) if error else ended.set_result(None)

    opening = Opening(poller, (context, host), settle)
    try:
        opening.adopt(sock, None, 0.0)
        await ended
    except BaseException:
        opening.close()
        raise
    return opening.release()


async def _tunnel(dialogue: "_Dialogue", proxy: Proxy, host: str, port: int) -> None:
    """Ask an HTTP proxy for a tunnel (RFC 9110, section 9.3.6)."""
    place = f"{bracketed(host)}:{port}".encode("ascii")
    head = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (place, place)
    dialogue.write(head + proxy.authorization + b"\r\n")
    status = 100
    while status < 200:
        found = _STATUS_LINE.match(await dialogue.until(_END, _MAX_HEAD))
        if found is None:
            raise _refused("what it sent is not an HTTP response")
        status = int(found[1])
        if status >= 300:
            reason = (found[2] or b"").decode("latin-1")
            raise _refused(f"it refused the tunnel: {status} {reason}".rstrip())


async def _socks(dialogue: "_Dialogue", proxy: Proxy, host: str, port: int) -> None:
    """Shake hands with a SOCKS5 proxy (RFC 1928, RFC 1929), which looks the name up."""
    from socksio import SOCKSError, socks5  # only here: it comes with the extra socks

    methods = [socks5.SOCKS5AuthMethod.NO_AUTH_REQUIRED]
    if proxy.user is not None:
        methods.append(socks5.SOCKS5AuthMethod.USERNAME_PASSWORD)
    connection = socks5.SOCKS5Connection()
    try:
        connection.send(socks5.SOCKS5AuthMethodsRequest(methods))
        dialogue.write(connection.data_to_send())
        reply = await dialogue.exactly(2)
        method = _read(connection, reply, socks5.SOCKS5AuthReply).method
        if reply[0] != _SOCKS5:
            raise SOCKSError
        if method not in methods:
            raise _refused(f"it wants {'another' if proxy.user else 'a'} kind of login")
        if method is socks5.SOCKS5AuthMethod.USERNAME_PASSWORD:
            connection.send(socks5.SOCKS5UsernamePasswordRequest(*proxy.user or (b"", b"")))
            dialogue.write(connection.data_to_send())
            reply = await dialogue.exactly(2)
            if not _read(connection, reply, socks5.SOCKS5UsernamePasswordReply).success:
                raise _refused("it refused the name and password")
        command = socks5.SOCKS5Command.CONNECT
        connection.send(socks5.SOCKS5CommandRequest.from_address(command, (host, port)))
        dialogue.write(connection.data_to_send())
        head = await dialogue.exactly(5)
        if head[0] == _SOCKS5 and head[1] in _SOCKS_FAILURES:
            raise _refused(*_SOCKS_FAILURES[head[1]])
        # By the type of its address (RFC 1928, section 6); what is missing is read, no more.
        more = {1: 5, 3: head[4] + 2, 4: 17}.get(head[3], 0)
        _read(connection, head + await dialogue.exactly(more), socks5.SOCKS5Reply)
    except SOCKSError as exc:
        raise _refused("what it sent is not a SOCKS5 reply") from exc
    except OverflowError as exc:  # raised before anything is sent
        raise _refused("SOCKS5 has no room for more than 255 bytes of a name") from exc


def _read(connection: "SOCKS5Connection", data: bytes, kind: type[T]) -> T:
    reply = connection.receive_data(data)
    assert isinstance(reply, kind)  # what follows from the state of the connection
    return reply


def _refused(detail: str, kind: ErrorKind = ErrorKind.PROTOCOL) -> WireError:
    return WireError(kind, detail)


class _Dialogue:
    """The bytes that we and a proxy exchange until its socket can be handed over."""

    def __init__(self, poller: Poller, sock: socket.socket) -> None:
        self._received = bytearray()
        self._lost: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._poller = poller
        self._sock = sock
        poller.watch(sock.fileno(), self._ready)

    def write(self, data: bytes) -> None:
        """Send some bytes: they are few, and the socket has room for them."""
        try:
            self._sock.send(data)
        except OSError as exc:
            self._lose(exc)

    def close(self) -> None:
        """Leave the socket to others."""
        self._poller.forget(self._sock.fileno())

    async def exactly(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        while len(self._received) < count:
            await self._more()
        return self._pop(count)

    async def until(self, end: re.Pattern[bytes], most: int) -> bytes:
        """Return what comes up to a match of `end`, in at most `most` bytes."""
        while (found := end.search(self._received)) is None:
            if len(self._received) > most:
                raise _refused(f"the head of its response is longer than {most:,} bytes")
            await self._more()
        return self._pop(found.end())

    def finish(self) -> None:
        """Raise what speaks against handing the connection over now."""
        if self._lost is not None:
            raise self._lost
        if self._received:  # nothing was requested from the target yet
            raise _refused("it sent bytes that nobody requested")

    def _ready(self, _mask: int) -> None:
        try:
            while data := self._sock.recv(_MAX_HEAD):
                self._received += data
            self._lose(None)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._wake()
        except ssl.SSLEOFError:
            self._lose(None)
        except OSError as exc:
            self._lose(exc)

    def _lose(self, exc: OSError | None) -> None:
        if exc is None:
            detail = "it closed the connection instead of a reply"
            self._lost = _refused(detail, ErrorKind.DISCONNECTED)
        elif isinstance(exc, ConnectionError):
            detail = "it reset the connection instead of a reply"
            self._lost = _refused(detail, ErrorKind.RESET)
        else:
            self._lost = exc
        self._wake()

    def _pop(self, count: int) -> bytes:
        data = bytes(self._received[:count])
        del self._received[:count]
        return data

    async def _more(self) -> None:
        if self._lost is not None:
            raise self._lost
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _host_and_port(origin: Origin) -> tuple[str, int]:
    scheme, host, port = origin
    return host, port or PORT[scheme]
