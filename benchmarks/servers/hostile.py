"""COUNT -> a server on that many ports of 127.0.0.1 that misbehaves as each URL says.

Prints its ports as one line of JSON, and ends when standard input does. A path is
/KIND/SIZE/NUMBER: the kind of response, and the bytes of its body.
"""

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Callable

SHORTLY = 0.005  # seconds


class Connection(asyncio.Protocol):
    """Responds to one request after the other, each by the kind in its path."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._received = b""
        self._kinds: dict[str, Callable[[int, str], None]] = {
            "whole": self._whole,
            "chunked": self._chunked,
            "pieces": self._pieces,
            "missing": self._missing,
            "redirect": self._redirect,
            "close": self._close,
            "unframed": self._unframed,
            "after": self._after,
            "surplus": self._surplus,
            "reset": self._reset,
            "cut": self._cut,
            "short": self._short,
            "silent": self._silent,
            "garbage": self._garbage,
            "stall": self._stall,
            "half": self._half,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            kind, size, number = head.split(b" ", 2)[1].decode("ascii").strip("/").split("/")
            self._kinds[kind](int(size), number)

    def _send(self, head: str, body: bytes = b"") -> None:
        self._transport.write(f"HTTP/1.1 {head}\r\n\r\n".encode("ascii") + body)

    def _later(self, act: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(SHORTLY, act)

    # Complete responses.

    def _whole(self, size: int, _number: str) -> None:
        self._send(f"200 OK\r\nContent-Length: {size}", b"x" * size)

    def _chunked(self, size: int, _number: str) -> None:
        chunk = f"{size:x}\r\n".encode("ascii") + b"x" * size + b"\r\n"
        self._send("200 OK\r\nTransfer-Encoding: chunked", chunk + b"0\r\n\r\n")

    def _pieces(self, size: int, _number: str) -> None:
        self._send(f"200 OK\r\nContent-Length: {size}")
        self._later(lambda: self._transport.write(b"x" * size))

    def _missing(self, size: int, _number: str) -> None:
        self._send(f"404 Not Found\r\nContent-Length: {size}", b"x" * size)

    def _redirect(self, size: int, number: str) -> None:
        port = self._ports[int(number) % len(self._ports)]
        there = f"http://127.0.0.1:{port}/whole/{size}/{number}"
        self._send(f"302 Found\r\nContent-Length: 4\r\nLocation: {there}", b"gone")

    def _close(self, size: int, _number: str) -> None:
        self._send(f"200 OK\r\nConnection: close\r\nContent-Length: {size}", b"x" * size)
        self._transport.close()

    def _unframed(self, size: int, _number: str) -> None:
        self._send("200 OK", b"x" * size)
        self._transport.close()

    def _after(self, size: int, number: str) -> None:
        """Respond as if the connection stayed open, and close it: a race with its next use."""
        self._whole(size, number)
        self._transport.close()

    def _surplus(self, size: int, _number: str) -> None:
        """Send an unsolicited second response: it must never count for the next URL."""
        unsolicited = b"HTTP/1.1 500 Wrong\r\nContent-Length: 0\r\n\r\n"
        self._send(f"200 OK\r\nContent-Length: {size}", b"x" * size + unsolicited)

    # Failures.

    def _reset(self, _size: int = 0, _number: str = "") -> None:
        sock = self._transport.get_extra_info("socket")
        if not self._transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def _cut(self, size: int, _number: str) -> None:
        self._send(f"200 OK\r\nContent-Length: {size + 10}", b"x" * size)
        self._later(self._reset)

    def _short(self, size: int, _number: str) -> None:
        self._send(f"200 OK\r\nContent-Length: {size + 10}", b"x" * size)
        self._transport.close()

    def _silent(self, _size: int, _number: str) -> None:
        self._transport.close()

    def _garbage(self, _size: int, _number: str) -> None:
        self._transport.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n")

    def _stall(self, _size: int, _number: str) -> None:
        """Never respond: the client must time out."""

    def _half(self, size: int, _number: str) -> None:
        self._send(f"200 OK\r\nContent-Length: {size + 10}", b"x" * size)


async def main(count: int) -> None:
    loop = asyncio.get_running_loop()
    ports: list[int] = []
    for _ in range(count):
        server = await loop.create_server(lambda: Connection(ports), "127.0.0.1", 0, backlog=1024)
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
