"""httpcore's network backend, with names resolved by our own resolver."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from crawler.engine.transports import guard
from crawler.engine.transports.resolve import Addresses, Resolver, literal
from crawler.engine.transports.trace import trace_of_task
from crawler.engine.transports.wire import Wire
from crawler.models import Phase

_HEAD_START = 0.25  # seconds before the next address is tried too (RFC 8305, section 5)
wire_of_task: ContextVar[Wire] = ContextVar("wire")


class ResolvingBackend:
    """Stands in for the backend of an `httpcore` pool.

    httpcore's own one resolves in a pool that the event loop has for everything: four
    threads with uvloop, so that four stuck lookups fail all other names. With
    `block_private` it connects to no address that is not public, unless it is a proxy's.
    """

    def __init__(self, inner: Any, resolver: Resolver, *, block_private: bool = False) -> None:
        self._inner = inner
        self._resolver = resolver
        self._block_private = block_private

    async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> Any:
        """Return a stream. Raises socket.gaierror, WireError and what httpcore raises."""
        wire = wire_of_task.get(None) or Wire()
        addresses = literal(host) or await self._resolver.resolve(host, wire)
        wire.phase = Phase.CONNECT
        if self._block_private and not wire.proxied:
            addresses = guard.public(addresses)
        if len(addresses) == 1:
            stream = await self._inner.connect_tcp(addresses[0].ip, port, *args, **options)
        else:
            stream = await self._race(addresses, port, *args, **options)
        return _Stream(stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def _race(self, addresses: Addresses, port: int, *args: Any, **options: Any) -> Any:
        """Connect to the first of `addresses` that accepts (RFC 8305)."""
        tasks: list[asyncio.Task[Any]] = []
        winner: asyncio.Task[Any] | None = None
        try:
            for address in (*addresses, None):
                if address is not None:
                    connecting = self._inner.connect_tcp(address.ip, port, *args, **options)
                    tasks.append(asyncio.ensure_future(connecting))
                winner = await _first(tasks, None if address is None else _HEAD_START)
                if winner is not None:
                    return winner.result()
            return tasks[0].result()  # all have failed: raise what the first one raised
        finally:
            await _close([task for task in tasks if task is not winner])


class _Stream:
    """A stream of httpcore's that records itself on the `Trace` of each request written to it.

    httpcore does not report which connection a failed request used.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def write(self, *args: Any, **options: Any) -> None:
        trace = trace_of_task.get(None)
        if trace is not None:
            trace.stream = self
        await self._inner.write(*args, **options)

    async def start_tls(self, *args: Any, **options: Any) -> "_Stream":
        return _Stream(await self._inner.start_tls(*args, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def _first(
    tasks: Sequence[asyncio.Task[Any]], within: float | None
) -> asyncio.Task[Any] | None:
    """Return the first task to succeed; None once all have failed, or the time is up."""
    while pending := [task for task in tasks if not task.done()]:
        done, _ = await asyncio.wait(pending, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.exception() is None:
                return task
        if not done or within is not None:
            return None  # a failure lets the next address start at once
    return None


async def _close(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel attempts to connect, and close what they connected to all the same."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and task.exception() is None:
            await task.result().aclose()
