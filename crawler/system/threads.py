"""Blocking calls -> futures, in daemon threads that never hold up the exit."""

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
    """The system lets this process start no more threads."""

    def __init__(self) -> None:
        super().__init__("cannot start a thread: too many processes, or too little memory")


class DaemonExecutor(Executor):
    """At most `workers` threads, started as calls come; an exit waits for none of them.

    The standard pool joins its threads when the interpreter ends, so one stuck
    look-up or one blocked pipe would keep the whole process alive.
    Where a call needs a thread and none can be started, `submit` raises NoThreadError; with
    `inline` the call is made in the caller's own thread.
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
        """Let the threads end once they are free; never waits for one that is not."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                with suppress(queue.Empty):
                    while waiting := self._calls.get_nowait():
                        waiting[0].cancel()
            for _ in range(self._threads):
                self._calls.put(None)

    def _start_thread(self) -> bool:
        """Start one more thread; False where that is not possible and calls may be inline."""
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
            del waiting  # or its result would live until the next call comes
            self._idle.release()
