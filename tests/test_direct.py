"""The direct transport on the wire: connections kept, reused, abandoned, and never leaked."""

import asyncio
import gc
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from loopback import Request, Server, endless, raw, redirect, refusing_port, reply

from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.http1.exchange import Exchange
from crawler.engine.transports.http1.stream import ResponseStream
from crawler.engine.transports.resolve import Address, Addresses, Resolver
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.transports.wire import InvalidResponseError, Wire, WireError
from crawler.models import ErrorKind

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


async def get(
    transport: DirectTransport, url: str, method: str = "GET", *, wire: Wire | None = None
) -> tuple[int, int]:
    """Return status and body size of one exchange, read to its end."""
    request = httpx.Request(method, url, extensions={"wire": wire or Wire()})
    response = await transport.handle_async_request(request)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    size = 0
    async for chunk in response.stream:
        size += len(chunk)
    await response.aclose()
    return response.status_code, size


def run(body: Callable[[DirectTransport], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def main() -> None:
        async with DirectTransport(ConnectionSettings(**options)) as transport:
            await body(transport)

    asyncio.run(main())


def test_one_connection_serves_consecutive_requests(server: Server) -> None:
    url = server.on("/ok", reply(200, b"good"))

    async def body(transport: DirectTransport) -> None:
        for _ in range(10):
            assert await get(transport, url) == (200, 4)

    run(body)
    assert server.connections == 1


def test_the_newest_idle_connection_is_reused_first(server: Server) -> None:
    url = server.on("/ok", reply(200, b"good"))

    async def body(transport: DirectTransport) -> None:
        await asyncio.gather(*(get(transport, url) for _ in range(3)))
        for _ in range(3):
            await get(transport, url)

    run(body)
    later = {request.connection for request in server.requests[3:]}
    assert server.connections == 3
    assert len(later) == 1


def test_idle_connections_are_kept_up_to_the_bound(server: Server) -> None:
    url = server.on("/ok", reply(200, b"good"))

    async def body(transport: DirectTransport) -> None:
        await asyncio.gather(*(get(transport, url) for _ in range(8)))
        await asyncio.gather(*(get(transport, url) for _ in range(8)))

    run(body, idle=2)
    assert server.connections == 8 + 6


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(OK + OK, id="two responses"),
        pytest.param(OK + b"more", id="left-over bytes"),
        pytest.param(OK.replace(b"good", b"good, and more"), id="short content-length"),
        pytest.param(b"HTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\nbody", id="204 with a body"),
        pytest.param(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), id="close"),
        pytest.param(OK.replace(b"1.1", b"1.0"), id="http 1.0"),
    ],
)
def test_a_connection_with_surplus_bytes_or_without_keep_alive_is_not_reused(
    server: Server, response: bytes
) -> None:
    bad = server.on("/bad", raw(response))
    good = server.on("/ok", reply(200, b"fine, all of it"))

    async def body(transport: DirectTransport) -> None:
        await get(transport, bad)
        assert await get(transport, good) == (200, 15)

    run(body)
    assert server.connections == 2


def test_a_body_after_a_head_response_makes_the_connection_unusable(server: Server) -> None:
    bad = server.on("/bad", raw(OK))
    good = server.on("/ok", reply(200, b"fine, all of it"))

    async def body(transport: DirectTransport) -> None:
        assert await get(transport, bad, "HEAD") == (200, 0)
        assert await get(transport, good) == (200, 15)

    run(body)
    assert server.connections == 2


def test_a_proper_response_to_head_leaves_the_connection_reusable(server: Server) -> None:
    url = server.on("/ok", reply(200, b"good"))

    async def body(transport: DirectTransport) -> None:
        for method, size in (("HEAD", 0), ("GET", 4), ("HEAD", 0), ("GET", 4)):
            assert await get(transport, url, method) == (200, size)

    run(body)
    assert server.connections == 1


def test_unsolicited_bytes_on_an_idle_connection_are_not_a_response(server: Server) -> None:
    async def late(request: Request, reader: Reader, writer: Writer) -> None:
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(OK.replace(b"good", b"evil"))

    first = server.on("/late", late)
    good = server.on("/ok", reply(200, b"fine, all of it"))

    async def body(transport: DirectTransport) -> None:
        await get(transport, first)
        await asyncio.sleep(0.3)
        assert await get(transport, good) == (200, 15)

    run(body)
    assert server.connections == 2


def _closes_on_the_second(served: list[int]) -> Callable[[Request, Reader, Writer], Any]:
    """Respond to the first request of a connection; close it when the second one comes."""

    async def handler(request: Request, reader: Reader, writer: Writer) -> None:
        served.append(request.turn)
        if request.turn:
            writer.close()
        else:
            writer.write(OK)

    return handler


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_a_reused_connection_that_is_lost_is_replaced_once(server: Server, method: str) -> None:
    served: list[int] = []
    url = server.on("/once", _closes_on_the_second(served))
    get_first = server.on("/ok", reply(200, b"good"))

    async def body(transport: DirectTransport) -> None:
        await get(transport, get_first)
        status, _ = await get(transport, url, method)
        assert status == 200

    run(body)
    assert served == [1, 0]


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT-ish"])
def test_a_request_that_is_not_idempotent_gets_a_fresh_connection(
    server: Server, method: str
) -> None:
    served: list[int] = []
    url = server.on("/once", _closes_on_the_second(served))
    get_first = server.on("/ok", reply(200, b"good"))

    async def body(transport: DirectTransport) -> None:
        for _ in range(2):
            await get(transport, get_first)
            assert await get(transport, url, method) == (200, 4)

    run(body)
    assert served == [0, 0]


def test_a_fresh_connection_that_is_lost_is_an_error(server: Server) -> None:
    url = server.on("/gone", raw(b"", close=True))

    async def body(transport: DirectTransport) -> None:
        with pytest.raises(WireError) as caught:
            await get(transport, url)
        assert caught.value.kind is ErrorKind.DISCONNECTED

    run(body)
    assert server.counts["/gone"] == 1


def test_a_redirect_with_a_complete_small_body_leaves_the_connection_reusable(
    server: Server,
) -> None:
    url = server.on("/moved", redirect("/ok"))

    async def body(transport: DirectTransport) -> None:
        for _ in range(3):
            response = await transport.handle_async_request(httpx.Request("GET", url))
            await response.aclose()

    run(body)
    assert server.connections == 1


def test_an_endless_body_is_throttled_if_it_is_not_read(server: Server) -> None:
    sent = 0

    async def flood(request: Request, reader: Reader, writer: Writer) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(65_536))
            await writer.drain()
            sent += 65_536

    url = server.on("/flood", flood)

    async def body(transport: DirectTransport) -> None:
        response = await transport.handle_async_request(httpx.Request("GET", url))
        while True:
            before = sent
            await asyncio.sleep(0.3)
            if sent == before:
                break
        await response.aclose()

    run(body)
    assert 0 < sent < 30_000_000  # what the buffers of two sockets hold, and no more


def test_a_body_that_is_closed_early_is_not_read_further(server: Server) -> None:
    url = server.on("/endless", endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(10_000)))

    async def body(transport: DirectTransport) -> None:
        response = await transport.handle_async_request(httpx.Request("GET", url))
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for _ in response.stream:
            break
        await response.aclose()

    run(body)
    assert server.connections == 1


def test_the_next_address_is_tried_after_a_refusal(server: Server) -> None:
    url = server.on("/ok", reply(200, b"good"))

    def both(host: str) -> Addresses:
        return Address(socket.AF_INET6, "::1"), Address(socket.AF_INET, "127.0.0.1")

    async def main() -> None:
        async with DirectTransport(ConnectionSettings(), Resolver(1, both)) as transport:
            wire = Wire()
            named = url.replace("127.0.0.1", "both.test")
            assert await get(transport, named, wire=wire) == (200, 4)
            assert wire.remote_ip == "127.0.0.1"
            assert wire.dns is not None
            assert wire.connect is not None

    asyncio.run(main())


def test_if_all_addresses_fail_the_most_informative_errno_is_reported() -> None:
    def both(host: str) -> Addresses:
        return Address(socket.AF_INET, "127.0.0.1"), Address(socket.AF_INET, "127.0.0.2")

    async def main(port: int) -> None:
        async with DirectTransport(ConnectionSettings(), Resolver(1, both)) as transport:
            with pytest.raises(ConnectionRefusedError):
                await get(transport, f"http://both.test:{port}/")

    with refusing_port() as port:
        asyncio.run(main(port))


def test_the_certificate_is_reported(tls_server: Server, ca_file: Path) -> None:
    url = tls_server.on("/ok", reply(200, b"good"))
    wire = Wire()

    async def body(transport: DirectTransport) -> None:
        assert await get(transport, url, wire=wire) == (200, 4)

    run(body, cacert=str(ca_file))
    assert wire.tls is not None
    peer = wire.tls_peer
    assert peer is not None
    assert peer.version in {"TLSv1.2", "TLSv1.3"}
    assert peer.cipher
    assert peer.expires is not None
    assert peer.expires > 1_700_000_000
    assert peer.issuer is not None
    assert "trustme" in peer.issuer
    assert peer.subject is not None


def test_loading_the_root_certificates_is_stall_and_not_latency(
    tls_server: Server, ca_file: Path
) -> None:
    url = tls_server.on("/ok", reply(200, b"good"))
    wires = [Wire(), Wire()]

    async def body(transport: DirectTransport) -> None:
        for wire in wires:
            await get(transport, url, wire=wire)

    run(body, cacert=str(ca_file))
    assert wires[0].stall > 0
    assert wires[1].stall == 0


def test_a_request_on_a_reused_connection_has_no_connect_time(server: Server) -> None:
    url = server.on("/ok", reply(200, b"good"))
    first, second = Wire(), Wire()

    async def body(transport: DirectTransport) -> None:
        await get(transport, url, wire=first)
        await get(transport, url, wire=second)

    run(body)
    assert first.connect is not None
    assert second.connect is None
    assert second.sent is not None
    assert second.first_byte is not None
    assert second.last_byte is not None
    assert second.sent <= second.first_byte <= second.last_byte
    assert second.http_version == "HTTP/1.1"


def test_the_wait_begins_before_the_write_of_the_request() -> None:
    class SlowSender:
        """Takes a while to send, and receives the response at once."""

        is_sent = True

        def send(self, request: bytes, exchange: Exchange) -> None:
            time.sleep(0.02)
            exchange.feed(memoryview(OK), time.perf_counter())

    wire = Wire()
    connection: Any = SlowSender()

    async def main() -> None:
        stream = ResponseStream(
            connection, wire, lambda _connection, _reusable: None, is_head=False
        )
        await stream.send(b"GET / HTTP/1.1\r\n\r\n")

    asyncio.run(main())
    assert wire.wait is not None
    assert wire.wait >= 0.02


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_closing_leaves_no_descriptor_and_no_task(server: Server) -> None:
    ok = server.on("/ok", reply(200, b"good"))
    cut = server.on("/cut", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", close=True))
    hang = server.on("/hang", endless(b"HTTP/1.1 200 OK\r\n\r\n", b".", gap=0.05))

    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))
        async with DirectTransport(ConnectionSettings(idle=50)) as transport:
            results = await asyncio.gather(
                *(get(transport, ok) for _ in range(30)),
                *(get(transport, cut) for _ in range(10)),
                *(asyncio.wait_for(get(transport, hang), 0.2) for _ in range(10)),
                return_exceptions=True,
            )
            assert results[:30] == [(200, 4)] * 30
            assert all(isinstance(result, WireError) for result in results[30:40])
            assert all(isinstance(result, TimeoutError) for result in results[40:])
        await asyncio.sleep(0.1)
        assert len(os.listdir("/proc/self/fd")) == before
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_thousands_of_blanks_in_a_content_length_cost_little(server: Server) -> None:
    blanks = b"HTTP/1.1 200 OK\r\nContent-Length: " + b" " * 60_000 + b"x\r\n\r\n"
    url = server.on("/blanks", raw(blanks, close=True))
    start = time.process_time()

    async def body(transport: DirectTransport) -> None:
        with pytest.raises(InvalidResponseError):
            await get(transport, url)

    run(body)
    assert time.process_time() - start < 3


def test_a_fresh_connection_after_a_lost_one_has_its_own_clock_readings(server: Server) -> None:
    served: list[int] = []
    url = server.on("/once", _closes_on_the_second(served))
    wire = Wire()

    async def body(transport: DirectTransport) -> None:
        await get(transport, server.on("/ok", reply(200, b"good")))
        server.on("/once", _silent_when_fresh(served))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(get(transport, url, wire=wire), 0.5)

    run(body)
    assert wire.sent is not None
    assert wire.first_byte is None
    assert wire.last_byte is None or wire.last_byte - wire.sent > 0.4


def _silent_when_fresh(served: list[int]) -> Callable[[Request, Reader, Writer], Any]:
    """Close a reused connection; never respond on a fresh one."""

    async def handler(request: Request, reader: Reader, writer: Writer) -> None:
        served.append(request.turn)
        if request.turn:
            writer.close()
        else:
            await reader.read()
            writer.close()

    return handler


def test_a_server_that_sends_first_is_not_an_http_server() -> None:
    async def banner(reader: Reader, writer: Writer) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await reader.read()
        writer.close()

    async def body(transport: DirectTransport) -> None:
        for _ in range(20):
            with pytest.raises(InvalidResponseError):
                await get(transport, talker.url("/"))

    with Server(accept=banner) as talker:
        run(body)


def test_two_crawls_in_two_threads_get_their_own_responses(server: Server) -> None:
    urls = [server.on(f"/{n}", reply(200, bytes(1_000 + n))) for n in range(2)]
    wrong: list[tuple[int, int]] = []

    def scheduler(n: int) -> None:
        async def body(transport: DirectTransport) -> None:
            for _ in range(300):
                found = await get(transport, urls[n])
                if found != (200, 1_000 + n):
                    wrong.append(found)

        run(body)

    threads = [threading.Thread(target=scheduler, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_rest_of_a_request_is_not_taken_for_the_next_one() -> None:
    """A server responds before it has read the request: the unsent rest must not follow."""
    heads: list[bytes] = []

    async def accept(reader: Reader, writer: Writer) -> None:
        heads.append(await reader.readexactly(14))
        writer.write(OK)
        if heads[-1].startswith(b"GET /large"):
            await asyncio.sleep(0.2)
        while await reader.read(65_536):
            pass
        writer.close()

    async def body(transport: DirectTransport) -> None:
        large = httpx.Request("GET", origin.url("/large"), headers={"X": "x" * 20_000_000})
        response = await transport.handle_async_request(large)
        await response.aread()
        assert await get(transport, origin.url("/next")) == (200, 4)

    with Server(accept=accept) as origin:
        run(body)
    assert heads == [b"GET /large HTT", b"GET /next HTTP"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_requests_cancelled_at_any_moment_leave_nothing_behind(
    secure: bool, server: Server, tls_server: Server, ca_file: Path
) -> None:
    origin = tls_server if secure else server
    url = origin.on("/large", reply(200, bytes(600_000)))
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        before = len(os.listdir("/proc/self/fd"))
        async with DirectTransport(ConnectionSettings(cacert=str(ca_file))) as transport:
            await get(transport, url)
            for step in range(40):
                tasks = [asyncio.create_task(get(transport, url)) for _ in range(5)]
                await asyncio.sleep(step * 0.0002)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert await get(transport, url) == (200, 600_000)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        for _ in range(500):  # the server, in this process, closes a little later
            if len(os.listdir("/proc/self/fd")) == before:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("descriptors are left open")
        gc.collect()  # an exception that was never retrieved is reported now
        await asyncio.sleep(0)

    asyncio.run(main())
    assert complaints == []


def test_a_transport_that_was_closed_can_be_used_again(server: Server) -> None:
    url = server.on("/ok", reply(200, b"good"))

    async def main() -> None:
        transport = DirectTransport(ConnectionSettings())
        for _ in range(2):
            assert await get(transport, url) == (200, 4)
            await transport.aclose()

    asyncio.run(main())
    assert server.connections == 2
