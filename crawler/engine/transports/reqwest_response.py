"""A request built with pyreqwest -> its response, as its parts come."""

import asyncio
from collections.abc import Callable
from functools import lru_cache

import httpx
from pyreqwest import exceptions
from pyreqwest.http import HeaderMap
from pyreqwest.request import RequestBuilder, StreamRequest
from pyreqwest.response import Response

from crawler.engine.transports.reqwest_errors import typed_error
from crawler.engine.transports.wire import Wire
from crawler.models import Phase


class ReqwestResponse:
    """A response whose head was received.

    `ended` is called when its body was read to the end and the connection can be kept.
    """

    __slots__ = (
        "_ended",
        "_headers",
        "_left",
        "_reader",
        "_sending",
        "_task",
        "_wire",
        "status_code",
    )

    def __init__(
        self,
        sending: StreamRequest,
        response: Response,
        wire: Wire,
        ended: Callable[[], None] | None,
        task: "asyncio.Task[object] | None",
    ) -> None:
        self.status_code = response.status
        self._sending: StreamRequest | None = sending
        self._headers = response.headers
        self._reader = response.body_reader
        self._wire = wire
        self._ended = None if ended is None or not _persists(response) else ended
        self._task = task
        self._left = _length(self._headers)

    def fields(self, names: frozenset[bytes]) -> dict[bytes, bytes]:
        found = {}
        for text, name in _as_text(names):
            if text in self._headers and (values := _values(self._headers, text)):
                found[name] = values[-1].encode()
        return found

    def locations(self) -> list[tuple[bytes, bytes]]:
        """Return the Location fields; one that is not text becomes an invalid one."""
        if "location" not in self._headers:
            return []
        values = _values(self._headers, "location") or ["\0"]
        return [(b"location", value.encode()) for value in values]

    def raw_fields(self) -> list[tuple[bytes, bytes]]:
        """Return the header fields whose values are text, and all of Location."""
        names = [name for name in dict.fromkeys(self._headers) if name != "location"]
        pairs = [(name, value) for name in names for value in _values(self._headers, name)]
        return [(name.encode(), value.encode()) for name, value in pairs] + self.locations()

    async def read(self) -> bytes | None:
        """Return the next part of the body, None at its end."""
        if self._left == 0:
            self._end()
            return None
        try:
            chunk = await self._reader.read_chunk()
        except exceptions.PyreqwestError as exc:
            raise typed_error(exc, self._wire) from exc
        if self._task is not None and self._task.cancelling():
            raise asyncio.CancelledError
        if chunk is None:
            self._end()
            return None
        if self._left is not None:
            self._left -= len(chunk)
        return bytes(chunk)

    async def read_body(self, receive: Callable[[bytes], bool]) -> None:
        try:
            # reqwest's thread has just woken this one for the head, and is about to receive the
            # body: to wait for that, too, is a second wake-up.
            await asyncio.sleep(0)
            while (chunk := await self.read()) is not None and not receive(chunk):
                pass
        finally:
            if self._sending is not None:
                await self.aclose()

    async def aclose(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            await sending.__aexit__(None, None, None)

    def _end(self) -> None:
        # Nothing is left to close.
        if self._sending is not None and self._ended is not None:
            self._ended()
        self._sending = None


async def send(
    builder: RequestBuilder, wire: Wire, ended: Callable[[], None] | None = None
) -> ReqwestResponse:
    wire.phase = Phase.WAIT
    # Without a buffer: it would delay the head until it is full or the body ends.
    sending = builder.streamed_read_buffer_limit(0).build_streamed()
    try:
        response = await sending.__aenter__()
    except exceptions.PyreqwestError as exc:
        raise typed_error(exc, wire) from exc
    # pyreqwest loses a cancellation if its response comes with it.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        await sending.__aexit__(None, None, None)
        raise asyncio.CancelledError
    if response.status == 101:
        await sending.__aexit__(None, None, None)
        raise httpx.RemoteProtocolError("unexpected 101 Switching Protocols")
    wire.phase = Phase.DOWNLOAD
    wire.http_version = response.version
    return ReqwestResponse(sending, response, wire, ended, task)


def _persists(response: Response) -> bool:
    """Whether the connection of a response can be kept (RFC 9112, section 9.3)."""
    options = {option.strip().lower() for option in _options(response.headers)}
    return "close" not in options and (response.version != "HTTP/1.0" or "keep-alive" in options)


def _options(headers: HeaderMap) -> list[str]:
    return ",".join(_values(headers, "connection")).split(",")


def _length(headers: HeaderMap) -> int | None:
    """Return the body's length if it is known: at its end nothing has to be waited for."""
    if "transfer-encoding" in headers or "content-length" not in headers:
        return None
    values = _values(headers, "content-length")
    return int(values[0]) if len(values) == 1 and values[0].isdecimal() else None


@lru_cache(maxsize=8)
def _as_text(names: frozenset[bytes]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name.decode("ascii"), name) for name in names)


def _values(headers: HeaderMap, name: str) -> list[str]:
    """Return the values of a field; none if they are not text: pyreqwest cannot return those."""
    try:
        return headers.getall(name)
    except ValueError:
        return []
