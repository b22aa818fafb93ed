"""An adapter over pyreqwest's client, that is over Rust's reqwest.

reqwest does not report phases, peer address or certificate: those stay None. It resolves
names itself. The client runs on its single-threaded runtime: the multi-threaded one can
abort the interpreter at its exit.
"""

import errno
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import lru_cache, partial
from pathlib import Path
from time import perf_counter

import httpx
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.request import RequestBuilder

from crawler.core.semantics import IDEMPOTENT_METHODS
from crawler.engine.transports.lean import LeanTransport
from crawler.engine.transports.request import LazyRequest, header_pairs, url_text
from crawler.engine.transports.requesthead import Fields
from crawler.engine.transports.reqwest_response import ReqwestResponse, send
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.transports.wire import Wire, WireError
from crawler.models import ErrorKind, Phase

_AFTER = 0.25  # seconds
_IDLE = 0.2  # seconds a connection is kept unused
_REMEMBERED = 10_000  # origins
_CLOSED = {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE}


class ReqwestTransport(LeanTransport):
    """Two reqwest clients: one keeps connections, one does not.

    reqwest bounds its pool for each host only, and with thousands of hosts would use up
    all the files there may be: so an origin gets the first with its second request.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._keeping = _client(settings, settings.idle)
        self._closing = _client(settings, 0)
        self._origins: OrderedDict[str, _Kept] = OrderedDict()  # those that had a request

    def send(
        self, method: str, url: str, fields: Fields, wire: Wire, *, seconds: float, fresh: bool
    ) -> Awaitable[ReqwestResponse]:
        if not fresh and method in IDEMPOTENT_METHODS and (kept := self._known(url)):
            build = partial(_build, method=method, url=url, pairs=fields.pairs, seconds=seconds)
            return self._send_kept(build, kept, wire)
        return send(_build(self._closing, method, url, fields.pairs, seconds), wire)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        wire = request.extensions.get("wire") or Wire()
        url = url_text(request)
        build = partial(
            _build,
            method=request.method,
            url=url,
            pairs=header_pairs(request),
            seconds=request.extensions.get("seconds"),
            # A `LazyRequest` has no body.
            body=b"" if isinstance(request, LazyRequest) else await request.aread(),
        )
        keeps = not request.extensions.get("fresh") and request.method in IDEMPOTENT_METHODS
        if keeps and (kept := self._known(url)):
            response = await self._send_kept(build, kept, wire)
        else:
            response = await send(build(self._closing), wire)
        return httpx.Response(
            response.status_code,
            headers=response.raw_fields(),
            stream=_Body(response),
            extensions={"wire": wire},
        )

    async def aclose(self) -> None:
        await self._keeping.close()
        await self._closing.close()

    async def _send_kept(
        self, build: Callable[[Client], RequestBuilder], kept: "_Kept", wire: Wire
    ) -> ReqwestResponse:
        """Send a request over a kept connection, if reqwest has one."""
        started = perf_counter()
        was_idle = kept.take(started)
        try:
            return await send(build(self._keeping), wire, kept.give_back)
        except (OSError, WireError) as exc:
            # A stale kept connection says nothing about the URL: a retry is safe (RFC 9112,
            # section 9.3.1).
            was_kept = was_idle or kept.given_back_since(started)
            if not was_kept or not _was_closed(exc, wire):
                raise
        await wire.start_resend()
        return await send(build(self._closing), wire)

    def _known(self, url: str) -> "_Kept | None":
        """Return the kept connections of an origin; None with its first request."""
        origin = origin_text(url)
        if (kept := self._origins.get(origin)) is not None:
            return kept
        self._origins[origin] = _Kept()
        if len(self._origins) > _REMEMBERED:
            self._origins.popitem(last=False)
        return None


class _Kept:
    """Which connections to an origin reqwest keeps idle, inferred from its responses.

    reqwest does not say which connection a request used: one that was given back since it
    started may have come before the one that was being opened for it.
    """

    __slots__ = ("_idle_since", "_last")

    def __init__(self) -> None:
        self._idle_since: tuple[float, ...] = ()  # of each idle connection
        self._last = float("-inf")

    def take(self, now: float) -> bool:
        """Take the connection that was used last; False if all were idle for too long."""
        if self._last_idle < now - _IDLE:
            self._idle_since = ()
            return False
        self._idle_since = self._idle_since[:-1]
        return True

    def give_back(self) -> None:
        self._last = perf_counter()
        self._idle_since = (*self._idle_since, self._last)

    def given_back_since(self, start: float) -> bool:
        return self._last > start

    @property
    def _last_idle(self) -> float:
        return self._idle_since[-1] if self._idle_since else float("-inf")


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: ReqwestResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._response.read()) is not None:
            yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()


def origin_text(url: str) -> str:
    """Return the part of a URL that names its origin."""
    return "/".join(url.split("/", 3)[:3])


def _client(settings: ConnectionSettings, idle: int) -> Client:
    builder = (
        ClientBuilder()
        .runtime_multithreaded(False)
        .follow_redirects(False)
        .referer(False)
        .no_proxy()
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(timedelta(seconds=_IDLE))
        .http1_allow_obsolete_multiline_headers_in_responses(True)
        # Five system calls for each connection: an attempt has its own timeout, and one that is
        # longer than reqwest's 30 s without an acknowledgement is meant to be.
        .tcp_keepalive(None)
        .tcp_keepalive_interval(None)
        .tcp_keepalive_retries(None)
        .tcp_user_timeout(None)
        .danger_accept_invalid_certs(not settings.verify)
    )
    if settings.cacert is not None:
        builder = builder.add_root_certificate_pem(Path(settings.cacert).read_bytes())
    return builder.build()


def _build(
    client: Client,
    method: str,
    url: str,
    pairs: list[tuple[str, str]],
    seconds: float | None,
    body: bytes = b"",
) -> RequestBuilder:
    builder = client.request(method, url).headers(pairs)
    if body:
        builder = builder.body_bytes(body)
    # A cancelled request lives on inside reqwest: let it end soon after ours does.
    return builder if seconds is None else builder.timeout(_until(seconds))


@lru_cache(maxsize=8)
def _until(seconds: float) -> timedelta:
    return timedelta(seconds=seconds + _AFTER)


def _was_closed(exc: OSError | WireError, wire: Wire) -> bool:
    """Whether the server closed the connection instead of sending a response."""
    if wire.phase is not Phase.WAIT:
        return False
    if isinstance(exc, OSError):
        return exc.errno in _CLOSED
    return exc.kind is ErrorKind.DISCONNECTED
