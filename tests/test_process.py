"""Signals turned into calls, and as many connections as the system allows files."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any, cast

import pytest
from samples import run, settle

from crawler.system import loop as event_loop
from crawler.system.descriptors import affordable
from crawler.system.signals import signals

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def handlers() -> Iterator[dict[int, Any]]:
    """Handlers of the test's own for the signals, so that a stray one ends nothing."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    own: dict[int, Any] = {number: lambda *_: None for number in SIGNALS}
    for number, handler in own.items():
        signal.signal(number, handler)
    yield own
    for number, previous in before.items():
        signal.signal(number, previous)


# Signals


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_a_call_in_the_loop(number: int, handlers: dict[int, Any]) -> None:
    async def body() -> None:
        caught: list[tuple[int, bool]] = []
        seen = asyncio.Event()

        def first(number: int) -> None:
            caught.append((number, asyncio.get_running_loop() is loop))
            seen.set()

        loop = asyncio.get_running_loop()
        with signals(first, lambda: None):
            # From another thread, while the loop has nothing to do but wait.
            sending = threading.Thread(target=os.kill, args=(os.getpid(), number))
            loop.call_soon(sending.start)
            await seen.wait()
        sending.join()
        assert caught == [(number, True)]

    run(body())


def test_without_a_signal_nothing_is_called(handlers: dict[int, Any]) -> None:
    async def body() -> None:
        calls: list[object] = []
        with signals(calls.append, lambda: calls.append("second")):
            await asyncio.sleep(0)
        assert calls == []

    run(body())


def meaning() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in SIGNALS}


def test_afterwards_the_signals_mean_what_they_did(handlers: dict[int, Any]) -> None:
    before: dict[int, Any] = {}

    def interrupted() -> None:
        with signals(lambda _: None, lambda: None):
            assert all(meaning()[number] is not before[number] for number in SIGNALS)
            raise ZeroDivisionError

    async def body() -> None:
        nonlocal before
        before = meaning()  # the loop's runner takes SIGINT for itself while it runs
        with pytest.raises(ZeroDivisionError):
            interrupted()
        assert meaning() == before

    run(body())


@pytest.mark.parametrize("ignored", SIGNALS)
def test_a_signal_that_was_ignored_at_the_start_stays_so(
    ignored: signal.Signals, handlers: dict[int, Any]
) -> None:
    async def body() -> None:
        caught: list[int] = []
        signal.signal(ignored, signal.SIG_IGN)
        other = next(number for number in SIGNALS if number != ignored)
        with signals(caught.append, lambda: None):
            signal.raise_signal(ignored)
            await settle()
            assert caught == []
            signal.raise_signal(other)
            await settle()
            assert caught == [other]
        assert signal.getsignal(ignored) is signal.SIG_IGN

    run(body())


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        (signal.SIGINT, 130, "second\n"),
        (signal.SIGTERM, 143, "second\n"),
        (signal.SIGHUP, 0, "too late\n"),
    ],
)
def test_a_second_signal_ends_the_process_at_once_unless_it_is_a_hangup(
    number: signal.Signals, code: int, told: str
) -> None:
    script = (
        "import asyncio, signal\n"
        "from crawler.system.signals import signals\n"
        "async def main():\n"
        "    with signals(lambda n: print('first', n, flush=True),\n"
        "                 lambda: print('second', flush=True)):\n"
        f"        signal.raise_signal(signal.SIGINT)\n"
        "        await asyncio.sleep(0)\n"
        f"        signal.raise_signal({number:d})\n"
        "        print('too late', flush=True)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (code, f"first 2\n{told}")


# The event loop


@pytest.mark.parametrize(
    ("message", "told"),
    [("Fatal error on SSL protocol", False), ("Task exception was never retrieved", True)],
)
def test_a_connection_that_breaks_in_closing_is_no_news(message: str, told: bool) -> None:
    said: list[str] = []

    async def work() -> int:
        context = {"message": message, "exception": RuntimeError("closed")}
        asyncio.get_running_loop().call_exception_handler(context)
        return 7

    _, factory = event_loop.choose()
    assert event_loop.run(work(), factory, said.append) == 7
    assert said == (["internal error: RuntimeError: closed"] if told else [])


def test_a_complaint_of_the_loop_has_its_traceback_where_that_is_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> int:
        context = {"message": "never retrieved", "exception": RuntimeError("closed")}
        asyncio.get_running_loop().call_exception_handler(context)
        return 0

    said: list[str] = []
    with caplog.at_level("ERROR", "asyncio"):
        _, factory = event_loop.choose()
        event_loop.run(work(), factory, said.append, verbose=True)
    assert "RuntimeError: closed" in caplog.text
    assert said == []


# Open files


@pytest.fixture
def open_files() -> Iterator[tuple[int, int]]:
    """The limits of open files, restored after the test."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield limits
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_soft_limit_of_open_files_is_raised(open_files: tuple[int, int]) -> None:
    _, hard = open_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    assert affordable(50) == 50
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert soft >= 50 + 32


def test_a_limit_that_is_high_enough_is_left_alone(open_files: tuple[int, int]) -> None:
    _, hard = open_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    assert affordable(10) == 10
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (200, hard)


class System:
    """A system with limits of its own, which it may refuse to change."""

    RLIMIT_NOFILE = 7
    RLIM_INFINITY = -1

    def __init__(self, soft: int, hard: int, refusal: Exception | None = None) -> None:
        self.limits = (soft, hard)
        self.refusal = refusal

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == self.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        assert which == self.RLIMIT_NOFILE
        if self.refusal:
            raise self.refusal
        soft, hard = limits
        assert hard == self.limits[1]
        assert hard == self.RLIM_INFINITY or soft <= hard
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "least", "most"),
    [
        (64, 64, 200, 1, 32),
        (64, 256, 200, 60, 128),
        (64, 100_000, 200, 200, 200),
        (64, -1, 200, 200, 200),
        (-1, -1, 200, 200, 200),
        (8, 8, 200, 1, 1),
        (1024, 4096, 10, 10, 10),
    ],
    ids=["few", "raised", "enough", "no hard limit", "no limit", "hardly any", "plenty"],
)
def test_no_more_connections_than_there_may_be_open_files(
    soft: int, hard: int, wanted: int, least: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resource", cast("ModuleType", System(soft, hard)))
    assert least <= affordable(wanted) <= most


@pytest.mark.parametrize(
    "refusal", [ValueError("current limit exceeds maximum limit"), OSError(22, "Invalid argument")]
)
def test_a_system_that_does_not_raise_the_limit_is_taken_as_it_is(
    refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = System(256, System.RLIM_INFINITY, refusal)
    monkeypatch.setitem(sys.modules, "resource", cast("ModuleType", system))
    assert 1 < affordable(1000) < 256


def test_a_system_without_such_limits_allows_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", cast("ModuleType", None))
    assert affordable(5000) == 5000
