"""An address becomes an open socket or a failure, once, and nothing stays watched."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from loopback import Server, refusing_port, reset
from loops import POLLERS, Loop

from crawler.engine.transports import tls
from crawler.engine.transports.http1.opening import Opening, OpeningState
from crawler.engine.transports.http1.poller import Poller, Ready
from crawler.models import Tls

WITHIN = 10.0  # seconds
ON_EACH = pytest.mark.parametrize("loop", POLLERS)

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Security = tuple[ssl.SSLContext, str] | None


class Counting:
    """A poller that records which descriptors it watches."""

    def __init__(self, poller: Poller) -> None:
        self.watched: set[int] = set()
        self._poller = poller

    def watch(self, fd: int, ready: Ready) -> None:
        self._poller.watch(fd, ready)
        self.watched.add(fd)

    def forget(self, fd: int, *, closing: bool = False) -> None:
        self._poller.forget(fd, closing=closing)
        self.watched.discard(fd)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


class Outcome:
    """The outcome of an opening; there is one only."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0
        self.arrived = asyncio.Event()

    def __call__(self, error: Exception | None, may_be_readable: bool) -> None:
        self.calls += 1
        self.error = error
        self.arrived.set()


def run(loop: Loop, body: Callable[[Counting], Coroutine[Any, Any, None]]) -> None:
    """Run `body` on a poller; nothing may stay watched, and no error be reported."""
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda _, context: complaints.append(context))
        poller = Counting(loop.poller(running))
        try:
            async with asyncio.timeout(WITHIN):
                await body(poller)
            assert poller.watched == set()
            await asyncio.sleep(0.03)  # for the server to see that its client has left
        finally:
            poller.close()

    loop.run(main())
    assert complaints == []


async def opened(poller: Counting, port: int, security: Security = None) -> tuple[Opening, Outcome]:
    outcome = Outcome()
    opening = Opening(poller, security, outcome)
    opening.connect(socket.AF_INET, "127.0.0.1", port)
    await outcome.arrived.wait()
    assert outcome.calls == 1
    return opening, outcome


@pytest.fixture
def security(ca_file: Path) -> Security:
    return tls.context(cacert=str(ca_file)), "127.0.0.1"


@ON_EACH
def test_a_plain_socket_is_connected_and_has_no_tls_facts(loop: Loop, server: Server) -> None:
    async def body(poller: Counting) -> None:
        opening, outcome = await opened(poller, server.port)
        assert (outcome.error, opening.state) == (None, OpeningState.OPEN)
        assert opening.remote_ip == "127.0.0.1"
        assert opening.connect_seconds is not None
        assert opening.connect_seconds > 0
        assert (opening.tls, opening.tls_seconds) == (None, None)
        assert isinstance(opening.sock, socket.socket)
        assert opening.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        opening.close()
        opening.close()
        assert opening.state is OpeningState.CLOSED

    run(loop, body)


@ON_EACH
def test_a_tls_socket_has_times_and_certificate(
    loop: Loop, tls_server: Server, security: Security
) -> None:
    async def body(poller: Counting) -> None:
        opening, outcome = await opened(poller, tls_server.port, security)
        assert outcome.error is None
        assert isinstance(opening.tls, Tls)
        assert opening.tls_seconds is not None
        assert opening.tls_seconds > 0
        opening.close()

    run(loop, body)


@ON_EACH
def test_a_port_that_refuses_is_a_failure_with_its_time(loop: Loop) -> None:
    async def body(poller: Counting) -> None:
        with refusing_port() as port:
            outcome = Outcome()
            opening = Opening(poller, None, outcome)
            try:
                opening.connect(socket.AF_INET, "127.0.0.1", port)
            except ConnectionRefusedError:  # known at once
                return
            await outcome.arrived.wait()
        assert isinstance(outcome.error, ConnectionRefusedError)
        assert opening.connect_seconds is not None
        assert opening.sock is None

    run(loop, body)


@ON_EACH
def test_a_failure_that_is_known_at_once_is_raised_and_leaves_nothing(loop: Loop) -> None:
    async def body(poller: Counting) -> None:
        outcome = Outcome()
        opening = Opening(poller, None, outcome)
        with pytest.raises(OSError, match=r"unreachable|Invalid|assign|route|denied"):
            opening.connect(socket.AF_INET, "255.255.255.255", 80)
        assert (opening.sock, outcome.calls) == (None, 0)

    run(loop, body)


@ON_EACH
def test_a_certificate_of_an_unknown_authority_is_a_failure_of_the_handshake(
    loop: Loop, tls_server: Server
) -> None:
    async def body(poller: Counting) -> None:
        opening, outcome = await opened(poller, tls_server.port, (tls.context(), "127.0.0.1"))
        assert isinstance(outcome.error, ssl.SSLCertVerificationError)
        assert opening.tls_seconds is not None
        assert (opening.tls, opening.sock) == (None, None)

    run(loop, body)


@ON_EACH
def test_a_port_that_speaks_no_tls_is_a_failure_of_the_handshake(
    loop: Loop, server: Server, security: Security
) -> None:
    async def body(poller: Counting) -> None:
        _, outcome = await opened(poller, server.port, security)
        assert isinstance(outcome.error, ssl.SSLError)

    run(loop, body)


@ON_EACH
def test_an_exception_in_the_handshake_is_a_failure_and_not_lost(
    loop: Loop, server: Server
) -> None:
    class Faulty(ssl.SSLContext):
        def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
            raise ZeroDivisionError

    async def body(poller: Counting) -> None:
        context = Faulty(ssl.PROTOCOL_TLS_CLIENT)
        opening, outcome = await opened(poller, server.port, (context, "127.0.0.1"))
        assert isinstance(outcome.error, ZeroDivisionError)
        assert opening.sock is None

    run(loop, body)


@contextmanager
def accepting(act: Callable[[socket.socket], object]) -> Iterator[int]:
    """Do `act` with each connection, in a thread; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    accepted, _ = listener.accept()
                    with accepted:
                        act(accepted)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@ON_EACH
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_socket_that_was_reset_before_it_is_adopted_is_a_failure_or_closed(
    loop: Loop, secure: bool, security: Security
) -> None:
    async def accept(reader: Reader, writer: Writer) -> None:
        reset(writer)

    async def body(poller: Counting) -> None:
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.setblocking(False)
        await asyncio.sleep(0.05)
        outcome = Outcome()
        opening = Opening(poller, security if secure else None, outcome)
        opening.adopt(sock, "127.0.0.1", 0.01)
        await outcome.arrived.wait()
        assert opening.connect_seconds == 0.01
        if secure:
            assert isinstance(outcome.error, ConnectionResetError)
            assert opening.sock is None
        opening.close()

    with Server(accept=accept) as server:
        run(loop, body)


@ON_EACH
def test_an_opening_can_be_abandoned_during_the_handshake(loop: Loop, security: Security) -> None:
    done = threading.Event()

    async def body(poller: Counting) -> None:
        outcome = Outcome()
        opening = Opening(poller, security, outcome)
        opening.connect(socket.AF_INET, "127.0.0.1", port)
        await asyncio.sleep(0.05)
        assert opening.state is OpeningState.HANDSHAKE
        opening.close()
        await asyncio.sleep(0.01)
        assert outcome.calls == 0
        done.set()

    with accepting(lambda _: done.wait(WITHIN)) as port:
        run(loop, body)


@ON_EACH
def test_an_open_socket_can_be_released_and_is_not_closed(loop: Loop, server: Server) -> None:
    async def body(poller: Counting) -> None:
        opening, _ = await opened(poller, server.port)
        sock = opening.release()
        assert poller.watched == set()
        opening.close()
        assert sock.getpeername() == ("127.0.0.1", server.port)
        sock.close()

    run(loop, body)
