"""The progress bar: what it says, and that it leaves a clean terminal."""

import pytest
from terminals import CODE, Terminal

from crawler.core.summary import Snapshot
from crawler.report.progress import ProgressBar, status_line

pytestmark = pytest.mark.usefixtures("terminal_variables")


def snapshot(
    *, total: int | None = None, estimated: bool = False, done: int = 1200, elapsed: float = 2.0
) -> Snapshot:
    return Snapshot(
        elapsed=elapsed,
        done=done,
        passed=done - done // 6,
        failed=done // 6,
        in_flight=10,
        total=total,
        estimated=estimated,
    )


@pytest.mark.parametrize(
    ("of", "line"),
    [
        (
            snapshot(total=6000),
            "1,200/6,000  1,000 passed  200 failed  10 in flight  600/s  8.00 s left",
        ),
        (
            snapshot(total=6000, estimated=True),
            "1,200/~6,000  1,000 passed  200 failed  10 in flight  600/s  8.00 s left",
        ),
        (snapshot(estimated=True), "1,200  1,000 passed  200 failed  10 in flight  600/s"),
        (
            snapshot(total=6000, done=0, elapsed=0.0),
            "0/6,000  0 passed  0 failed  10 in flight  0/s",
        ),
        (
            snapshot(total=1000, estimated=True),
            "1,200/~1,000  1,000 passed  200 failed  10 in flight  600/s  0.0 ms left",
        ),
    ],
    ids=["known", "estimated", "unknown", "at the start", "more than estimated"],
)
def test_progress_in_words(of: Snapshot, line: str) -> None:
    assert status_line(of) == line


def test_the_bar_shows_each_snapshot() -> None:
    terminal = Terminal()
    bar = ProgressBar(terminal)
    bar.start()
    for of in (snapshot(), snapshot(total=6000)):
        bar.show(of)
        assert status_line(of) in terminal.getvalue()
    bar.stop()


def test_the_bar_leaves_an_empty_line_and_a_visible_cursor() -> None:
    terminal = Terminal()
    bar = ProgressBar(terminal)
    bar.start()
    bar.show(snapshot(total=6000))
    bar.stop()
    end = terminal.getvalue().rpartition(status_line(snapshot(total=6000)))[2]
    assert "\x1b[2K" in end
    assert CODE.sub("", end).strip() == ""
    assert terminal.getvalue().rpartition("\x1b[?25")[2][0] == "h"


def test_stopping_the_bar_twice_or_before_its_start_writes_nothing() -> None:
    terminal = Terminal()
    bar = ProgressBar(terminal)
    bar.stop()
    assert terminal.getvalue() == ""
    bar.start()
    bar.stop()
    before = terminal.getvalue()
    bar.stop()
    assert terminal.getvalue() == before


def test_the_progress_fits_one_line_of_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    terminal = Terminal()
    bar = ProgressBar(terminal)
    bar.start()
    bar.show(snapshot(total=6000))
    bar.stop()
    frames = CODE.sub("", terminal.getvalue()).splitlines()
    assert max(map(len, frames)) <= 30
    assert "\x1b[1A\x1b[2K\x1b[1A" not in terminal.getvalue()
