"""pyreqwest (Rust's reqwest) for https, where its TLS is the fastest; direct for plain HTTP.

Each response that crosses from reqwest's thread to ours costs more than reading it here
does: over plain HTTP, direct is 1.5 times as fast. With TLS the handshake costs most, and
reqwest's runs in parallel with our own thread.
"""

from collections import OrderedDict
from functools import partial

import httpx

from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.lazy import Lazy
from crawler.engine.transports.lean import LeanTransport
from crawler.engine.transports.request import url_text
from crawler.engine.transports.requesthead import Fields

# Here, in the thread that opens the transport: if pyreqwest 0.15 was loaded in a thread that
# has ended, its DNS lookups crash the process. Clients may be created in any thread.
from crawler.engine.transports.reqwest import ReqwestTransport, origin_text
from crawler.engine.transports.reqwest_errors import AuthorityAsServerError
from crawler.engine.transports.reqwest_response import ReqwestResponse
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.transports.wire import Wire

_REMEMBERED = 10_000  # origins


class NativeTransport(LeanTransport):
    """Sends https requests through reqwest, whose clients the first one creates; others directly.

    Requests to a server whose own certificate is an authority's go directly too.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._direct = DirectTransport(settings)
        self._reqwest = Lazy(partial(ReqwestTransport, settings), "reqwest")
        # Origins whose certificate rustls refuses in any case (`AuthorityAsServerError`).
        self._direct_only: OrderedDict[str, None] = OrderedDict()

    async def send(
        self, method: str, url: str, fields: Fields, wire: Wire, *, seconds: float, fresh: bool
    ) -> ReqwestResponse | None:
        if self._is_direct(url):
            return None
        reqwest = self._reqwest.value or await self._reqwest.get(wire)
        try:
            return await reqwest.send(method, url, fields, wire, seconds=seconds, fresh=fresh)
        except AuthorityAsServerError:
            self._leave_to_direct(url)
        return None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = url_text(request)
        if self._is_direct(url):
            return await self._direct.handle_async_request(request)
        reqwest = await self._reqwest.get(request.extensions.get("wire") or Wire())
        try:
            return await reqwest.handle_async_request(request)
        except AuthorityAsServerError:
            self._leave_to_direct(url)
        # Outside the handler: a failure now must not have that one as its context.
        return await self._direct.handle_async_request(request)

    async def aclose(self) -> None:
        await self._direct.aclose()
        if self._reqwest.value is not None:
            await self._reqwest.value.aclose()

    def _is_direct(self, url: str) -> bool:
        if not url.startswith("https:"):
            return True
        return bool(self._direct_only) and origin_text(url) in self._direct_only

    def _leave_to_direct(self, url: str) -> None:
        self._direct_only[origin_text(url)] = None
        if len(self._direct_only) > _REMEMBERED:
            self._direct_only.popitem(last=False)
