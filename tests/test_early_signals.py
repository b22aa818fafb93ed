"""A signal before the run starts, while Python still imports its modules."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from shell import COMMAND, PATIENCE, unmeasured

DOORS = {
    # How the program is started, and the last import before its own first line.
    "module": ([*COMMAND[1:]], "crawler"),
    "command": (["-c", "from crawler.__main__ import main; main()"], "crawler.__main__"),
}
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
_MARK = "import time:"
_LAST = "resource"  # by which the open-file limit is read, just before the list


def interrupted(door: str, number: signal.Signals, after: int, *args: str) -> tuple[int, str, bool]:
    """Send a signal once `after` modules were imported.

    Return the exit code, the output, and whether that many were imported.
    """
    command, last = DOORS[door]
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *command, "-", "--jsonl", *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=unmeasured(),
    )
    assert process.stderr is not None
    with process:
        output, seen = "", -1
        for line in process.stderr:
            if not line.startswith(_MARK):
                output += line
            elif seen >= 0 or line.split("|")[-1].strip() == last:
                seen += 1
                if seen == after:
                    process.send_signal(number)
            if line.split("|")[-1].strip() == _LAST and seen < after:
                break  # all is imported: the run waits for its empty list
        if seen < after:
            process.kill()
        output += "".join(line for line in process.stderr if not line.startswith(_MARK))
        return process.wait(PATIENCE), output, seen >= after


@pytest.mark.parametrize("door", DOORS)
def test_an_interrupt_while_modules_are_imported_is_silent(door: str) -> None:
    after, in_time, runs = 1, True, 0
    while in_time:
        code, output, in_time = interrupted(door, signal.SIGINT, after)
        if in_time:
            assert (after, code, output) == (after, 130, "")
            runs += 1
        after += 1 if after < 8 else 25
    assert runs > 12


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("after", [1, 50])
def test_other_signals_end_the_imports_with_their_own_exit_codes(
    number: signal.Signals, after: int
) -> None:
    assert interrupted("module", number, after) == (CODES[number], "", True)


def test_an_ignored_signal_stays_ignored_while_modules_are_imported() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            [*COMMAND, "--version"], stdout=subprocess.PIPE, encoding="utf-8", env=unmeasured()
        )
    finally:
        signal.signal(signal.SIGINT, before)
    for _ in range(50):
        process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert out.startswith("crawl ")


def test_a_signal_before_the_run_leaves_no_unfinished_file_behind(tmp_path: Path) -> None:
    for after in range(150, 1000, 5):
        out = tmp_path / f"{after}.json"
        code, output, in_time = interrupted("module", signal.SIGINT, after, "-o", str(out))
        if not in_time:
            break
        assert (code, output) == (130, "")
        assert [name for name in os.listdir(tmp_path) if name.endswith(".part")] == []
    assert after > 250
