"""Bytes for each path -> a server on 127.0.0.1 that responds with exactly these."""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

from loopback import refusing_port

_START_WITHIN = 30.0  # seconds


class End(Enum):
    """What follows the last piece of a response."""

    KEEP = "the connection stays open for the next request"
    CLOSE = "the server closes it"
    RESET = "the server resets it"
    HALF = "the server sends no more, but reads on"


@dataclass(frozen=True, slots=True)
class Script:
    """A response: its pieces, `gap` seconds apart, and the end of the connection."""

    pieces: tuple[bytes, ...]
    end: End = End.KEEP
    gap: float = 0.0
    again: "Script | None" = None
    """The response instead of this one if the connection carried another before."""


class RawServer:
    """Responds to a path (without query) with its script, to others with a 404.

    `PORT` in a response stands for the server's port, `REFUSING` for one without a listener.
    `requests` are the heads of all requests as received, in order, `open` the connections.
    """

    def __init__(
        self, scripts: Mapping[str, Script], *, context: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[bytes] = []
        self.port = 0
        self.scripts = dict(scripts)
        self.refusing = 0
        self._context = context
        self._loop: asyncio.AbstractEventLoop | None = None
        self.open: set[asyncio.Transport] = set()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._main, name="rawserver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(_START_WITHIN), "the server did not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def url(self, path: str) -> str:
        """Return the URL of a path; a URL is only completed with the ports."""
        text = path.replace("PORT", f"{self.port}").replace("REFUSING", f"{self.refusing}")
        scheme = "http" if self._context is None else "https"
        return text if "://" in text else f"{scheme}://127.0.0.1:{self.port}{text}"

    def completed(self, data: bytes) -> bytes:
        ports = {b"PORT": b"%d" % self.port, b"REFUSING": b"%d" % self.refusing}
        for name, number in ports.items():
            data = data.replace(name, number)
        return data

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _context: None)  # clients leave as they like
        server = await loop.create_server(
            lambda: _Conversation(self), "127.0.0.1", 0, ssl=self._context, backlog=1024
        )
        self.port = server.sockets[0].getsockname()[1]
        with refusing_port() as self.refusing:
            self._started.set()
            await self._stop.wait()
        server.close()
        for transport in tuple(self.open):
            transport.abort()
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


class _Conversation(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: RawServer) -> None:
        self._server = server
        self._received = b""
        self._turn = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.open.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received[:1].isalpha():  # a TLS greeting
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            self._transport.close()
            return
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self._server.requests.append(head)
            path = head.split(b" ", 2)[1].decode("ascii").partition("?")[0]
            script = self._server.scripts.get(path, _MISSING)
            if self._turn and script.again is not None:
                script = script.again
            self._turn += 1
            self._respond(script, 0)

    def _respond(self, script: Script, number: int) -> None:
        """Send the pieces from `number` on."""
        if self._transport.is_closing():
            return
        for at, piece in enumerate(script.pieces[number:], number):
            if at > number and script.gap:
                later = asyncio.get_running_loop().call_later
                later(script.gap, self._respond, script, at)
                return
            self._transport.write(self._server.completed(piece))
        if script.end is End.CLOSE:
            self._transport.close()
        elif script.end is End.HALF:
            self._transport.write_eof()
        elif script.end is End.RESET:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()


_MISSING = Script((b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",))
