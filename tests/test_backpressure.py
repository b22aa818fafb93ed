"""The direct transport and slow readers: reading pauses for them, and always resumes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest
import trustme
from hostile_cases import Authorities, over_tls
from loopback import Request, Server, reply
from loops import POLLERS, Loop

from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.http1.stream import ResponseStream
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.transports.wire import WireError

READ = 65_536  # bytes that the transport reads at once
HELD = 262_144  # bytes of body that it holds before it pauses
SIZES = [
    *(bound + near for bound in (READ, HELD, HELD + READ) for near in (-200, -1, 0, 1)),
    265_000,
    600_000,
    1_000_000,
]
WITHIN = 10.0  # seconds; a read that hangs would take forever

LOOPS = pytest.mark.parametrize("loop", POLLERS)
SCHEMES = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def run(loop: Loop, ca_file: Path, body: Callable[[DirectTransport], Awaitable[None]]) -> None:
    async def main() -> None:
        settings = ConnectionSettings(cacert=str(ca_file))
        transport = DirectTransport(settings, make_poller=loop.poller)
        async with asyncio.timeout(WITHIN), transport:
            await body(transport)

    loop.run(main())


async def get(transport: DirectTransport, url: str, *, late: float = 0.0) -> int:
    """Return the size of a body whose reading begins `late` seconds after its head came."""
    response = await transport.handle_async_request(httpx.Request("GET", url))
    assert isinstance(response.stream, httpx.AsyncByteStream)
    await asyncio.sleep(late)
    size = 0
    async for chunk in response.stream:
        size += len(chunk)
    return size


@pytest.mark.parametrize("late", [0.0, 0.02], ids=["reads at once", "reads late"])
@SCHEMES
@LOOPS
def test_a_connection_is_reused_after_a_body_of_any_size(
    loop: Loop, tls: bool, late: float, server: Server, tls_server: Server, ca_file: Path
) -> None:
    origin = tls_server if tls else server
    urls = [origin.on(f"/{size}", reply(200, bytes(size))) for size in SIZES]

    async def body(transport: DirectTransport) -> None:
        for _ in range(2):
            assert [await get(transport, url, late=late) for url in urls] == SIZES

    run(loop, ca_file, body)
    assert origin.connections == 1


@SCHEMES
@LOOPS
def test_many_large_bodies_at_once_arrive_over_kept_connections(
    loop: Loop, tls: bool, server: Server, tls_server: Server, ca_file: Path
) -> None:
    origin = tls_server if tls else server
    urls = [origin.on(f"/{size}", reply(200, bytes(size))) for size in (265_000, 600_000)]

    async def body(transport: DirectTransport) -> None:
        async def client() -> list[int]:
            return [await get(transport, url) for url in urls * 4]

        sizes = await asyncio.gather(*(client() for _ in range(5)))
        assert sizes == [[265_000, 600_000] * 4] * 5

    run(loop, ca_file, body)
    assert origin.connections == 5


@pytest.mark.parametrize("size", [HELD + 1, 300_000, 400_000, 500_000, 600_000])
@pytest.mark.parametrize("length", [True, False], ids=["with a length", "until close"])
@SCHEMES
@LOOPS
def test_a_slow_reader_gets_the_whole_body_after_the_server_has_closed(
    loop: Loop,
    tls: bool,
    length: bool,
    size: int,
    server: Server,
    tls_server: Server,
    ca_file: Path,
) -> None:
    origin = tls_server if tls else server

    async def closes(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        field = b"Content-Length: %d\r\n" % size if length else b""
        writer.write(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n" + bytes(size))
        writer.close()

    url = origin.on("/closes", closes)

    async def body(transport: DirectTransport) -> None:
        for _ in range(3):
            assert await get(transport, url, late=0.05) == size

    run(loop, ca_file, body)


@pytest.mark.parametrize("size", [HELD + 1, 300_000, 400_000, 500_000, 600_000])
@pytest.mark.parametrize("length", [True, False], ids=["with a length", "until close"])
@LOOPS
def test_a_slow_reader_gets_everything_received_before_tls_was_cut(
    loop: Loop, length: bool, size: int, ca: trustme.CA, ca_file: Path
) -> None:
    field = b"Content-Length: %d\r\n" % size if length else b""
    data = b"HTTP/1.1 200 OK\r\n" + field + b"\r\n" + bytes(size)

    async def body(transport: DirectTransport) -> None:
        request = httpx.Request("GET", server.url("/"))
        response = await transport.handle_async_request(request)
        assert isinstance(response.stream, ResponseStream)
        await asyncio.sleep(0.1)
        with nullcontext() if length else pytest.raises(WireError, match="close_notify"):
            async for _ in response.stream:
                pass
        assert response.stream.exchange.size == size

    with over_tls(data)(Authorities(ca)) as server:
        run(loop, ca_file, body)


@LOOPS
def test_an_exchange_closed_while_paused_leaves_nothing_behind(
    loop: Loop, server: Server, ca_file: Path
) -> None:
    large = server.on("/large", reply(200, bytes(5_000_000)))
    small = server.on("/small", reply(200, b"good"))

    async def body(transport: DirectTransport) -> None:
        response = await transport.handle_async_request(httpx.Request("GET", large))
        await asyncio.sleep(0.05)
        await response.aclose()
        assert await get(transport, small) == 4

    run(loop, ca_file, body)
    assert server.connections == 2
