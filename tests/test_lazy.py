"""Objects created lazily: once for all waiters, in a thread, and again after a failure."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from samples import run

from crawler.engine.transports.lazy import Lazy
from crawler.engine.transports.wire import Wire


class Maker:
    """Makes numbers, slowly, and fails the first `failures` times."""

    def __init__(self, failures: int = 0) -> None:
        self.threads: list[int] = []
        self._failures = failures

    def __call__(self) -> int:
        self.threads.append(threading.get_ident())
        time.sleep(0.05)
        if len(self.threads) <= self._failures:
            raise OSError("a bad moment")
        return len(self.threads)


def test_the_object_is_created_once_in_another_thread() -> None:
    async def body() -> None:
        maker = Maker()
        lazy = Lazy(maker, "test")
        before = lazy.value
        assert await asyncio.gather(*(lazy.get(Wire()) for _ in range(20))) == [1] * 20
        assert (before, lazy.value) == (None, 1)
        assert len(maker.threads) == 1
        assert maker.threads[0] != threading.get_ident()

    run(body())


def test_the_wait_is_stall_of_those_who_waited_only() -> None:
    async def body() -> None:
        lazy = Lazy(Maker(), "test")
        first, second = Wire(), Wire()
        first.stall = 1.0
        await lazy.get(first)
        await lazy.get(second)
        assert first.stall > 1.04
        assert second.stall == 0

    run(body())


def test_the_wait_pauses_the_timeout_of_those_who_waited() -> None:
    async def body() -> None:
        lazy = Lazy(Maker(), "test")
        events: list[str] = []

        @contextmanager
        def paused(name: str) -> Iterator[None]:
            events.append(f"{name} paused")
            yield
            events.append(f"{name} resumed")

        await lazy.get(Wire(paused=partial(paused, "first")))
        await lazy.get(Wire(paused=partial(paused, "second")))
        assert events == ["first paused", "first resumed"]

    run(body())


def test_a_cancelled_waiter_does_not_cancel_the_creation_for_others() -> None:
    async def body() -> None:
        lazy = Lazy(Maker(), "test")
        impatient, patient = (asyncio.create_task(lazy.get(Wire())) for _ in range(2))
        await asyncio.sleep(0.01)
        impatient.cancel()
        assert await patient == 1
        assert impatient.cancelled()

    run(body())


def test_after_a_failed_creation_the_next_caller_tries_again() -> None:
    async def body() -> None:
        maker = Maker(failures=1)
        lazy = Lazy(maker, "test")
        found = await asyncio.gather(*(lazy.get(Wire()) for _ in range(3)), return_exceptions=True)
        assert [str(one) for one in found] == ["a bad moment"] * 3
        after = lazy.value
        assert await lazy.get(Wire()) == 2
        assert (after, lazy.value) == (None, 2)

    run(body())
