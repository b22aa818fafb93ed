"""pyreqwest (Rust's reqwest) for https, where its TLS is the fastest; direct for plain HTTP.

Each answer that crosses from reqwest's thread to ours costs more than reading it here
does: over plain HTTP direct is half as fast again. With TLS the handshake costs most, and
reqwest's runs beside our own thread.
"""

import httpx

from crawler.engine import asking
from crawler.engine.transports import Connecting
from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.reqwest import ReqwestTransport


class NativeTransport(httpx.AsyncBaseTransport):
    """Asks https URLs through reqwest, and the others directly."""

    def __init__(self, connecting: Connecting) -> None:
        self._plain = DirectTransport(connecting)
        # At once, not when the first https URL comes: where a thread that has ended since
        # loaded pyreqwest 0.15, its look-ups of names crash the process.
        self._secure = ReqwestTransport(connecting)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        plain = asking.origin(request)[0] == "http"
        transport = self._plain if plain else self._secure
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._plain.aclose()
        await self._secure.aclose()
