"""`--demo`: a small HTTP server on loopback, with a different kind of response on each path."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Handler = Callable[[asyncio.StreamWriter], Awaitable[None]]
_SLOW = 0.4
_DRIP = 0.25
_STEP = "/redirect-step"
_LARGE = 3_000_000


@asynccontextmanager
async def serve() -> AsyncIterator[tuple[str, ...]]:
    """Serve while the context is open; its value is the URLs to check."""
    responding: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_respond(reader, writer))
        responding.add(task)
        task.add_done_callback(responding.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        urls = [f"http://127.0.0.1:{port}{path}" for path in _ENDPOINTS if path != _STEP]
        yield (*urls, "http://127.0.0.1:1/nobody-listens", "ftp://127.0.0.1/not-http")
    finally:
        server.close()
        for task in responding:
            task.cancel()
        await asyncio.gather(*responding, return_exceptions=True)


async def _respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode("latin-1")
            await _ENDPOINTS.get(path, _status(404, "Not Found"))(writer)
            await writer.drain()
    finally:
        writer.close()


def _send(writer: asyncio.StreamWriter, status: str, body: bytes = b"", *fields: str) -> None:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *fields]
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)


def _status(code: int, reason: str) -> Handler:
    async def handler(writer: asyncio.StreamWriter) -> None:
        _send(writer, f"{code} {reason}", f"{code} {reason}\n".encode(), "Content-Type: text/plain")

    return handler


def _redirect(location: str) -> Handler:
    async def handler(writer: asyncio.StreamWriter) -> None:
        _send(writer, "302 Found", b"", f"Location: {location}")

    return handler


async def _slow(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(_SLOW)
    _send(writer, "200 OK", b"worth the wait\n")


async def _large(writer: asyncio.StreamWriter) -> None:
    _send(writer, "200 OK", bytes(_LARGE))


async def _gzip(writer: asyncio.StreamWriter) -> None:
    _send(writer, "200 OK", gzip.compress(bytes(100_000)), "Content-Encoding: gzip")


async def _dripping(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(_DRIP)


async def _closing_early(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthat is all")


async def _closing_at_once(writer: asyncio.StreamWriter) -> None:
    """Close the connection without a response."""


async def _not_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")


_ENDPOINTS: dict[str, Handler] = {
    "/fast": _status(200, "OK"),
    "/slow": _slow,
    "/large": _large,
    "/gzip": _gzip,
    "/redirect-chain": _redirect(_STEP),
    _STEP: _redirect("/fast"),
    "/redirect-loop": _redirect("/redirect-loop"),
    "/not-found": _status(404, "Not Found"),
    "/server-error": _status(500, "Internal Server Error"),
    "/dripping": _dripping,
    "/closing-early": _closing_early,
    "/no-response": _closing_at_once,
    "/not-http": _not_http,
}
