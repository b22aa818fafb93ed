"""Any iterable of URLs, even one that blocks -> entries, without blocking the event loop."""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sized
from contextlib import suppress

from crawler.core.urllist import UrlList
from crawler.facts import fact
from crawler.models import Result, Target
from crawler.system.threads import DaemonExecutor

_AHEAD = 100  # items read ahead of the consumer
_BURST = 100  # items read before other tasks get their turn: they may all be duplicates
_IN_MEMORY = (list, tuple, set, frozenset, dict, deque)  # exactly these types: others may block


@fact
class _End:
    """What follows the last item; `exc` is the exception that the iterable raised."""

    exc: BaseException | None = None


class IterableReader:
    """Reads an iterable of URLs as a list; one that may block is read in a thread of its own.

    An item that is not a str raises TypeError. An exception that the iterable raises is
    raised after the items before it.
    """

    def __init__(self, iterable: Iterable[str], urls: UrlList) -> None:
        self._iterable = iterable
        self._urls = urls
        self._characters = 0
        self._in_memory = iter(iterable) if type(iterable) in _IN_MEMORY else None
        self._items: deque[object] = deque()
        self._available = asyncio.Event()
        self._consumer_waits = False  # set by the consumer, cleared by the thread that wakes it
        self._has_room = threading.Event()
        self._closed = False

    def has_end(self) -> bool:
        """Whether the iterable is known to end."""
        return isinstance(self._iterable, Sized)

    def bytes_read(self) -> int:
        """Return the length of all items read, duplicates included."""
        return self._characters

    async def entries(self) -> AsyncGenerator[Target | Result, None]:
        """Yield targets and `invalid` results; the line is the position, from 1."""
        if self._in_memory is None:
            self._start_thread()
        position = 0
        try:
            while not isinstance(item := await self._next_item(), _End):
                position += 1
                if not isinstance(item, str):
                    name = type(item).__name__
                    raise TypeError(f"entry {position} of urls is {name}, not str")
                self._characters += len(item)
                if entry := self._urls.parse_entry(item.strip(), line=position):
                    yield entry
                if position % _BURST == 0:
                    await asyncio.sleep(0)
            if item.exc is not None:
                raise item.exc
        finally:
            self._closed = True
            self._has_room.set()

    async def _next_item(self) -> object:
        if self._in_memory is not None:
            return next(self._in_memory, _End())
        while not self._items:
            self._available.clear()
            self._consumer_waits = True
            if not self._items:  # the thread may have added one before it saw the flag
                await self._available.wait()
        item = self._items.popleft()
        if len(self._items) < _AHEAD // 2 and not self._has_room.is_set():
            self._has_room.set()
        return item

    def _start_thread(self) -> None:
        thread = DaemonExecutor(1, "urls")
        context = contextvars.copy_context()
        thread.submit(context.run, self._read_ahead, asyncio.get_running_loop())
        thread.shutdown()

    def _read_ahead(self, loop: asyncio.AbstractEventLoop) -> None:
        """Queue item after item as long as there is room; runs in the thread."""
        end = _End()
        try:
            for item in self._iterable:
                self._queue(item, loop)
                while len(self._items) >= _AHEAD and not self._closed:
                    self._has_room.clear()
                    if len(self._items) >= _AHEAD and not self._closed:
                        self._has_room.wait()
                if self._closed:
                    return
        except BaseException as exc:
            end = _End(exc=exc)
        self._queue(end, loop)

    def _queue(self, item: object, loop: asyncio.AbstractEventLoop) -> None:
        self._items.append(item)
        if self._consumer_waits:
            self._consumer_waits = False
            with suppress(RuntimeError):  # the loop is closed: nobody is waiting
                loop.call_soon_threadsafe(self._available.set)
