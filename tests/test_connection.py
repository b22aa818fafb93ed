"""One connection and its exchanges: partial sends, early ends, and callbacks that misbehave."""

import asyncio
import gc
import socket
import ssl
import sys
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pytest
from loopback import Server, reset
from loops import POLLERS, Loop

from crawler.engine.transports.http1.connection import Connection, ConnectionState
from crawler.engine.transports.http1.exchange import Exchange
from crawler.engine.transports.http1.poller import Poller, best_poller
from crawler.engine.transports.wire import InvalidResponseError, WireError
from crawler.models import ErrorKind

T = TypeVar("T")
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
LARGE = b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000_000 + b"\r\n\r\n"
WITHIN = 10.0  # seconds; a connection that hangs would take forever

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Accept = Callable[[Reader, Writer], Coroutine[Any, Any, None]]
ON_EACH = pytest.mark.parametrize("loop", POLLERS)
SCHEMES = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])


class Recorder:
    """A listener that records its events, and then calls `then`."""

    def __init__(self, then: Callable[[str], None] | None = None, *, is_head: bool = False) -> None:
        self.exchange = Exchange(self, is_head=is_head)
        self.events: list[str] = []
        self.body = b""
        self.error: Exception | None = None
        self.ended = asyncio.Event()
        self.headed = asyncio.Event()
        self._then = then or (lambda _event: None)

    @property
    def status(self) -> int | None:
        return None if self.exchange.head is None else self.exchange.head.status

    def head_received(self) -> None:
        self._record("head")
        self.headed.set()

    def body_received(self, data: bytes) -> None:
        self.body += data
        self._record("body")

    def exchange_ended(self, error: Exception | None) -> None:
        self.error = error
        self.ended.set()
        self._record("end")

    def _record(self, event: str) -> None:
        if not self.events or self.events[-1] != event:
            self.events.append(event)
        self._then(event)


class Client:
    """Opens connections to one server, and records which are closed."""

    def __init__(self, poller: Poller, port: int, context: ssl.SSLContext | None) -> None:
        self.closed: list[Connection] = []
        self._closing: dict[Connection, asyncio.Event] = {}
        self._poller = poller
        self._port = port
        self._context = context
        self._buffer = memoryview(bytearray(65_536))

    def begin(self, opened: Callable[[Exception | None], None]) -> Connection:
        """Return a connection that is being opened."""
        connection = Connection(
            self._poller,
            self._buffer,
            security=None if self._context is None else (self._context, "127.0.0.1"),
            opened=opened,
            closed=self._record_closed,
        )
        self._closing[connection] = asyncio.Event()
        connection.opening.connect(socket.AF_INET, "127.0.0.1", self._port)
        return connection

    async def open(self) -> Connection:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def opened(error: Exception | None) -> None:
            ended.set_exception(error) if error else ended.set_result(None)

        connection = self.begin(opened)
        await ended
        return connection

    async def closes(self, connection: Connection) -> None:
        """Wait until a connection is closed."""
        await self._closing[connection].wait()

    def _record_closed(self, connection: Connection) -> None:
        self.closed.append(connection)
        self._closing[connection].set()


@pytest.fixture
def contexts(
    secure: bool, tls_context: ssl.SSLContext
) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """The TLS contexts of server and client."""
    if not secure:
        return None, None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return tls_context, context


Contexts = tuple[ssl.SSLContext | None, ssl.SSLContext | None]


def connected(
    loop: Loop,
    contexts: Contexts,
    accept: Accept,
    body: Callable[[Client], Coroutine[Any, Any, T]],
) -> tuple[T, list[dict[str, Any]]]:
    """Run `body` against a server; return its result, and what the event loop reported."""
    complaints: list[dict[str, Any]] = []

    async def main(port: int) -> T:
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda _, context: complaints.append(context))
        poller = loop.poller(running)
        try:
            async with asyncio.timeout(WITHIN):
                return await body(Client(poller, port, contexts[1]))
        finally:
            poller.close()

    with Server(tls=contexts[0], accept=accept) as server:
        result = loop.run(main(server.port))
    return result, complaints


def responding(response: bytes = OK) -> Accept:
    """Respond to each request on a connection."""

    async def accept(reader: Reader, writer: Writer) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(response)
            await writer.drain()

    return accept


async def quiet(seconds: float) -> float:
    """Return the CPU time that the program takes while nothing happens."""
    start = time.process_time()
    await asyncio.sleep(seconds)
    return time.process_time() - start


@ON_EACH
@SCHEMES
def test_one_exchange_follows_the_other(loop: Loop, contexts: Contexts) -> None:
    async def body(client: Client) -> None:
        connection = await client.open()
        for _ in range(3):
            recorder = Recorder()
            connection.send(GET, recorder.exchange)
            await recorder.ended.wait()
            assert (recorder.status, recorder.body, recorder.error) == (200, b"good", None)
            assert recorder.events == ["head", "body", "end"]
            assert recorder.exchange.reusable
            assert connection.is_sent
            connection.rest()
            assert connection.is_fresh
        connection.close()
        connection.close()
        assert client.closed == [connection]

    assert connected(loop, contexts, responding(), body)[1] == []


@pytest.mark.parametrize(
    "left",
    [b"HTTP/1.1 500 Lie\r\nContent-Length: 0\r\n\r\n", b""],
    ids=["another response", "the end"],
)
@pytest.mark.parametrize("secure", [False])
@ON_EACH
def test_what_is_left_behind_a_response_is_known_when_it_ends(
    loop: Loop, contexts: Contexts, left: bytes
) -> None:
    """All of it was there before the response was read, whose end is that of a full buffer."""
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 00000\r\n\r\n"
    size = 65_536 - len(start)
    response = start.replace(b"00000", b"%05d" % size) + b"x" * size

    async def accept(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response + left)
        writer.write_eof()
        await reader.read()

    async def body(client: Client) -> None:
        connection = await client.open()
        fresh: list[bool] = []

        def then(event: str) -> None:
            if event == "end":
                connection.rest()
                fresh.append(connection.is_fresh)

        recorder = Recorder(then)
        connection.send(GET, recorder.exchange)
        time.sleep(0.2)  # noqa: ASYNC251 - the event loop must not see a part of it
        await recorder.ended.wait()
        assert (recorder.status, len(recorder.body), recorder.error) == (200, size, None)
        assert fresh == [False]
        connection.close()

    assert connected(loop, contexts, accept, body)[1] == []


@ON_EACH
@SCHEMES
def test_a_large_request_reaches_a_slow_server_whole(loop: Loop, contexts: Contexts) -> None:
    received = 0

    async def accept(reader: Reader, writer: Writer) -> None:
        nonlocal received
        await asyncio.sleep(0.2)
        while received < len(LARGE):
            received += len(await reader.read(65_536))
            await asyncio.sleep(0)
        writer.write(OK)
        await reader.read()

    async def body(client: Client) -> None:
        connection = await client.open()
        recorder = Recorder()
        connection.send(LARGE, recorder.exchange)
        at_once = connection.is_sent
        await recorder.ended.wait()
        assert (recorder.status, recorder.error) == (200, None)
        assert (at_once, connection.is_sent) == (False, True)
        connection.rest()
        assert await quiet(0.3) < 0.2, "a socket with nothing to send is still watched for room"
        connection.close()

    assert connected(loop, contexts, accept, body)[1] == []
    assert received == len(LARGE)


@ON_EACH
@SCHEMES
def test_a_response_to_half_a_request_leaves_the_connection_unusable(
    loop: Loop, contexts: Contexts
) -> None:
    async def accept(reader: Reader, writer: Writer) -> None:
        await reader.read(100)
        writer.write(OK)
        await asyncio.sleep(WITHIN)

    async def body(client: Client) -> None:
        connection = await client.open()
        recorder = Recorder()
        connection.send(LARGE, recorder.exchange)
        await recorder.ended.wait()
        assert (recorder.status, recorder.body, recorder.error) == (200, b"good", None)
        assert not connection.is_sent
        connection.close()

    assert connected(loop, contexts, accept, body)[1] == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems drop received bytes at a reset")
@ON_EACH
@pytest.mark.parametrize("secure", [False])
def test_the_response_of_a_server_that_refuses_the_rest_of_a_request_counts(
    loop: Loop, contexts: Contexts
) -> None:
    async def accept(reader: Reader, writer: Writer) -> None:
        await reader.readexactly(100)
        writer.write(b"HTTP/1.1 431 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await writer.drain()
        await asyncio.sleep(0.1)
        reset(writer)

    async def body(client: Client) -> tuple[int | None, bytes]:
        connection = await client.open()
        await asyncio.sleep(0.01)
        recorder = Recorder()
        connection.send(LARGE, recorder.exchange)
        await recorder.ended.wait()
        connection.close()
        assert client.closed == [connection]
        return recorder.status, recorder.body

    assert connected(loop, contexts, accept, body) == ((431, b"big"), [])


@ON_EACH
@SCHEMES
def test_a_reset_while_sending_is_reported_as_one(loop: Loop, contexts: Contexts) -> None:
    async def accept(reader: Reader, writer: Writer) -> None:
        await reader.readexactly(100)
        reset(writer)

    async def body(client: Client) -> None:
        connection = await client.open()
        recorder = Recorder()
        connection.send(LARGE, recorder.exchange)
        await recorder.ended.wait()
        assert isinstance(recorder.error, ConnectionError)
        assert connection.state is ConnectionState.CLOSED

    assert connected(loop, contexts, accept, body)[1] == []


@ON_EACH
@SCHEMES
def test_data_before_any_request_is_not_a_response(loop: Loop, contexts: Contexts) -> None:
    async def accept(reader: Reader, writer: Writer) -> None:
        writer.write(OK)
        await asyncio.sleep(WITHIN)

    async def body(client: Client) -> None:
        connection = await client.open()
        await client.closes(connection)
        recorder = Recorder()
        connection.send(GET, recorder.exchange)
        assert isinstance(recorder.error, InvalidResponseError)
        assert "before any request" in str(recorder.error)

    assert connected(loop, contexts, accept, body)[1] == []


async def _closes(reader: Reader, writer: Writer) -> None:
    writer.close()


async def _resets(reader: Reader, writer: Writer) -> None:
    reset(writer)


@ON_EACH
@SCHEMES
@pytest.mark.parametrize(
    ("accept", "kind"), [(_closes, ErrorKind.DISCONNECTED), (_resets, ErrorKind.RESET)]
)
def test_an_end_before_the_request_is_not_taken_for_data(
    loop: Loop, contexts: Contexts, accept: Accept, kind: ErrorKind
) -> None:
    async def body(client: Client) -> None:
        try:
            connection = await client.open()
        except OSError:
            assert kind is ErrorKind.RESET
            return
        await client.closes(connection)
        recorder = Recorder()
        connection.send(GET, recorder.exchange)
        if kind is ErrorKind.RESET:
            assert isinstance(recorder.error, ConnectionResetError)
        else:
            assert isinstance(recorder.error, WireError)
            assert recorder.error.kind is kind

    assert connected(loop, contexts, accept, body)[1] == []


@ON_EACH
@SCHEMES
def test_a_connection_that_was_closed_after_its_last_use_fails_the_next_request(
    loop: Loop, contexts: Contexts
) -> None:
    async def body(client: Client) -> None:
        connection = await client.open()
        first, second = Recorder(), Recorder()
        connection.send(GET, first.exchange)
        await first.ended.wait()
        connection.rest()
        connection.close()
        connection.send(GET, second.exchange)
        assert second.ended.is_set()
        assert isinstance(second.error, WireError)
        assert second.exchange.untouched

    assert connected(loop, contexts, responding(), body)[1] == []


@ON_EACH
@SCHEMES
@pytest.mark.parametrize("event", ["head", "body", "end"])
def test_a_listener_may_close_the_connection_from_any_callback(
    loop: Loop, contexts: Contexts, event: str
) -> None:
    async def body(client: Client) -> None:
        connection = await client.open()
        neighbour = await client.open()

        def close(happened: str) -> None:
            if happened == event:
                connection.close()
                recorder.exchange.abandon()

        recorder, other = Recorder(close), Recorder()
        connection.send(GET, recorder.exchange)
        neighbour.send(GET, other.exchange)
        await other.ended.wait()
        await client.closes(connection)
        everything = ["head", "body", "end"]
        assert recorder.events == everything[: everything.index(event) + 1]
        assert not recorder.exchange.reusable or event == "end"
        assert other.body == bytes(100_000)
        neighbour.close()

    response = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)
    assert connected(loop, contexts, responding(response), body)[1] == []


@ON_EACH
@SCHEMES
@pytest.mark.parametrize("coding", [b"Content-Length: 4\r\n\r\ngood", b""])
@pytest.mark.parametrize("event", ["head", "body"])
def test_an_exception_in_a_callback_fails_its_own_exchange_only(
    loop: Loop, contexts: Contexts, event: str, coding: bytes
) -> None:
    async def body(client: Client) -> None:
        connection = await client.open()
        neighbour = await client.open()

        def fail(happened: str) -> None:
            if happened == event:
                raise ZeroDivisionError("a fault")

        recorder, other = Recorder(fail), Recorder()
        connection.send(GET, recorder.exchange)
        neighbour.send(GET, other.exchange)
        await asyncio.gather(recorder.ended.wait(), other.ended.wait())
        assert isinstance(recorder.error, ZeroDivisionError)
        assert client.closed == [connection]
        assert (other.body, other.error) == (b"good", None)
        neighbour.close()

    chunked = b"Transfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\n" + (coding or chunked)
    assert connected(loop, contexts, responding(response), body)[1] == []


@ON_EACH
@SCHEMES
def test_an_exception_at_the_end_of_an_exchange_is_reported_to_the_event_loop(
    loop: Loop, contexts: Contexts
) -> None:
    async def body(client: Client) -> None:
        connection = await client.open()

        def fail(happened: str) -> None:
            if happened == "end":
                raise ZeroDivisionError("a fault")

        recorder = Recorder(fail)
        connection.send(GET, recorder.exchange)
        await recorder.ended.wait()
        await asyncio.sleep(0.01)
        assert client.closed == [connection]

    complaints = connected(loop, contexts, responding(), body)[1]
    assert [type(each["exception"]) for each in complaints] == [ZeroDivisionError]


@ON_EACH
@SCHEMES
def test_a_paused_connection_reads_on_after_the_server_has_closed(
    loop: Loop, contexts: Contexts
) -> None:
    size = 300_000

    async def accept(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(size))
        writer.close()

    async def body(client: Client) -> None:
        connection = await client.open()

        def pause(happened: str) -> None:
            if happened == "body":
                connection.pause()

        recorder = Recorder(pause)
        connection.send(GET, recorder.exchange)
        await recorder.headed.wait()
        while not recorder.ended.is_set():
            await asyncio.sleep(0.01)
            before = len(recorder.body)
            connection.resume()
            assert len(recorder.body) - before <= 65_536, "it read on while it was paused"
        assert (len(recorder.body), recorder.error) == (size, None)
        connection.resume()

    assert connected(loop, contexts, accept, body)[1] == []


@ON_EACH
@SCHEMES
def test_a_connection_can_be_closed_while_it_opens(loop: Loop, contexts: Contexts) -> None:
    async def body(client: Client) -> None:
        outcomes: list[Exception | None] = []
        for delay in (0, 0.0005, 0.001, 0.002, 0.004):
            connection = client.begin(outcomes.append)
            await asyncio.sleep(delay)
            connection.close()
        await asyncio.sleep(0.05)
        assert set(outcomes) <= {None}
        assert len(client.closed) == 5

    assert connected(loop, contexts, responding(), body)[1] == []


@pytest.mark.parametrize("secure", [False])
def test_nothing_of_an_exchange_is_left_for_the_garbage_collector(contexts: Contexts) -> None:
    async def body(client: Client) -> None:
        connection = await client.open()
        recorder = Recorder()
        connection.send(GET, recorder.exchange)
        await recorder.ended.wait()
        connection.rest()
        with without_collector():
            gone = weakref.ref(recorder)
            del recorder
            assert gone() is None
        connection.close()

    connected(Loop(poller=best_poller), contexts, responding(), body)


@contextmanager
def without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def keeping() -> Iterator[int]:
    """Respond once on each connection, and keep it, in hardly any memory of this process."""
    kept = []
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    kept.append(listener.accept()[0])
                    kept[-1].recv(1000)
                    kept[-1].sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for accepted in kept:
                accepted.close()


def test_an_idle_connection_takes_little_memory() -> None:
    count = 200

    async def open_many(client: Client) -> list[Connection]:
        connections = []
        for _ in range(count):
            connection = await client.open()
            recorder = Recorder()
            connection.send(GET, recorder.exchange)
            await recorder.ended.wait()
            connection.rest()
            assert connection.is_fresh
            connections.append(connection)
        return connections

    async def main(port: int) -> float:
        poller = best_poller(asyncio.get_running_loop())
        client = Client(poller, port, None)
        tracemalloc.start()
        try:
            connections = await open_many(client)
            gc.collect()
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        for connection in connections:
            connection.close()
        poller.close()
        return used / count

    with keeping() as port:
        assert asyncio.run(main(port)) < 4_000
