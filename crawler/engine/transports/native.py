"""pyreqwest (Rust's reqwest) for https, where its TLS is the fastest; direct for plain HTTP.

Each response that crosses from reqwest's thread to ours costs more than reading it here
does: over plain HTTP direct is half as fast again. With TLS the handshake costs most, and
reqwest's runs in parallel with our own thread.
"""

from collections import OrderedDict
from functools import partial

import httpx

from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.lazy import Lazy
from crawler.engine.transports.request import Origin, origin_of

# Here, in the thread that opens the transport: where a thread that has ended since loaded
# pyreqwest 0.15, its DNS lookups crash the process. Clients may be made in any.
from crawler.engine.transports.reqwest import AuthorityAsServerError, ReqwestTransport
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.transports.wire import Wire

_REMEMBERED = 10_000  # origins


class NativeTransport(httpx.AsyncBaseTransport):
    """Requests https URLs through reqwest, whose clients are made for the first, others directly.

    So are those of a server whose own certificate is that of an authority.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._plain = DirectTransport(settings)
        self._secure = Lazy(partial(ReqwestTransport, settings), "reqwest")
        # Origins whose certificates rustls refuses whoever vouches for them: OpenSSL decides.
        self._undecided: OrderedDict[Origin, None] = OrderedDict()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        origin = origin_of(request)
        if origin[0] == "http" or origin in self._undecided:
            return await self._plain.handle_async_request(request)
        secure = await self._secure.get(request.extensions.get("wire") or Wire())
        try:
            return await secure.handle_async_request(request)
        except AuthorityAsServerError:
            self._undecided[origin] = None
            if len(self._undecided) > _REMEMBERED:
                self._undecided.popitem(last=False)
        # Not in the handler: what fails now must not have that failure for its cause.
        return await self._plain.handle_async_request(request)

    async def aclose(self) -> None:
        await self._plain.aclose()
        if self._secure.value is not None:
            await self._secure.value.aclose()
