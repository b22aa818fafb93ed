"""The seam for a transport that also takes requests as text, and creates no httpx object."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Protocol

import httpx

from crawler.engine.transports.requesthead import Fields
from crawler.engine.transports.wire import Wire


class LeanResponse(Protocol):
    """A response whose head was received. It must be closed unless its body was read."""

    status_code: int

    def fields(self, names: frozenset[bytes]) -> dict[bytes, bytes]:
        """Return the last value of each field whose lower-case name is one of `names`."""

    def locations(self) -> list[tuple[bytes, bytes]]:
        """Return the Location fields, as pairs of name and value."""

    async def read_body(self, receive: Callable[[bytes], bool]) -> None:
        """Give `receive` each part of the body until it returns True, then close the response.

        Raises as `httpx.Response.stream` does.
        """

    async def aclose(self) -> None: ...


class LeanTransport(httpx.AsyncBaseTransport):
    """An httpx transport with a shorter way for the requests of `fetch`."""

    @abstractmethod
    def send(
        self, method: str, url: str, fields: Fields, wire: Wire, *, seconds: float, fresh: bool
    ) -> Awaitable[LeanResponse | None]:
        """Send a request and return its response; None if httpx objects are to be used for it.

        `url` is normalised, without userinfo. `seconds` is when the sender will have given
        up, `fresh` requires a connection that was not used before. Raises as
        `handle_async_request` does.
        """
