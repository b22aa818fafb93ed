"""Proxies on loopback: what a CONNECT handler and a SOCKS5 server do with a connection."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

from loopback import Request

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


async def tunnel(request: Request, reader: Reader, writer: Writer) -> None:
    """Accept a CONNECT request, then relay bytes both ways until one side ends."""
    host, _, port = request.target.rpartition(":")
    far = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
    await relay((reader, writer), far)


async def relay(near: tuple[Reader, Writer], far: tuple[Reader, Writer]) -> None:
    """Relay bytes both ways; the end of one side ends both."""

    async def pump(source: Reader, sink: Writer) -> None:
        with contextlib.suppress(OSError):  # the other way around has ended
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()

    ways = {
        asyncio.create_task(pump(near[0], far[1])),
        asyncio.create_task(pump(far[0], near[1])),
    }
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        far[1].close()
        near[1].close()
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


def socks5(
    requested: list[tuple[str, int]], *, login: tuple[bytes, bytes] | None = None, reply: int = 0
) -> Callable[[Reader, Writer], Awaitable[None]]:
    """Return a SOCKS5 server (RFC 1928, RFC 1929) that records host and port of each request.

    It sends its replies a byte at a time. With a `reply` other than 0 it refuses.
    """

    async def accept(reader: Reader, writer: Writer) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        chosen = 0 if login is None else 2
        await _slowly(writer, bytes([5, chosen if chosen in methods else 255]))
        if chosen not in methods:
            return
        if login is not None:
            _, length = await reader.readexactly(2)
            name = await reader.readexactly(length)
            (length,) = await reader.readexactly(1)
            fits = (name, await reader.readexactly(length)) == login
            await _slowly(writer, bytes([1, 0 if fits else 1]))
            if not fits:
                return
        address = await _place(reader)
        requested.append(address)
        await _slowly(writer, bytes([5, reply, 0, 1, 127, 0, 0, 1, 0, 80]))
        if reply == 0:
            host = "127.0.0.1" if address[0].endswith(".test") else address[0]
            await relay((reader, writer), await asyncio.open_connection(host, address[1]))

    return accept


async def _place(reader: Reader) -> tuple[str, int]:
    _, _, _, kind = await reader.readexactly(4)
    if kind == 3:
        (length,) = await reader.readexactly(1)
        host = (await reader.readexactly(length)).decode()
    else:
        family, length = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
        host = socket.inet_ntop(family, await reader.readexactly(length))
    (port,) = struct.unpack(">H", await reader.readexactly(2))
    return host, port


async def _slowly(writer: Writer, data: bytes) -> None:
    for number in range(len(data)):
        writer.write(data[number : number + 1])
        await writer.drain()
        await asyncio.sleep(0)
