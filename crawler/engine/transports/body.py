"""Pieces of a response body, as a connection hands them over -> an httpx stream."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from crawler.engine.transports.http1 import Connection


class Body(httpx.AsyncByteStream):
    """The body of one response, as it comes.

    `size` counts all bytes that came, `held` those that wait for a reader.
    `release` is called once: when the body was read to its end, or closed before.
    """

    def __init__(self, connection: "Connection") -> None:
        self.size = 0
        self.error: Exception | None = None
        self.release: Callable[[Connection], None] | None = None
        self._connection = connection
        self.held = 0
        self._chunks: deque[bytes] = deque()
        self._reader: asyncio.Future[None] | None = None

    def add(self, data: bytes) -> None:
        self._chunks.append(data)
        self.size += len(data)
        self.held += len(data)

    def wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        connection = self._connection
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self.held -= len(chunk)
                yield chunk
            if self.error is not None:
                raise self.error
            if connection.complete:
                break
            connection.resume()
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        await self.aclose()

    async def aclose(self) -> None:
        self._chunks.clear()
        release, self.release = self.release, None
        if release is not None:
            release(self._connection)
