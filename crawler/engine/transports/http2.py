"""HTTP/2 for https if the server supports it; direct for everything else."""

from collections import OrderedDict
from typing import TYPE_CHECKING

import httpx

from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.httpx_transport import HttpxTransport
from crawler.engine.transports.request import origin_of
from crawler.engine.transports.resolve import Resolver
from crawler.engine.transports.settings import ConnectionSettings

if TYPE_CHECKING:
    from crawler.engine.transports.requesthead import Origin

_REMEMBERED = 10_000  # origins


class Http2Transport(httpx.AsyncBaseTransport):
    """Requests https origins through httpx, until one of them responds with HTTP/1.1."""

    def __init__(self, settings: ConnectionSettings) -> None:
        resolver = Resolver(settings.idle)
        self._direct = DirectTransport(settings, resolver)
        self._httpx = HttpxTransport(settings, resolver)
        self._without: OrderedDict[Origin, None] = OrderedDict()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        origin = origin_of(request)
        if origin[0] == "http" or origin in self._without:
            return await self._direct.handle_async_request(request)
        response = await self._httpx.handle_async_request(request)
        if response.extensions["http_version"] != b"HTTP/2":
            self._without[origin] = None
            if len(self._without) > _REMEMBERED:
                self._without.popitem(last=False)
        return response

    async def aclose(self) -> None:
        await self._direct.aclose()
        await self._httpx.aclose()
