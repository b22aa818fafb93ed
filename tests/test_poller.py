"""Readiness of sockets, reported to the right callback, by epoll and by the event loop alone."""

import asyncio
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from loops import POLLERS, Loop

from crawler.engine.transports.http1.poller import (
    ENDED,
    READABLE,
    WRITABLE,
    LoopPoller,
    Poller,
    best_poller,
)

ON_EACH = pytest.mark.parametrize("loop", POLLERS)


class Watched:
    """Pairs of connected sockets, one end of each watched, and the reported events."""

    def __init__(self, poller: Poller, opened: ExitStack) -> None:
        self.poller = poller
        self.reports: list[tuple[int, int]] = []
        self._opened = opened

    def pair(self, ready: Callable[[int], None] | None = None) -> tuple[socket.socket, int]:
        """Return the far end of a new pair, and the descriptor of the watched one."""
        near, far = socket.socketpair()
        for end in (near, far):
            end.setblocking(False)
            self._opened.enter_context(end)
        fd = near.fileno()
        self.poller.watch(fd, ready or (lambda mask: self.reports.append((fd, mask))))
        return far, fd

    def masks(self, fd: int) -> int:
        """Return all events that were reported of a socket."""
        combined = 0
        for number, mask in self.reports:
            combined |= mask if number == fd else 0
        return combined


def watching(loop: Loop, body: Callable[[Watched], Any]) -> list[dict[str, Any]]:
    """Run `body` on a poller; return the errors that the event loop reported."""
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda _, context: complaints.append(context))
        poller = loop.poller(running)
        with ExitStack() as opened:
            opened.callback(poller.close)
            await body(Watched(poller, opened))

    loop.run(main())
    return complaints


async def settle() -> None:
    """Let the loop report all that is ready."""
    for _ in range(5):
        await asyncio.sleep(0.002)


@ON_EACH
def test_received_bytes_are_reported(loop: Loop) -> None:
    async def body(watched: Watched) -> None:
        far, fd = watched.pair()
        _, other = watched.pair()
        far.send(b"x")
        await settle()
        assert watched.masks(fd) & READABLE
        assert not watched.masks(other) & READABLE
        watched.poller.forget(fd)

    assert watching(loop, body) == []


@ON_EACH
@pytest.mark.parametrize("data", [b"", b"last"])
def test_the_end_is_reported_with_and_without_data_before_it(loop: Loop, data: bytes) -> None:
    async def body(watched: Watched) -> None:
        far, fd = watched.pair()
        far.send(data)
        far.close()
        await settle()
        assert watched.masks(fd) & (READABLE | ENDED)
        watched.poller.forget(fd)

    assert watching(loop, body) == []


@ON_EACH
def test_room_to_write_is_reported_once_it_is_wanted(loop: Loop) -> None:
    async def body(watched: Watched) -> None:
        _, fd = watched.pair()
        watched.poller.want_write(fd, wanted=True)
        await settle()
        assert watched.masks(fd) & WRITABLE
        watched.poller.want_write(fd, wanted=False)
        await settle()
        count = len(watched.reports)
        await settle()
        assert len(watched.reports) == count

    assert watching(loop, body) == []


@ON_EACH
def test_a_forgotten_socket_is_not_reported(loop: Loop) -> None:
    async def body(watched: Watched) -> None:
        far, fd = watched.pair()
        watched.poller.forget(fd)
        watched.poller.forget(fd)
        far.send(b"x")
        await settle()
        assert watched.reports == []

    assert watching(loop, body) == []


@ON_EACH
def test_a_socket_that_is_handed_over_is_reported_to_its_new_callback_only(loop: Loop) -> None:
    async def body(watched: Watched) -> None:
        far, fd = watched.pair()
        await settle()
        watched.reports.clear()
        masks: list[int] = []

        def ready(mask: int) -> None:
            masks.append(mask)
            watched.poller.forget(fd)

        watched.poller.hand_over(fd, ready)
        far.send(b"x")
        await settle()
        assert len(masks) == 1
        assert watched.reports == []

    assert watching(loop, body) == []


@ON_EACH
def test_a_forgotten_socket_can_be_watched_again(loop: Loop) -> None:
    async def body(watched: Watched) -> None:
        far, fd = watched.pair()
        far.send(b"x")
        await settle()
        watched.poller.forget(fd)
        masks: list[int] = []

        def ready(mask: int) -> None:
            masks.append(mask)
            watched.poller.forget(fd)

        watched.poller.watch(fd, ready)
        await settle()
        assert len(masks) == 1
        assert masks[0] & READABLE

    assert watching(loop, body) == []


@ON_EACH
def test_a_new_socket_gets_no_event_of_a_closed_one_with_the_same_number(loop: Loop) -> None:
    """Both sockets are readable at once; the first callback replaces both of them."""

    async def body(watched: Watched) -> None:
        with ExitStack() as opened:
            pairs = [socket.socketpair() for _ in range(2)]
            numbers = {near.fileno() for near, _ in pairs}
            stale: list[int] = []

            def replace(_mask: int) -> None:
                for near, _ in pairs:
                    watched.poller.forget(near.fileno())
                    near.close()
                new = [opened.enter_context(socket.socket()) for _ in range(2)]
                assert {sock.fileno() for sock in new} == numbers
                for sock in new:
                    sock.setblocking(False)
                    sock.bind(("127.0.0.1", 0))
                    sock.listen()  # neither readable nor writable
                    watched.poller.watch(sock.fileno(), stale.append)

            for near, far in pairs:
                opened.enter_context(far)
                near.setblocking(False)
                watched.poller.watch(near.fileno(), replace)
                far.send(b"x")
            await settle()
            assert stale == []
            for number in numbers:
                watched.poller.forget(number)

    assert watching(loop, body) == []


@ON_EACH
def test_a_callback_that_raises_leaves_the_other_sockets_alone(loop: Loop) -> None:
    async def body(watched: Watched) -> None:
        def fails(_mask: int) -> None:
            watched.poller.forget(bad)
            raise ZeroDivisionError

        before, fd1 = watched.pair()
        culprit, bad = watched.pair(fails)
        after, fd2 = watched.pair()
        await settle()
        for far in (before, culprit, after):
            far.send(b"x")
        await settle()
        assert watched.masks(fd1) & READABLE
        assert watched.masks(fd2) & READABLE

    complaints = watching(loop, body)
    assert [type(complaint["exception"]) for complaint in complaints] == [ZeroDivisionError]


@ON_EACH
def test_a_closed_poller_reports_nothing_and_forgets_without_an_error(loop: Loop) -> None:
    async def body(watched: Watched) -> None:
        far, fd = watched.pair()
        watched.poller.close()
        far.send(b"x")
        await settle()
        assert watched.reports == []
        watched.poller.forget(fd)

    async def main() -> None:
        with ExitStack() as opened:
            await body(Watched(loop.poller(asyncio.get_running_loop()), opened))

    loop.run(main())


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="epoll is Linux's")
def test_epoll_reports_the_same_bytes_once() -> None:
    loop: Loop = POLLERS[0].values[0]  # type: ignore[assignment]

    async def body(watched: Watched) -> None:
        far, fd = watched.pair()
        far.send(b"x")
        await settle()
        count = len(watched.reports)
        await settle()
        assert len(watched.reports) == count
        assert watched.masks(fd) & READABLE

    assert watching(loop, body) == []


def test_epoll_is_used_wherever_there_is_epoll() -> None:
    async def main() -> None:
        poller = best_poller(asyncio.get_running_loop())
        assert isinstance(poller, LoopPoller) is not hasattr(select, "epoll")
        poller.close()

    asyncio.run(main())
