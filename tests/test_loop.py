"""The event loop: what it reports, and what it ignores."""

import asyncio

import pytest

from crawler.system import loop as event_loop


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
