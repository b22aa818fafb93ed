"""HTTP/2 for https where the server speaks it; direct for everything else."""

from collections import OrderedDict

import httpx

from crawler.engine.transports import request as asking
from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.resolve import Resolver
from crawler.engine.transports.settings import Connecting
from crawler.engine.transports.stock import StockTransport

_REMEMBERED = 10_000  # origins


class Http2Transport(httpx.AsyncBaseTransport):
    """Requests https origins through stock, until one of them responds with HTTP/1.1."""

    def __init__(self, connecting: Connecting) -> None:
        resolver = Resolver(connecting.idle)
        self._direct = DirectTransport(connecting, resolver)
        self._stock = StockTransport(connecting, resolver)
        self._without: OrderedDict[asking.Origin, None] = OrderedDict()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        origin = asking.origin(request)
        if origin[0] == "http" or origin in self._without:
            return await self._direct.handle_async_request(request)
        response = await self._stock.handle_async_request(request)
        if response.extensions["http_version"] != b"HTTP/2":
            self._without[origin] = None
            if len(self._without) > _REMEMBERED:
                self._without.popitem(last=False)
        return response

    async def aclose(self) -> None:
        await self._direct.aclose()
        await self._stock.aclose()
