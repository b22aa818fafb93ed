"""Readiness of many sockets -> one callback for each, from the running event loop.

With epoll, all sockets share one descriptor of the event loop: registering a socket is one
system call, while the loop's own registration costs a handle, a dictionary entry and a
call of `epoll_ctl` for each change of interest.
"""

import asyncio
import select
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Protocol

# As epoll has them, so that its events need no translation; ENDED is any of three.
READABLE, WRITABLE, ENDED = 0x001, 0x004, 0x2018
_DATA = READABLE | ENDED
_AT_ONCE = 128  # callbacks before other tasks run
_KNOWN_FOR = 0.000_1  # seconds for which what was read of epoll is taken as true
_READ_EVERY = 32  # callbacks between two readings of what is ready: some 0.5 ms
Ready = Callable[[int], None]
"""Called with READABLE, WRITABLE and ENDED (the peer sends no more) combined by "|"."""


class Poller(Protocol):
    """Watches sockets. `want_read` and `want_write` set what is reported of a socket.

    `reported_at` is a reading of `time.perf_counter`, not later than the callback that runs:
    the socket has been ready since then.

    A callback that raises is reported to the exception handler of the event loop; the other
    sockets get their callbacks all the same.
    """

    @property
    def reported_at(self) -> float: ...

    def watch(self, fd: int, ready: Ready) -> None:
        """Report readiness of `fd` to `ready`. Raises OSError if the system refuses."""

    def hand_over(self, fd: int, ready: Ready) -> None:
        """Report to another callback from now on."""

    def want_read(self, fd: int, wanted: bool) -> None: ...

    def want_write(self, fd: int, wanted: bool) -> None: ...

    def forget(self, fd: int, *, closing: bool = False) -> None:
        """Stop watching; to be called before the descriptor is closed. Twice does no harm.

        `closing`: it is closed next, and no copy of it stays open.
        """

    def is_readable(self, fd: int) -> bool:
        """Whether a watched descriptor has bytes to read, or its end, that are not reported yet."""

    def close(self) -> None:
        """Forget all."""


def best_poller(loop: asyncio.AbstractEventLoop) -> Poller:
    """Return the best poller that this platform and event loop have."""
    return EpollPoller(loop) if hasattr(select, "epoll") else LoopPoller(loop)


def has_input(fd: int) -> bool:
    """Ask the system whether a descriptor has bytes to read, or its end, reported or not."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([fd], [], [], 0)[0])
    watch = select.poll()
    watch.register(fd, select.POLLIN)
    return bool(watch.poll(0))


class _Watch:
    """A socket's callback, None once it is forgotten, and how many reports of data wait for it."""

    __slots__ = ("ready", "unread")

    def __init__(self, ready: Ready) -> None:
        self.ready: Ready | None = ready
        self.unread = 0


class EpollPoller:
    """One epoll descriptor inside the event loop, edge-triggered: no interest ever changes.

    A callback must read until there is nothing left, or continue later by itself: the same
    readiness is not reported twice.

    With a thousand responses at once, the last one waits 15 ms for the others to be handled.
    So what is ready is read from epoll between them too, only to know since when.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.reported_at = 0.0
        self._read_at = 0.0  # when epoll was read last
        self._loop = loop
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        self._reports: deque[tuple[_Watch, int, float]] = deque()  # with the time of each
        self._mask = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
        self._fd = self._epoll.fileno()
        loop.add_reader(self._fd, self._dispatch)

    def watch(self, fd: int, ready: Ready) -> None:
        self._epoll.register(fd, self._mask)
        self._watches[fd] = _Watch(ready)

    def hand_over(self, fd: int, ready: Ready) -> None:
        self._watches[fd].ready = ready

    def want_read(self, fd: int, wanted: bool) -> None:
        """Nothing to do: an edge-triggered socket reports new bytes once."""

    def want_write(self, fd: int, wanted: bool) -> None:
        """Nothing to do: an edge-triggered socket reports when it becomes writable."""

    def forget(self, fd: int, *, closing: bool = False) -> None:
        watch = self._watches.pop(fd, None)
        if watch is None:
            return
        watch.ready = None
        if not closing:  # a descriptor that is closed leaves epoll by itself
            with suppress(OSError):  # somebody else closed it
                self._epoll.unregister(fd)

    def is_readable(self, fd: int) -> bool:
        """As known since a moment ago: a system call for each socket would cost twice as much."""
        if perf_counter() - self._read_at > _KNOWN_FOR:
            self._read_reports()
            if self._reports:
                self._loop.call_soon(self._dispatch)
        return self._watches[fd].unread > 0

    def close(self) -> None:
        for watch in self._watches.values():
            watch.ready = None
        self._watches.clear()
        self._reports.clear()
        self._loop.remove_reader(self._fd)
        self._epoll.close()

    def _dispatch(self) -> None:
        """Call the callbacks of sockets that are ready; after some, others get a turn."""
        if self._epoll.closed:
            return
        reports = self._reports
        for number in range(_AT_ONCE):
            if number % _READ_EVERY == 0:
                self._read_reports()
            if not reports:
                return
            watch, events, self.reported_at = reports.popleft()
            watch.unread -= events & _DATA != 0
            if watch.ready is None:
                continue
            try:
                watch.ready(events)
            except Exception as exc:
                # Not raised: the remaining events would be lost, and are not reported again.
                message = "a callback of a socket failed"
                self._loop.call_exception_handler({"message": message, "exception": exc})
        self._loop.call_soon(self._dispatch)

    def _read_reports(self) -> None:
        if self._epoll.closed:
            return
        find, events, now = self._watches.get, self._epoll.poll(0), perf_counter()
        self._read_at = now
        for fd, mask in events:
            if (watch := find(fd)) is not None:
                watch.unread += mask & _DATA != 0
                self._reports.append((watch, mask, now))


class LoopPoller:
    """The event loop's own readers and writers, for platforms without epoll."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready: dict[int, Ready] = {}

    @property
    def reported_at(self) -> float:
        return perf_counter()

    def watch(self, fd: int, ready: Ready) -> None:
        self._loop.add_reader(fd, ready, READABLE)
        self._ready[fd] = ready

    def hand_over(self, fd: int, ready: Ready) -> None:
        self._ready[fd] = ready
        self._loop.add_reader(fd, ready, READABLE)

    def want_read(self, fd: int, wanted: bool) -> None:
        if wanted:
            self._loop.add_reader(fd, self._ready[fd], READABLE)
        else:
            self._loop.remove_reader(fd)

    def want_write(self, fd: int, wanted: bool) -> None:
        if wanted:
            self._loop.add_writer(fd, self._ready[fd], WRITABLE)
        else:
            self._loop.remove_writer(fd)

    def forget(self, fd: int, *, closing: bool = False) -> None:
        if self._ready.pop(fd, None) is not None:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)

    def is_readable(self, fd: int) -> bool:
        return has_input(fd)

    def close(self) -> None:
        for fd in tuple(self._ready):
            self.forget(fd)
