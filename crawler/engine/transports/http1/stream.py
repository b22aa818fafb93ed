"""An exchange, awaited: its response head, then its body as it comes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from time import perf_counter

import httpx

from crawler.engine.transports.http1.connection import Connection
from crawler.engine.transports.http1.exchange import Exchange, ExchangeState
from crawler.engine.transports.wire import Wire
from crawler.models import Phase

_HIGH_WATER = 262_144  # bytes of body buffered before reading pauses
Finished = Callable[[Connection, bool], None]


class ResponseStream(httpx.AsyncByteStream):
    """The listener of one exchange, and the body of its response.

    `finished` is called once, with the connection and whether it can be used again: when
    the response is complete, failed, or closed by its reader.
    """

    def __init__(
        self, connection: Connection, wire: Wire, finished: Finished, *, is_head: bool
    ) -> None:
        self.exchange = Exchange(self, is_head=is_head)
        self._connection: Connection | None = connection
        self._wire = wire
        self._finished = finished
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def send(self, request: bytes) -> None:
        """Send a request and wait for the head of the final response.

        Raises WireError or OSError. If it is cancelled, the connection is closed.
        """
        assert self._connection is not None
        self._wire.phase = Phase.WAIT
        self._wire.sent = perf_counter()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            self._connection.send(request, self.exchange)
            await self._waiter
        except BaseException:
            await self.aclose()
            raise

    # What the exchange calls.

    def head_received(self) -> None:
        self._wire.first_byte = self.exchange.first_byte
        self._wake()

    def body_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > _HIGH_WATER and self._connection is not None:
            self._connection.pause()
        self._wake()

    def exchange_ended(self, error: Exception | None) -> None:
        self._wire.first_byte = self.exchange.first_byte
        self._wire.last_byte = self.exchange.last_byte
        self._release()
        if error is not None and self.exchange.head is None:
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(error)
        else:
            self._error = error  # after the head: the status stands, reading on fails
            self._wake()

    # What the reader of the body calls.

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._buffered -= len(chunk)
                yield chunk
            if self.exchange.state is ExchangeState.DONE:
                if self._error is not None:
                    raise self._error
                return
            self._waiter = asyncio.get_running_loop().create_future()
            if self._connection is not None:
                self._connection.resume()
            await self._waiter

    async def aclose(self) -> None:
        self._chunks.clear()
        if self._connection is not None:
            self._release()
            self.exchange.abandon()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _release(self) -> None:
        """Release the connection; it is reusable if the request and its response are complete."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._finished(connection, self.exchange.reusable and connection.is_sent)
