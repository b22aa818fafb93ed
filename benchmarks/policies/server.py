"""A scenario -> its servers, in a thread of their own, and their log."""

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from email.utils import formatdate
from functools import partial
from types import TracebackType
from typing import Any, Self

from benchmarks.policies.log import Connection, Log, Request
from benchmarks.policies.scenario import REDIRECTS, After, End, Origin, Scenario

_BEAT = 0.005  # seconds between two looks at how late the loop is
_PIECES = 4  # of a body that is sent slowly
_PATIENCE = 10.0  # seconds in which the thread must start and end


class Server:
    """All origins of a scenario. `log` is complete when the context is left."""

    def __init__(self, scenario: Scenario, tls: ssl.SSLContext) -> None:
        self.log = Log()
        self.ports: list[int] = []
        self.steps: Counter[tuple[int, int]] = Counter()
        self.scenario = scenario
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._held: list[socket.socket] = []
        self._open: set[_Connection] = set()
        self._thread = threading.Thread(target=self._main, name="scripted", daemon=True)
        self._started = threading.Event()
        self._stop = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(_PATIENCE):
            raise RuntimeError("the scripted server did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_PATIENCE)

    def url(self, page: int, hop: int = 0) -> str:
        """Return the URL of a hop, as the program writes it."""
        number = self.scenario.pages[page].hops[hop].origin
        origin = self.scenario.origins[number]
        scheme = "https" if origin.tls else "http"
        return f"{scheme}://{origin.host}:{self.ports[number]}/{page}/{hop}"

    def opened(self, connection: "_Connection", host: str) -> Connection:
        self._open.add(connection)
        entry = Connection(number=len(self.log.connections), host=host, opened=time.monotonic())
        self.log.connections.append(entry)
        return entry

    def closed(self, connection: "_Connection") -> None:
        self._open.discard(connection)

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._loop.set_exception_handler(_ignore)
        servers = []
        for origin in self.scenario.origins:
            # If the protocol is named, asyncio sets TCP_NODELAY on accepted sockets.
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            listener.bind((origin.host, 0))
            self.ports.append(listener.getsockname()[1])
            if origin.refuses:
                self._held.append(listener)
                continue
            server = await self._loop.create_server(
                partial(_Connection, self, origin),
                sock=listener,
                ssl=self._tls if origin.tls else None,
                backlog=1024,
            )
            servers.append(server)
        beating = asyncio.create_task(self._beat())
        self._started.set()
        await self._stop.wait()
        beating.cancel()
        for server in servers:
            server.close()
        for connection in tuple(self._open):
            connection.abort()
        for listener in self._held:
            listener.close()
        await asyncio.sleep(0.01)  # connections are closed in the next turn of the loop

    async def _beat(self) -> None:
        while True:
            due = time.monotonic() + _BEAT
            await asyncio.sleep(_BEAT)
            self.log.noise = max(self.log.noise, time.monotonic() - due)


class _Connection(asyncio.Protocol):
    """A connection: one request after the other, each with its scripted response."""

    def __init__(self, server: Server, origin: Origin) -> None:
        self._server = server
        self._origin = origin
        self._buffer = b""
        self._turn = 0
        self._request: Request | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._transport: Any = None
        self._entry: Connection | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._entry = self._server.opened(self, self._origin.host)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._entry is not None
        self._entry.closed = time.monotonic()
        for timer in self._timers:
            timer.cancel()
        self._ended(End.GONE)
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._request is None and b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            self._begin(head.split(b"\r\n", 1)[0].decode("latin-1"))

    def abort(self) -> None:
        self._transport.abort()

    def _begin(self, line: str) -> None:
        method, path, _ = line.split(" ")
        page, hop = (int(part) for part in path.split("/")[1:3])
        script = self._server.scenario.pages[page].hops[hop].script
        step = self._server.steps[page, hop]
        self._server.steps[page, hop] += 1
        reply = script[min(step, len(script) - 1)]
        assert self._entry is not None
        self._request = Request(
            page=page,
            hop=hop,
            host=self._origin.host,
            method=method,
            connection=self._entry.number,
            turn=self._turn,
            step=step,
            arrived=time.monotonic(),
            reply=reply,
        )
        self._server.log.requests.append(self._request)
        self._turn += 1
        if reply.delay:
            self._later(reply.delay, self._respond)
        else:
            self._respond()

    def _later(self, seconds: float, call: Any, *args: Any) -> None:
        self._timers = [self._loop.call_later(seconds, call, *args)]

    def _respond(self) -> None:
        request = self._request
        assert request is not None
        reply = request.reply
        if reply.end is End.RESET:
            self._ended(End.RESET)
            self._reset()
            return
        if reply.end is End.CLOSED:
            self._ended(End.CLOSED)
            self._transport.close()
            return
        head, body = self._message(request)
        if reply.end is not End.WHOLE and request.method == "HEAD":
            self._finish(head)  # it has no body to end in
            self._transport.close()
        elif reply.end is not End.WHOLE:
            self._transport.write(head + body[: len(body) // 2])
            self._later(0.005, self._break)
        elif not reply.drip or not body:
            self._finish(head + body)
        else:
            self._transport.write(head)
            self._drip(body, reply.drip / _PIECES, max(1, len(body) // _PIECES))

    def _drip(self, body: bytes, pause: float, piece: int) -> None:
        if len(body) <= piece:
            self._finish(body)
            return
        self._transport.write(body[:piece])
        self._later(pause, self._drip, body[piece:], pause, piece)

    def _break(self) -> None:
        assert self._request is not None
        end = self._request.reply.end
        self._ended(end)
        if end is End.BROKEN:
            self._reset()
        else:
            self._transport.close()

    def _finish(self, last: bytes) -> None:
        """Send the last bytes, noting the time first: the client may receive them at once."""
        assert self._request is not None
        after = self._request.reply.after
        self._ended(End.WHOLE)
        self._transport.write(last)
        if after is not After.KEEP:
            self._transport.close()

    def _reset(self) -> None:
        """Reset the connection instead of closing it."""
        lingering = struct.pack("ii", 1, 0)
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
        self._transport.abort()

    def _ended(self, end: End) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.ended, request.end = time.monotonic(), end

    def _message(self, request: Request) -> tuple[bytes, bytes]:
        """Return head and body as sent."""
        reply = request.reply
        body = b"x" * reply.size
        fields = [f"HTTP/1.1 {reply.status} Scripted"]
        if reply.chunked and body:
            fields.append("Transfer-Encoding: chunked")
            body = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
        else:
            fields.append(f"Content-Length: {len(body)}")
        if reply.retry_after is not None:
            fields.append(f"Retry-After: {_retry_after(request)}")
        if reply.leads_to is not None and reply.status in REDIRECTS:
            url = self._server.url(request.page, reply.leads_to)
            fields.append(f"Location: {'/' + url.split('/', 3)[3] if reply.relative else url}")
        if reply.after is After.ANNOUNCED:
            fields.append("Connection: close")
        if reply.challenge:
            fields.append("cf-mitigated: challenge")
        head = "\r\n".join([*fields, "", ""]).encode("latin-1")
        return head, b"" if request.method == "HEAD" else body


def _retry_after(request: Request) -> str:
    """Return the value of the field, and store the seconds it means on the request."""
    reply = request.reply
    assert reply.retry_after is not None
    if not reply.as_date:
        request.retry_after = float(reply.retry_after)
        return f"{reply.retry_after}"
    now = time.time()
    date = int(now + reply.retry_after)
    request.retry_after = max(0.0, date - now)
    return formatdate(date, usegmt=True)


def _ignore(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handshakes that clients refuse are part of the script."""
