"""The choice between transports: each is an `httpx.AsyncBaseTransport`, in a module of its own.

Ours read a `Wire` from `request.extensions["wire"]`, record on it how far the exchange is,
and return it in `response.extensions["wire"]`. They open a new connection if
`request.extensions["fresh"]` is true, and for a request that may not be sent twice. Any
other httpx transport can replace one of ours; what it does not record stays None.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from crawler.engine.transports.settings import ConnectionSettings, Engine

if TYPE_CHECKING:
    import httpx


def engine_for(settings: ConnectionSettings) -> Engine:
    """Return the name of the transport that these options call for.

    HTTP/2 needs httpx. Raises ValueError if no transport supports all the options: none is
    dropped silently.
    """
    through_proxy = bool(settings.proxies.http or settings.proxies.https)
    if settings.http2 and find_spec("h2") is None:
        raise ValueError("--http2 needs the extra http2: pip install 'crawler[http2]'")
    if settings.engine is Engine.NATIVE:
        if through_proxy:
            raise ValueError("--engine native cannot go through a proxy")
        if settings.http2:
            raise ValueError("--engine native does not support --http2")
        if find_spec("pyreqwest") is None:
            raise ValueError("--engine native needs the extra fast: pip install 'crawler[fast]'")
        if settings.block_private:
            raise ValueError(
                "--engine native resolves names itself, which rules out --block-private"
            )
        return Engine.NATIVE
    return Engine.HTTPX if settings.http2 else settings.engine


def sends_directly(settings: ConnectionSettings) -> bool:
    """Whether all requests go over connections of our own, and none through a proxy.

    Raises ValueError as `engine_for` does.
    """
    proxied = settings.proxies.http or settings.proxies.https
    return engine_for(settings) is Engine.DIRECT and not proxied and _can_watch_sockets()


def open_transport(settings: ConnectionSettings) -> httpx.AsyncBaseTransport:
    """Return the transport that `engine_for` names. Raises ValueError as that does.

    On an event loop that cannot watch sockets, httpx replaces direct: from Python on Windows
    that is the default loop. The command line chooses another one there.
    """
    match engine_for(settings):
        case Engine.NATIVE:
            from crawler.engine.transports.native import NativeTransport

            return NativeTransport(settings)
        case Engine.HTTPX if settings.engine is not Engine.HTTPX:
            from crawler.engine.transports.http2 import Http2Transport

            return Http2Transport(settings)
        case Engine.DIRECT if _can_watch_sockets():
            from crawler.engine.transports.direct import DirectTransport

            return DirectTransport(settings)
        case _:
            from crawler.engine.transports.httpx_transport import HttpxTransport

            return HttpxTransport(settings)


def _can_watch_sockets() -> bool:
    """Whether the running event loop has `add_reader`, which Windows' proactor loop lacks."""
    import asyncio  # slow to import, and the command line needs only `engine_for`

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return True  # none runs yet
    return type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader
