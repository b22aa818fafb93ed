"""The timeouts of many attempts: each ends after its own seconds, with one timer for all."""

import asyncio
import time
from functools import partial
from typing import Any

import pytest
from samples import run

from crawler.engine.timeouts import AttemptTimeouts, expire

SECONDS = 0.1


async def attempt(timeouts: AttemptTimeouts, seconds: float) -> float:
    """Sleep for `seconds` as an attempt; return how many passed until the end."""
    start = time.perf_counter()
    bound = asyncio.timeout(None)
    try:
        async with bound:
            timeouts.start(bound, partial(expire, bound))
            await asyncio.sleep(seconds)
    except TimeoutError:
        assert bound.expired()
    finally:
        timeouts.stop(bound)
    return time.perf_counter() - start


class Timers:
    """Records the timers of a loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.handles: list[asyncio.TimerHandle] = []
        loop = asyncio.get_running_loop()
        call_at = loop.call_at

        def counted(*args: Any, **more: Any) -> asyncio.TimerHandle:
            self.handles.append(call_at(*args, **more))
            return self.handles[-1]

        monkeypatch.setattr(loop, "call_at", counted)


def test_each_attempt_times_out_after_its_own_seconds() -> None:
    async def body() -> None:
        timeouts = AttemptTimeouts(SECONDS)

        async def later(delay: float) -> float:
            await asyncio.sleep(delay)
            return await attempt(timeouts, 10)

        taken = await asyncio.gather(*(later(0.02 * number) for number in range(4)))
        assert min(taken) > SECONDS - 0.005
        assert max(taken) < SECONDS + 1

    run(body())


def test_an_attempt_that_ends_in_time_is_not_cancelled() -> None:
    async def body() -> None:
        timeouts = AttemptTimeouts(SECONDS)
        slow = asyncio.create_task(attempt(timeouts, 10))
        assert await attempt(timeouts, 0) < SECONDS
        await asyncio.sleep(2 * SECONDS)  # this task's bound must not reach it any more
        assert slow.done()
        assert await slow > SECONDS - 0.005

    run(body())


def test_one_timer_serves_all_and_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        timers = Timers(monkeypatch)
        timeouts = AttemptTimeouts(100)
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(attempt(timeouts, 0))
        assert len(timers.handles) == 1
        assert timers.handles[0].cancelled()

    run(body())


def test_the_timer_is_set_again_for_the_remaining_attempts() -> None:
    async def body() -> None:
        timeouts = AttemptTimeouts(SECONDS)
        first = asyncio.create_task(attempt(timeouts, 10))
        await asyncio.sleep(SECONDS / 2)
        second = asyncio.create_task(attempt(timeouts, 10))
        await first
        assert not second.done()
        assert await second > SECONDS - 0.005

    run(body())


def test_a_pause_does_not_count_against_the_timeout() -> None:
    async def body() -> None:
        timeouts = AttemptTimeouts(SECONDS)
        bound = asyncio.timeout(None)

        async def work() -> None:
            async with bound:
                timeouts.start(bound, partial(expire, bound))
                await asyncio.sleep(SECONDS / 2)
                for _ in range(2):
                    with timeouts.paused(bound):
                        await asyncio.sleep(2 * SECONDS)
                await asyncio.sleep(10)

        start = time.perf_counter()
        with pytest.raises(TimeoutError):
            await work()
        timeouts.stop(bound)
        assert 5 * SECONDS - 0.01 < time.perf_counter() - start < 5 * SECONDS + 1

    run(body())


def test_a_pause_of_one_attempt_does_not_extend_the_others() -> None:
    async def body() -> None:
        timeouts = AttemptTimeouts(SECONDS)
        other = asyncio.create_task(attempt(timeouts, 10))
        bound = asyncio.timeout(None)
        async with bound:
            timeouts.start(bound, partial(expire, bound))
            with timeouts.paused(bound):
                assert await other < SECONDS + 1
        timeouts.stop(bound)
        assert not bound.expired()

    run(body())


def test_an_attempt_that_ends_after_a_pause_leaves_no_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        timers = Timers(monkeypatch)
        timeouts = AttemptTimeouts(100)
        bound = asyncio.timeout(None)
        async with bound:
            timeouts.start(bound, partial(expire, bound))
            with timeouts.paused(bound):
                pass
        timeouts.stop(bound)
        assert timers.handles
        assert all(handle.cancelled() for handle in timers.handles)

    run(body())


def test_a_cancelled_attempt_leaves_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        timers = Timers(monkeypatch)
        task = asyncio.create_task(attempt(AttemptTimeouts(100), 50))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(handle.cancelled() for handle in timers.handles)

    run(body())
