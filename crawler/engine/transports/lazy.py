"""Lazily created, expensive objects: the SSL context, the reqwest clients."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from crawler.engine.transports.wire import Wire
from crawler.system.threads import DaemonExecutor

T = TypeVar("T")


class Lazy(Generic[T]):
    """Makes one thing, in a thread, for all requests that need it."""

    def __init__(self, make: Callable[[], T], name: str) -> None:
        self._make = make
        self._name = name
        self._making: asyncio.Future[T] | None = None

    @property
    def value(self) -> T | None:
        """What was made, None while there is nothing."""
        making = self._making
        if making is None or not making.done() or making.exception() is not None:
            return None
        return making.result()

    async def get(self, wire: Wire) -> T:
        """Return it; the wait for it is our own. Raises what making it raised."""
        if self._making is None:
            thread = DaemonExecutor(1, self._name, inline=True)
            self._making = asyncio.get_running_loop().run_in_executor(thread, self._make)
            thread.shutdown()
        making = self._making
        if not making.done():
            with wire.stalled():
                await asyncio.wait((making,))  # not cancelled with us: others wait for it too
        if making.exception() is not None and self._making is making:
            self._making = None  # a bad moment of this machine: the next one tries again
        return making.result()
