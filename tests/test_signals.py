"""Signals become calls: the first one ends a run gracefully, the second one at once."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from samples import run, settle

from crawler.system.signals import signals

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def handlers() -> Iterator[dict[int, Any]]:
    """Harmless signal handlers for the duration of a test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    own: dict[int, Any] = {number: lambda *_: None for number in SIGNALS}
    for number, handler in own.items():
        signal.signal(number, handler)
    yield own
    for number, previous in before.items():
        signal.signal(number, previous)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_becomes_a_call_on_the_event_loop(
    number: int, handlers: dict[int, Any]
) -> None:
    async def body() -> None:
        caught: list[tuple[int, bool]] = []
        seen = asyncio.Event()

        def first(number: int) -> None:
            caught.append((number, asyncio.get_running_loop() is loop))
            seen.set()

        loop = asyncio.get_running_loop()
        with signals(first, lambda: None):
            # From another thread, while the event loop is idle.
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


def test_the_previous_signal_handlers_are_restored(handlers: dict[int, Any]) -> None:
    before: dict[int, Any] = {}

    def interrupted() -> None:
        with signals(lambda _: None, lambda: None):
            assert all(meaning()[number] is not before[number] for number in SIGNALS)
            raise ZeroDivisionError

    async def body() -> None:
        nonlocal before
        before = meaning()  # the runner of the event loop installs its own SIGINT handler
        with pytest.raises(ZeroDivisionError):
            interrupted()
        assert meaning() == before

    run(body())


@pytest.mark.parametrize("ignored", SIGNALS)
def test_a_signal_ignored_at_the_start_stays_ignored(
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
    ("number", "code", "printed"),
    [
        (signal.SIGINT, 130, "second\n"),
        (signal.SIGTERM, 143, "second\n"),
        (signal.SIGHUP, 0, "too late\n"),
    ],
)
def test_a_second_signal_exits_at_once_unless_it_is_sighup(
    number: signal.Signals, code: int, printed: str
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
    assert (done.returncode, done.stdout) == (code, f"first 2\n{printed}")
