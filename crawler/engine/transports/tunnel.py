"""A socket that is connected to a proxy -> a socket through it: CONNECT, or SOCKS5.

The exchanges of `http1` follow on it, under the same rules as without a proxy.
"""

import asyncio
import re
import socket
import ssl

from crawler.engine.transports import socks
from crawler.engine.transports.dialogue import Dialogue, refused
from crawler.engine.transports.http1.opening import Opening
from crawler.engine.transports.http1.poller import Poller
from crawler.engine.transports.proxy import PORT, Proxy, bracketed
from crawler.engine.transports.requesthead import Origin
from crawler.models import ErrorKind

_MAX_HEAD = 65_536  # bytes of a response to CONNECT
_END = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9][0-9])(?: ([^\r\n]{0,200})|\r?\n)")


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
    try:
        dialogue = Dialogue(poller, sock)
        try:
            if proxy.scheme.startswith("socks"):
                await socks.connect(dialogue, proxy, *_host_and_port(origin))
            else:
                await _tunnel(dialogue, proxy, *_host_and_port(origin))
            dialogue.finish()
        finally:
            dialogue.close()
    except BaseException:
        sock.close()
        raise
    return sock


async def _secured(
    poller: Poller, sock: socket.socket, context: ssl.SSLContext, host: str
) -> socket.socket:
    """Shake hands with the proxy itself."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(error: Exception | None, _readable: bool) -> None:
        if isinstance(error, ssl.SSLEOFError | ConnectionResetError):
            closed = "it closed the connection in the TLS handshake"
            error = refused(closed, ErrorKind.DISCONNECTED)
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


async def _tunnel(dialogue: Dialogue, proxy: Proxy, host: str, port: int) -> None:
    """Open a tunnel through an HTTP proxy (RFC 9110, section 9.3.6)."""
    authority = f"{bracketed(host)}:{port}".encode("ascii")
    head = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (authority, authority)
    dialogue.write(head + proxy.authorization + b"\r\n")
    status = 100
    while status < 200:
        found = _STATUS_LINE.match(await dialogue.until(_END, _MAX_HEAD))
        if found is None:
            raise refused("what it sent is not an HTTP response")
        status = int(found[1])
        if status >= 300:
            reason = (found[2] or b"").decode("latin-1")
            raise refused(f"it refused the tunnel: {status} {reason}".rstrip())


def _host_and_port(origin: Origin) -> tuple[str, int]:
    scheme, host, port = origin
    return host, port or PORT[scheme]
