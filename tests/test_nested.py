"""TLS inside TLS: the same bytes as over one layer, however they are split in outer records."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from loops import POLLERS, Loop

from crawler.engine.transports import tls
from crawler.engine.transports.http1.connection import Connection, ConnectionState
from crawler.engine.transports.http1.nested import NestedTls
from crawler.engine.transports.http1.opening import Opening
from crawler.engine.transports.http1.stream import ResponseStream
from crawler.engine.transports.wire import Wire, WireError

WITHIN = 10.0  # seconds
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
GET = b"GET / HTTP/1.1\r\n\r\n"
ON_EACH = pytest.mark.parametrize("loop", POLLERS)


class Far:
    """The server of both layers, on a blocking socket."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._outer = context.wrap_socket(sock, server_side=True)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._inner = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                self._inner.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._incoming.write(self._outer.recv(65_536))
            else:
                self._flush()
                return

    def read(self, count: int) -> bytes:
        """Return `count` bytes of the inner layer, or those until its end."""
        data = b""
        while len(data) < count:
            try:
                data += self._inner.read(65_536)
            except ssl.SSLWantReadError:
                received = self._outer.recv(65_536)
                if not received:
                    break
                self._incoming.write(received)
        return data

    def write(self, *records: bytes) -> None:
        """Send inner records, all in one outer one."""
        for record in records:
            self._inner.write(record)
        self._flush()

    def close(self, *, notify: bool = False) -> None:
        """End both layers; `notify`: with close_notify of the inner one."""
        if notify:
            with suppress(ssl.SSLWantReadError):
                self._inner.unwrap()
            self._flush()
        self._outer.close()

    def reset(self) -> None:
        lingering = b"\x01\0\0\0\0\0\0\0"
        self._outer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
        self._outer.close()

    def _flush(self) -> None:
        self._outer.sendall(self._outgoing.read())


class Ends:
    """Our connection and the far end, after both handshakes."""

    def __init__(self, connection: Connection, far: Far) -> None:
        self.connection = connection
        self.far = far
        self.reusable: list[bool] = []

    def stream(self) -> ResponseStream:
        return ResponseStream(self.connection, Wire(), self._finish, is_head=False)

    async def get(self, request: bytes = GET) -> bytes:
        """Return the body of one response."""
        stream = self.stream()
        await stream.send(request)
        return b"".join([piece async for piece in stream])

    def _finish(self, connection: Connection, reusable: bool) -> None:
        self.reusable.append(reusable)
        if reusable:
            connection.rest()
        else:
            connection.close()


@contextmanager
def listening(context: ssl.SSLContext) -> Iterator[tuple[int, "asyncio.Future[Far]"]]:
    """Accept one connection in a thread; yield the port, and a future of the far end."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[Far] = loop.create_future()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            sock.settimeout(WITHIN)
            loop.call_soon_threadsafe(accepted.set_result, Far(sock, context))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], accepted
        thread.join()


Body = Callable[[Ends], Coroutine[Any, Any, None]]


class Nested:
    """Runs tests over two layers of TLS."""

    def __init__(self, loop: Loop, server: ssl.SSLContext, ca_file: Path) -> None:
        self._loop = loop
        self._server = server
        self._client = tls.context(cacert=str(ca_file))

    def run(self, body: Body) -> None:
        self._loop.run(self._main(body))

    async def _main(self, body: Body) -> None:
        running = asyncio.get_running_loop()
        poller = self._loop.poller(running)
        async with asyncio.timeout(WITHIN):
            with listening(self._server) as (port, accepted):
                outer: asyncio.Future[None] = running.create_future()
                security = (self._client, "127.0.0.1")
                way = Opening(poller, security, lambda *_: outer.set_result(None))
                way.connect(socket.AF_INET, "127.0.0.1", port)
                await outer
                inner: asyncio.Future[None] = running.create_future()
                connection = Connection(
                    poller,
                    memoryview(bytearray(65_536)),
                    security=security,
                    opened=lambda _error: inner.set_result(None),
                    closed=lambda _connection: None,
                )
                connection.opening.adopt(way.release(), None, 0.0)
                await inner
                far = await accepted
            try:
                assert isinstance(connection.opening.sock, NestedTls)
                assert connection.opening.tls is not None
                await body(Ends(connection, far))
            finally:
                connection.close()
                await asyncio.to_thread(far.close)
                poller.close()


@pytest.fixture
def nested(loop: Loop, tls_context: ssl.SSLContext, ca_file: Path) -> Nested:
    return Nested(loop, tls_context, ca_file)


async def serve_one(far: Far, *records: bytes) -> None:
    """Read a request, and respond to it with inner records inside one outer record."""

    def blocking() -> None:
        assert far.read(len(GET)) == GET
        far.write(*records)

    await asyncio.to_thread(blocking)


@ON_EACH
def test_one_exchange_follows_the_other(nested: Nested) -> None:
    async def body(ends: Ends) -> None:
        for _ in range(3):
            body, _ = await asyncio.gather(ends.get(), serve_one(ends.far, OK))
            assert body == b"good"
            assert ends.connection.is_fresh
        assert ends.reusable == [True] * 3

    nested.run(body)


@ON_EACH
def test_several_inner_records_in_one_outer_one_are_all_read(nested: Nested) -> None:
    async def body(ends: Ends) -> None:
        records = [b"HTTP/1.1 200 OK\r\n", b"Content-Length: 60000\r\n\r\n"]
        records += [b"x" * 10_000] * 6
        body, _ = await asyncio.gather(ends.get(), serve_one(ends.far, *records))
        assert body == b"x" * 60_000

    nested.run(body)


@ON_EACH
def test_a_surplus_response_in_a_later_record_is_not_that_of_the_next_request(
    nested: Nested,
) -> None:
    async def body(ends: Ends) -> None:
        evil = OK.replace(b"good", b"evil")
        body, _ = await asyncio.gather(ends.get(), serve_one(ends.far, OK, evil))
        assert body == b"good"
        assert not ends.connection.is_fresh

    nested.run(body)


@ON_EACH
def test_a_large_request_reaches_a_slow_server_whole(nested: Nested) -> None:
    request = b"GET / HTTP/1.1\r\nX: " + b"x" * 8_000_000 + b"\r\n\r\n"

    async def body(ends: Ends) -> None:
        def serve() -> bytes:
            received = ends.far.read(len(request))
            ends.far.write(OK)
            return received

        stream = ends.stream()
        sending = asyncio.create_task(stream.send(request))
        await asyncio.sleep(0.05)
        at_once = ends.connection.is_sent
        assert await asyncio.to_thread(serve) == request
        await sending
        assert (at_once, ends.connection.is_sent) == (False, True)

    nested.run(body)


@ON_EACH
@pytest.mark.parametrize("notify", [True, False], ids=["close_notify", "cut"])
def test_a_body_until_close_is_whole_if_the_inner_tls_was_closed(
    nested: Nested, notify: bool
) -> None:
    async def body(ends: Ends) -> None:
        def serve() -> None:
            ends.far.read(len(GET))
            ends.far.write(b"HTTP/1.1 200 OK\r\n\r\ngood")
            ends.far.close(notify=notify)

        serving = asyncio.create_task(asyncio.to_thread(serve))
        if notify:
            assert await ends.get() == b"good"
        else:
            with pytest.raises(WireError, match="close_notify"):
                await ends.get()
        await serving

    nested.run(body)


@ON_EACH
def test_a_reset_of_the_outer_connection_is_one_of_the_inner(nested: Nested) -> None:
    async def body(ends: Ends) -> None:
        def serve() -> None:
            ends.far.read(len(GET))
            ends.far.reset()

        serving = asyncio.create_task(asyncio.to_thread(serve))
        with pytest.raises(ConnectionResetError):
            await ends.get()
        await serving
        assert ends.connection.state is ConnectionState.CLOSED

    nested.run(body)
