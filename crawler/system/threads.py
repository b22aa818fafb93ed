"""An executor with daemon threads, so that a blocked call never delays process exit."""

import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_names = itertools.count()


class NoThreadError(RuntimeError):
    """The system does not allow this process another thread."""

    def __init__(self) -> None:
        super().__init__("cannot start a thread: too many processes, or too little memory")


class DaemonExecutor(Executor):
    """Runs calls in at most `workers` daemon threads, started as needed.

    `ThreadPoolExecutor` joins its threads at interpreter exit, so one stuck DNS lookup or one
    blocked pipe would keep the process alive. If a call needs a thread and none can be
    started, `submit` raises NoThreadError; with `inline` the call runs in the caller's thread.
    """

    def __init__(self, workers: int, name: str, *, inline: bool = False) -> None:
        self._workers = workers
        self._name = name
        self._inline = inline
        self._threads = 0
        self._idle = threading.Semaphore(0)
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], None]] | None]
        self._calls = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as exc:
                future.set_exception(exc)
            else:
                future.set_result(result)

        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is shut down")
            if self._idle.acquire(blocking=False) or self._threads >= self._workers:
                in_thread = True
            else:
                in_thread = self._start_thread()
            if in_thread:
                self._calls.put((future, call))
        if not in_thread:
            call()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """End the threads as they become idle; never waits for one that is busy."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                with suppress(queue.Empty):
                    while waiting := self._calls.get_nowait():
                        waiting[0].cancel()
            for _ in range(self._threads):
                self._calls.put(None)

    def _start_thread(self) -> bool:
        """Start a thread; return False if that fails and calls may run inline."""
        name = f"{self._name}-{next(_names)}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except (RuntimeError, MemoryError) as exc:
            if self._inline:
                return False
            raise NoThreadError from exc
        self._threads += 1
        return True

    def _work(self) -> None:
        while (waiting := self._calls.get()) is not None:
            waiting[1]()
            del waiting  # or the thread would keep the result alive until its next call
            self._idle.release()
