"""Lazily created, expensive objects: the SSL context, the reqwest clients."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from crawler.engine.transports.wire import Wire
from crawler.system.threads import DaemonExecutor

T = TypeVar("T")


class Lazy(Generic[T]):
    """Creates one object, in a thread, for all requests that need it."""

    def __init__(self, make: Callable[[], T], name: str) -> None:
        self._make = make
        self._name = name
        self._creation: asyncio.Future[T] | None = None

    @property
    def value(self) -> T | None:
        """The object, None until it has been created."""
        creation = self._creation
        if creation is None or not creation.done() or creation.exception() is not None:
            return None
        return creation.result()

    async def get(self, wire: Wire) -> T:
        """Return the object; the wait for it is stall. Raises what its creation raised."""
        if self._creation is None:
            thread = DaemonExecutor(1, self._name, inline=True)
            self._creation = asyncio.get_running_loop().run_in_executor(thread, self._make)
            thread.shutdown()
        creation = self._creation
        if not creation.done():
            with wire.stalled():
                await asyncio.wait((creation,))  # not cancelled with us: others wait for it too
        if creation.exception() is not None and self._creation is creation:
            self._creation = None  # a transient local failure: the next caller tries again
        return creation.result()
