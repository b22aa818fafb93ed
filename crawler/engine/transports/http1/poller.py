"""Readiness of many sockets -> one callback for each, from the running event loop.

With epoll, all sockets share one descriptor of the event loop: registering a socket is one
system call, while the loop's own registration costs a handle, a dictionary entry and a
call of `epoll_ctl` for each change of interest.
"""

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

# As epoll has them, so that its events need no translation; ENDED is any of three.
READABLE, WRITABLE, ENDED = 0x001, 0x004, 0x2018
Ready = Callable[[int], None]
"""Called with READABLE, WRITABLE and ENDED (the peer sends no more) combined by "|"."""


class Poller(Protocol):
    """Watches sockets. `want_read` and `want_write` set what is reported of a socket.

    A callback that raises is reported to the exception handler of the event loop; the other
    sockets get their callbacks all the same.
    """

    def watch(self, fd: int, ready: Ready) -> None:
        """Report readiness of `fd` to `ready`. Raises OSError if the system refuses."""

    def hand_over(self, fd: int, ready: Ready) -> None:
        """Report to another callback from now on."""

    def want_read(self, fd: int, wanted: bool) -> None: ...

    def want_write(self, fd: int, wanted: bool) -> None: ...

    def forget(self, fd: int) -> None:
        """Stop watching; to be called before the descriptor is closed. Twice does no harm."""

    def close(self) -> None:
        """Forget all."""


def best_poller(loop: asyncio.AbstractEventLoop) -> Poller:
    """Return the best poller that this platform and event loop have."""
    return EpollPoller(loop) if hasattr(select, "epoll") else LoopPoller(loop)


class EpollPoller:
    """One epoll descriptor inside the event loop, edge-triggered: no interest ever changes.

    A callback must read until there is nothing left, or continue later by itself: the same
    readiness is not reported twice.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._ready: dict[int, Ready] = {}
        self._new: set[int] = set()  # watched since the events in hand were read
        self._mask = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
        self._fd = self._epoll.fileno()
        loop.add_reader(self._fd, self._dispatch)

    def watch(self, fd: int, ready: Ready) -> None:
        self._epoll.register(fd, self._mask)
        self._ready[fd] = ready
        self._new.add(fd)

    def hand_over(self, fd: int, ready: Ready) -> None:
        self._ready[fd] = ready

    def want_read(self, fd: int, wanted: bool) -> None:
        """Nothing to do: an edge-triggered socket reports new bytes once."""

    def want_write(self, fd: int, wanted: bool) -> None:
        """Nothing to do: an edge-triggered socket reports when it becomes writable."""

    def forget(self, fd: int) -> None:
        if self._ready.pop(fd, None) is not None:
            with suppress(OSError):  # somebody else closed it
                self._epoll.unregister(fd)

    def close(self) -> None:
        self._ready.clear()
        self._loop.remove_reader(self._fd)
        self._epoll.close()

    def _dispatch(self) -> None:
        find, new = self._ready.get, self._new
        new.clear()
        for fd, events in self._epoll.poll(0):
            ready = find(fd)
            # A callback may close a socket and open one that gets the same number: an event
            # that was read before is about the old one.
            if ready is None or fd in new:
                continue
            try:
                ready(events)
            except Exception as exc:
                # Not raised: the remaining events would be lost, and are not reported again.
                message = "a callback of a socket failed"
                self._loop.call_exception_handler({"message": message, "exception": exc})


class LoopPoller:
    """The event loop's own readers and writers, for platforms without epoll."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ready: dict[int, Ready] = {}

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

    def forget(self, fd: int) -> None:
        if self._ready.pop(fd, None) is not None:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)

    def close(self) -> None:
        for fd in tuple(self._ready):
            self.forget(fd)
