"""Blocking calls in threads of our own: bounded, started as needed, never in the way of an exit."""

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for

import pytest
from samples import run

from crawler.system.threads import DaemonExecutor


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait, long enough for the slowest machine, until a thread has made `condition` true."""
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    return condition()


def threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{name}-")]


class Valve:
    """A call that blocks until it is opened, and counts how many are in it."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.inside = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.inside += 1
        assert self.opened.wait(30)
        return 42


def test_a_call_gives_its_result() -> None:
    executor = DaemonExecutor(2, "test")
    assert executor.submit(divmod, 7, 2).result(30) == (3, 1)
    assert executor.submit(int, "ff", base=16).result(30) == 255
    executor.shutdown()


@pytest.mark.parametrize("error", [OSError("full"), SystemExit(3)], ids=["error", "exit"])
def test_a_call_that_raises_gives_its_exception_and_costs_no_thread(error: BaseException) -> None:
    def fail() -> None:
        raise error

    executor = DaemonExecutor(1, "test")
    assert executor.submit(fail).exception(30) is error
    assert executor.submit(len, "abc").result(30) == 3
    executor.shutdown()


def test_calls_run_in_daemon_threads_of_that_name() -> None:
    executor = DaemonExecutor(1, "some-name")
    thread = executor.submit(threading.current_thread).result(30)
    assert (thread.daemon, thread.name.startswith("some-name-")) == (True, True)
    assert thread is not threading.current_thread()
    executor.shutdown()


def test_no_thread_starts_before_the_first_call() -> None:
    executor = DaemonExecutor(8, "unused")
    assert threads("unused") == []
    executor.shutdown()


def test_as_many_calls_run_at_once_as_there_are_workers_and_the_others_follow() -> None:
    valve = Valve()
    executor = DaemonExecutor(3, "bounded")
    futures = [executor.submit(valve) for _ in range(10)]
    assert eventually(lambda: valve.inside == 3)
    assert len(threads("bounded")) == 3
    valve.opened.set()
    assert [future.result(30) for future in futures] == [42] * 10
    assert (valve.inside, len(threads("bounded"))) == (10, 3)
    executor.shutdown()


def test_a_call_in_a_free_pool_does_not_wait_for_one_that_blocks() -> None:
    valve = Valve()
    executor = DaemonExecutor(2, "test")
    blocked = executor.submit(valve)
    assert [executor.submit(abs, -n).result(30) for n in range(20)] == list(range(20))
    valve.opened.set()
    assert blocked.result(30) == 42
    executor.shutdown()


def test_calls_of_one_worker_run_in_the_order_they_came() -> None:
    seen: list[int] = []
    executor = DaemonExecutor(1, "test")
    wait_for([executor.submit(seen.append, number) for number in range(100)], 30)
    assert seen == list(range(100))
    executor.shutdown()


def test_a_call_that_was_cancelled_while_it_waited_is_not_made() -> None:
    valve = Valve()
    seen: list[int] = []
    executor = DaemonExecutor(1, "test")
    executor.submit(valve)
    waiting = executor.submit(seen.append, 1)
    assert waiting.cancel()
    valve.opened.set()
    executor.submit(seen.append, 2).result(30)
    assert seen == [2]
    executor.shutdown()


def test_nothing_is_taken_after_a_shutdown() -> None:
    executor = DaemonExecutor(1, "test")
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(print)


def test_a_shutdown_ends_the_threads_once_their_calls_are_done() -> None:
    valve = Valve()
    executor = DaemonExecutor(2, "ending")
    futures = [executor.submit(valve) for _ in range(4)]
    executor.shutdown()
    valve.opened.set()
    assert [future.result(30) for future in futures] == [42] * 4
    assert eventually(lambda: threads("ending") == [])


@pytest.mark.parametrize("wait", [False, True])
def test_a_shutdown_does_not_wait_for_a_call_that_blocks(wait: bool) -> None:
    valve = Valve()
    executor = DaemonExecutor(1, "test")
    blocked = executor.submit(valve)
    executor.shutdown(wait)
    assert not blocked.done()
    valve.opened.set()
    assert blocked.result(30) == 42


def test_a_shutdown_cancels_what_waits_where_it_is_asked_to() -> None:
    valve = Valve()
    executor = DaemonExecutor(1, "cancelling")
    blocked = executor.submit(valve)
    assert eventually(lambda: valve.inside == 1)
    waiting: list[Future[int]] = [executor.submit(valve) for _ in range(3)]
    executor.shutdown(cancel_futures=True)
    valve.opened.set()
    assert blocked.result(30) == 42
    assert eventually(lambda: threads("cancelling") == [])
    assert [future.cancelled() for future in waiting] == [True] * 3


def test_a_result_lives_no_longer_than_its_future() -> None:
    class Large:
        pass

    executor = DaemonExecutor(1, "test")
    future = executor.submit(Large)
    alive = weakref.ref(future.result(30))
    del future

    def gone() -> bool:
        gc.collect()
        return alive() is None

    assert eventually(gone)
    executor.shutdown()


def test_an_event_loop_can_await_a_call() -> None:
    async def body() -> None:
        executor = DaemonExecutor(1, "test")
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(executor, len, "abcd") == 4
        executor.shutdown()

    run(body())


def test_a_call_that_blocks_does_not_hold_up_the_exit() -> None:
    script = (
        "import threading\n"
        "from crawler.system.threads import DaemonExecutor\n"
        "started = threading.Event()\n"
        "def block():\n"
        "    started.set()\n"
        "    threading.Event().wait()\n"
        "DaemonExecutor(1, 'test').submit(block)\n"
        "started.wait()\n"
        "print('the end')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout, done.stderr) == ("the end\n", "")
