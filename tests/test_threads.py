"""Blocking calls in daemon threads: bounded, started as needed, never delaying process exit."""

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
    """Wait until a thread has made `condition` true."""
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    return condition()


def threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{name}-")]


class Valve:
    """A call that blocks until it is opened, and counts the calls in progress."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.inside = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.inside += 1
        assert self.opened.wait(30)
        return 42


def test_a_call_returns_its_result() -> None:
    executor = DaemonExecutor(2, "test")
    assert executor.submit(divmod, 7, 2).result(30) == (3, 1)
    assert executor.submit(int, "ff", base=16).result(30) == 255
    executor.shutdown()


@pytest.mark.parametrize("error", [OSError("full"), SystemExit(3)], ids=["error", "exit"])
def test_a_call_that_raises_sets_its_exception_and_keeps_the_thread(error: BaseException) -> None:
    def fail() -> None:
        raise error

    executor = DaemonExecutor(1, "test")
    assert executor.submit(fail).exception(30) is error
    assert executor.submit(len, "abc").result(30) == 3
    executor.shutdown()


def test_calls_run_in_named_daemon_threads() -> None:
    executor = DaemonExecutor(1, "some-name")
    thread = executor.submit(threading.current_thread).result(30)
    assert (thread.daemon, thread.name.startswith("some-name-")) == (True, True)
    assert thread is not threading.current_thread()
    executor.shutdown()


def test_no_thread_starts_before_the_first_call() -> None:
    executor = DaemonExecutor(8, "unused")
    assert threads("unused") == []
    executor.shutdown()


def test_at_most_workers_calls_run_at_once_and_the_others_follow() -> None:
    valve = Valve()
    executor = DaemonExecutor(3, "bounded")
    futures = [executor.submit(valve) for _ in range(10)]
    assert eventually(lambda: valve.inside == 3)
    assert len(threads("bounded")) == 3
    valve.opened.set()
    assert [future.result(30) for future in futures] == [42] * 10
    assert (valve.inside, len(threads("bounded"))) == (10, 3)
    executor.shutdown()


def test_a_call_does_not_wait_for_a_blocked_one_while_a_worker_is_free() -> None:
    valve = Valve()
    executor = DaemonExecutor(2, "test")
    blocked = executor.submit(valve)
    assert [executor.submit(abs, -n).result(30) for n in range(20)] == list(range(20))
    valve.opened.set()
    assert blocked.result(30) == 42
    executor.shutdown()


def test_a_single_worker_runs_calls_in_order() -> None:
    seen: list[int] = []
    executor = DaemonExecutor(1, "test")
    wait_for([executor.submit(seen.append, number) for number in range(100)], 30)
    assert seen == list(range(100))
    executor.shutdown()


def test_a_call_cancelled_while_queued_is_not_made() -> None:
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


def test_no_call_is_accepted_after_shutdown() -> None:
    executor = DaemonExecutor(1, "test")
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(print)


def test_shutdown_ends_the_threads_once_their_calls_are_done() -> None:
    valve = Valve()
    executor = DaemonExecutor(2, "ending")
    futures = [executor.submit(valve) for _ in range(4)]
    executor.shutdown()
    valve.opened.set()
    assert [future.result(30) for future in futures] == [42] * 4
    assert eventually(lambda: threads("ending") == [])


@pytest.mark.parametrize("wait", [False, True])
def test_shutdown_does_not_wait_for_a_blocked_call(wait: bool) -> None:
    valve = Valve()
    executor = DaemonExecutor(1, "test")
    blocked = executor.submit(valve)
    executor.shutdown(wait)
    assert not blocked.done()
    valve.opened.set()
    assert blocked.result(30) == 42


def test_shutdown_cancels_queued_calls_on_request() -> None:
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


def test_a_result_does_not_outlive_its_future() -> None:
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


def test_a_blocked_call_does_not_delay_process_exit() -> None:
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
