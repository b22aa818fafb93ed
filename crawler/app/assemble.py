"""Settings -> connections and collector, for the command line and for Python alike."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from crawler.app.collect import Collector, Entries, Fetching
from crawler.engine.fastpath import FastPath
from crawler.engine.suspensions import Suspensions
from crawler.engine.transports import open_transport, sends_directly
from crawler.engine.transports.connector import Connector

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from crawler.engine.headers import Header
    from crawler.engine.transports.settings import ConnectionSettings
    from crawler.models import Limits

    Network: TypeAlias = Connector | httpx.AsyncBaseTransport


def network(connections: ConnectionSettings, limits: Limits) -> Network:
    """Open what requests are sent over: a connector if the fast path sends all, or a transport.

    It keeps as many idle connections as `limits` allows requests. Raises ValueError if no
    engine supports all the settings.
    """
    settings = replace(connections, idle=limits.max, per_host=limits.per_host)
    if sends_directly(settings) and not limits.hedge_budget:
        return Connector(settings)
    return open_transport(settings)


def collector(
    entries: Entries,
    network: Network,
    limits: Limits,
    headers: Sequence[Header] = (),
    *,
    gather: float = 0.0,
) -> Collector:
    """Return the collector that fetches `entries` over `network`."""
    suspensions = Suspensions()
    connector = network if isinstance(network, Connector) else _connector_of(network)
    if connector is not None and not limits.hedge_budget:
        fast_path = FastPath(connector, limits, headers, suspensions=suspensions)
        fetching = Fetching(fast_path=fast_path, suspensions=suspensions)
    else:
        assert not isinstance(network, Connector)
        fetching = _fetching(network, limits, headers, suspensions)
    return Collector(entries, fetching, limits, gather=gather)


def _fetching(
    transport: httpx.AsyncBaseTransport,
    limits: Limits,
    headers: Sequence[Header],
    suspensions: Suspensions,
) -> Fetching:
    """Return how targets are fetched over a transport."""
    # These need httpx, which is slow to import.
    from crawler.engine.fetch import Fetcher
    from crawler.engine.leanpath import LeanPath
    from crawler.engine.transports.lean import LeanTransport

    if isinstance(transport, LeanTransport) and not limits.hedge_budget:
        lean_path = LeanPath(transport, limits, headers, suspensions=suspensions)
        return Fetching(fast_path=lean_path, suspensions=suspensions)
    over = partial(Fetcher, transport, limits, headers, suspensions=suspensions)
    return Fetching(fetch=over(), fetch_fresh=over(fresh=True), suspensions=suspensions)


def _connector_of(transport: httpx.AsyncBaseTransport) -> Connector | None:
    """Return the connector of a transport whose requests the fast path can send as well."""
    from crawler.engine.transports.direct import DirectTransport

    if type(transport) is DirectTransport and transport.connector.proxy_for is None:
        return transport.connector
    return None
