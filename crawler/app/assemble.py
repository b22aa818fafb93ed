"""Settings -> transport and collector, for the command line and for Python alike."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypeGuard

import httpx

from crawler.app.collect import Collector, Entries, Fetching
from crawler.engine.fastpath import FastPath
from crawler.engine.fetch import Fetcher
from crawler.engine.headers import Header
from crawler.engine.suspensions import Suspensions
from crawler.engine.transports import open_transport
from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.settings import ConnectionSettings
from crawler.models import Limits


def transport(connections: ConnectionSettings, limits: Limits) -> httpx.AsyncBaseTransport:
    """Open a transport that keeps as many idle connections as `limits` allows requests.

    Raises ValueError if no engine supports all the settings.
    """
    return open_transport(replace(connections, idle=limits.max, per_host=limits.per_host))


def collector(
    entries: Entries,
    transport: httpx.AsyncBaseTransport,
    limits: Limits,
    headers: Sequence[Header] = (),
    *,
    gather: float = 0.0,
) -> Collector:
    """Return the collector that fetches `entries` over `transport`."""
    suspensions = Suspensions()
    over = partial(Fetcher, transport, limits, headers, suspensions=suspensions)
    fast_path = None
    if _is_plain(transport) and not limits.hedge_budget:
        fast_path = FastPath(transport.connector, limits, headers, suspensions=suspensions)
    fetching = Fetching(
        fetch=over(), fetch_fresh=over(fresh=True), fast_path=fast_path, suspensions=suspensions
    )
    return Collector(entries, fetching, limits, gather=gather)


def _is_plain(transport: httpx.AsyncBaseTransport) -> TypeGuard[DirectTransport]:
    """Whether the fast path can send what this transport would."""
    return type(transport) is DirectTransport and transport.connector.proxy_for is None
