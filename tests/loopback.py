"""Handlers -> a real server on 127.0.0.1 that counts and records its requests."""

import asyncio
import contextlib
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

_LONGEST_HEAD = 1 << 20
_START_WITHIN = 30.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as received. `turn` is its 0-based position on connection number `connection`."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int
    turn: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """Return the value of the first field of this name, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


Handler = Callable[[Request, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A TCP server on 127.0.0.1 and a free port, with a loop and a thread of its own.

    A handler writes raw bytes, so any framing can be sent. The connection is kept for the
    next request unless the handler closed the writer. A path without a handler is a 404.
    `accept` takes over each connection before anything is read from it. Exceptions of
    handlers, except those about a client that left, are raised by `close`.

    `requests` holds all requests in order, `counts` their number by path (without query),
    `connections` how many were accepted (with TLS: after the handshake), `open` how many of
    these are open, `busiest` the most requests that were in flight at once, `live` how many
    are now.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        accept: Accept | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.counts: Counter[str] = Counter()
        self.connections = 0
        self.busiest = 0
        self.port = 0
        self._handlers = dict(handlers or {})
        self._tls = tls
        self._accept = accept
        self.live = 0
        self._faults: list[Exception] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._thread = threading.Thread(target=self._main, name="loopback", daemon=True)

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
        self.close()

    @property
    def origin(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def open(self) -> int:
        return len(self._open)

    def url(self, path: str, *, host: str = "127.0.0.1") -> str:
        return f"{self.origin.replace('127.0.0.1', host)}{path}"

    def on(self, path: str, handler: Handler) -> str:
        """Respond to `path` with `handler` from now on; return its URL."""
        self._handlers[path] = handler
        return self.url(path)

    def last(self, path: str) -> Request:
        """Return the latest request of `path`."""
        return next(request for request in reversed(self.requests) if request.path == path)

    def idle_within(self, seconds: float) -> bool:
        """Wait until no request is in flight; return whether that came in time."""
        deadline = time.monotonic() + seconds
        while self.live and time.monotonic() < deadline:
            time.sleep(0.005)
        return not self.live

    def close(self) -> None:
        """Cut all connections and end the thread. Raises what handlers raised."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        faults, self._faults = self._faults, []
        if faults:
            raise ExceptionGroup("handlers failed", faults)

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._record_error)
        # A long backlog: hundreds of clients may connect at the same moment.
        server = await asyncio.start_server(
            self._connected, "127.0.0.1", 0, ssl=self._tls, limit=_LONGEST_HEAD, backlog=1024
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        ending = dict(self._open)
        for task, writer in ending.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for writer in ending.values():
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 5)
        if sys.version_info >= (3, 13):
            server.abort_clients()  # those still in a TLS handshake
        await asyncio.sleep(0)

    def _record_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Record errors of the loop; a client that went away is not one."""
        exc = context.get("exception")
        if not isinstance(exc, OSError):
            fault = RuntimeError(context["message"])
            fault.__cause__ = exc
            self._faults.append(fault)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._converse(reader, writer, self.connections))
        self._open[task] = writer
        task.add_done_callback(self._open.pop)

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        try:
            if self._accept is not None:
                await self._accept(reader, writer)
                return
            turn = 0
            while not writer.is_closing():
                await self._respond(await _read(reader, writer, number, turn), reader, writer)
                turn += 1
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away
        except Exception as exc:
            self._faults.append(exc)
        finally:
            writer.close()

    async def _respond(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.requests.append(request)
        self.counts[request.path] += 1
        self.live += 1
        self.busiest = max(self.busiest, self.live)
        try:
            await self._handlers.get(request.path, reply(404))(request, reader, writer)
            if not writer.is_closing():
                await writer.drain()
        finally:
            self.live -= 1


async def _read(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, turn: int
) -> Request:
    first = await reader.readexactly(1)
    if not first.isalpha():  # such as a TLS greeting on a plain port: respond as servers do
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        raise ConnectionAbortedError("not a request")
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    pairs = [field.partition(":") for field in fields]
    headers = tuple((name, value.strip()) for name, _, value in pairs)
    length = next((value for name, value in headers if name.lower() == "content-length"), "0")
    return Request(
        method=method,
        target=target,
        headers=headers,
        body=await reader.readexactly(int(length)),
        connection=number,
        turn=turn,
    )


def reply(status: int = 200, body: bytes = b"", *fields: str) -> Handler:
    """Return a handler for a complete, well-framed response; `fields` are `Name: value` lines."""

    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = f"HTTP/1.1 {status} Status\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{field}\r\n" for field in fields) + "\r\n"
        writer.write(head.encode("latin-1") + (b"" if request.method == "HEAD" else body))

    return handler


def redirect(location: str, status: int = 302) -> Handler:
    return reply(status, b"", f"Location: {location}")


def raw(*pieces: bytes, close: bool = False, gap: float = 0.0) -> Handler:
    """Return a handler that writes the pieces as they are, `gap` seconds apart."""

    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for number, piece in enumerate(pieces):
            if number and gap:
                await asyncio.sleep(gap)
            writer.write(piece)
            await writer.drain()
        if close:
            writer.close()

    return handler


def endless(start: bytes, piece: bytes, *, gap: float = 0.0) -> Handler:
    """Return a handler that writes `start`, then `piece` again and again until cut off."""

    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(start)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(gap)

    return handler


def silent(start: bytes = b"") -> Handler:
    """Return a handler that writes `start` and then nothing, until the client goes away."""

    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(start)
        await reader.read()
        writer.close()

    return handler


def delayed(seconds: float, then: Handler) -> Handler:
    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await asyncio.sleep(seconds)
        await then(request, reader, writer)

    return handler


def resets(start: bytes = b"", *, after: float = 0.0) -> Handler:
    """Return a handler that writes `start` and, `after` seconds later, a TCP reset."""

    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if start:
            writer.write(start)
            await writer.drain()
        await asyncio.sleep(after)
        reset(writer)

    return handler


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection with a TCP reset instead of an orderly end."""
    lingering = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
    writer.transport.abort()


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Hold a port of 127.0.0.1 without a listener while the context is open."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
