"""The event loop: what it reports, and what it ignores."""

import asyncio
import gc

import pytest

from crawler.system import loop as event_loop


@pytest.mark.parametrize(
    ("message", "reported"),
    [("Fatal error on SSL protocol", False), ("Task exception was never retrieved", True)],
)
def test_an_error_from_a_closing_connection_is_ignored(message: str, reported: bool) -> None:
    lines: list[str] = []

    async def work() -> int:
        context = {"message": message, "exception": RuntimeError("closed")}
        asyncio.get_running_loop().call_exception_handler(context)
        return 7

    _, factory = event_loop.choose()
    assert event_loop.run(work(), factory, lines.append) == 7
    assert lines == (["internal error: RuntimeError: closed"] if reported else [])


def test_an_error_of_the_event_loop_has_its_traceback_with_verbose(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> int:
        context = {"message": "never retrieved", "exception": RuntimeError("closed")}
        asyncio.get_running_loop().call_exception_handler(context)
        return 0

    lines: list[str] = []
    with caplog.at_level("ERROR", "asyncio"):
        _, factory = event_loop.choose()
        event_loop.run(work(), factory, lines.append, verbose=True)
    assert "RuntimeError: closed" in caplog.text
    assert lines == []


def test_garbage_is_collected_while_the_event_loop_runs() -> None:
    async def work() -> int:
        return gc.isenabled()

    _, factory = event_loop.choose()
    gc.collect()  # what is left is frozen, as what a start has imported is
    gc.disable()
    try:
        assert event_loop.run(work(), factory, lambda _line: None) == 1
    finally:
        gc.enable()
        gc.unfreeze()
