"""MILLISECONDS -> a server on 127.0.0.1 that answers each request after exactly that time.

Prints its port on the first line. When standard input ends it prints, as JSON, how many
milliseconds passed between each request and its answer: p50, p99 and max.
"""

import asyncio
import json
import sys
from collections import deque
from time import perf_counter

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
# A loop's own timer comes up to a millisecond late; the last stretch is spun instead.
SPUN = 0.0015


class Delay:
    """The answers that are owed, oldest first: all wait equally long."""

    def __init__(self, seconds: float) -> None:
        self.took: list[float] = []
        self._seconds = seconds
        self._owed: deque[tuple[float, asyncio.Transport]] = deque()
        self._loop = asyncio.get_running_loop()

    def owe(self, transport: asyncio.Transport) -> None:
        self._owed.append((perf_counter(), transport))
        if len(self._owed) == 1:
            self._loop.call_soon(self._pay)

    def _pay(self) -> None:
        """Answer what is due; come back shortly before the next one is."""
        while self._owed:
            since, transport = self._owed[0]
            waited = perf_counter() - since
            if waited < self._seconds:
                left = self._seconds - waited
                if left > SPUN:
                    self._loop.call_later(left - SPUN, self._pay)
                else:
                    self._loop.call_soon(self._pay)
                return
            self._owed.popleft()
            self.took.append(waited)
            transport.write(ANSWER)


class Connection(asyncio.Protocol):
    def __init__(self, delay: Delay) -> None:
        self._delay = delay
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            self._received = self._received.partition(b"\r\n\r\n")[2]
            self._delay.owe(self._transport)


async def main(milliseconds: float) -> None:
    loop = asyncio.get_running_loop()
    delay = Delay(milliseconds / 1000)
    server = await loop.create_server(lambda: Connection(delay), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    took = sorted(delay.took) or [0.0]
    ranks = {"p50": len(took) // 2, "p99": len(took) * 99 // 100, "max": len(took) - 1}
    print(json.dumps({name: took[rank] * 1000 for name, rank in ranks.items()}))


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
