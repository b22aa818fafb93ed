"""Any iterable of URLs, however long it takes for the next one -> its items, without blocking."""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sized
from contextlib import suppress
from dataclasses import dataclass

from crawler.system.threads import DaemonExecutor

_AHEAD = 100  # items advanced beyond what was taken
_AT_A_TIME = 100  # items given before other tasks get their turn: they may all be duplicates
_IN_MEMORY = (list, tuple, set, frozenset, dict, deque)  # exactly these: others may block


@dataclass(frozen=True, slots=True)
class _End:
    """What comes after the last item; `exc` is what the iterable raised."""

    exc: BaseException | None = None


class Advanced:
    """The items of an iterable. One that may block is advanced in a thread of its own.

    `read` is how many characters the items given so far had in all. An item that is no
    str raises TypeError; what the iterable raises is raised after the items before.
    """

    def __init__(self, urls: Iterable[str]) -> None:
        self.read = 0
        self._urls = urls
        self._in_memory = iter(urls) if type(urls) in _IN_MEMORY else None
        self._items: deque[object] = deque()
        self._some = asyncio.Event()
        self._waits = False  # for an item; the thread tells of those that it sees waited for
        self._room = threading.Event()
        self._closed = False

    @property
    def has_end(self) -> bool:
        return isinstance(self._urls, Sized)

    async def items(self) -> AsyncGenerator[tuple[int, str], None]:
        """Yield each item with its place, from 1."""
        if self._in_memory is None:
            self._begin()
        place = 0
        try:
            while True:
                item = await self._next()
                if isinstance(item, _End):
                    if item.exc is not None:
                        raise item.exc
                    return
                place += 1
                if not isinstance(item, str):
                    name = type(item).__name__
                    raise TypeError(f"entry {place} of urls is {name}, not str")
                self.read += len(item)
                yield place, item
                if place % _AT_A_TIME == 0:
                    await asyncio.sleep(0)
        finally:
            self._closed = True
            self._room.set()

    async def _next(self) -> object:
        if self._in_memory is not None:
            return next(self._in_memory, _End())
        while not self._items:
            self._some.clear()
            self._waits = True
            if not self._items:  # it may have come a moment before
                await self._some.wait()
        item = self._items.popleft()
        if len(self._items) < _AHEAD // 2 and not self._room.is_set():
            self._room.set()
        return item

    def _begin(self) -> None:
        thread = DaemonExecutor(1, "urls")
        context = contextvars.copy_context()
        thread.submit(context.run, self._advance, asyncio.get_running_loop())
        thread.shutdown()

    def _advance(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take item after item, as long as there is room for them."""
        end = _End()
        try:
            for item in self._urls:
                self._give(item, loop)
                while len(self._items) >= _AHEAD and not self._closed:
                    self._room.clear()
                    if len(self._items) >= _AHEAD and not self._closed:
                        self._room.wait()
                if self._closed:
                    return
        except BaseException as exc:
            end = _End(exc)
        self._give(end, loop)

    def _give(self, item: object, loop: asyncio.AbstractEventLoop) -> None:
        self._items.append(item)
        if self._waits:
            self._waits = False
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._some.set)
