"""LOOP WINDOW PATH PLANT NOISE ARGUMENT... -> the real program, on that event loop.

Runs inside the process of the program and controls it: asyncio's own loop by hiding uvloop
from import, the read-ahead window by its default, the path of plain attempts (PATH,
"transport" or "-") by what the program asks of a transport, a fault (PLANT, or "-") by changing the
program's code before it runs. The file NOISE holds a double: the longest time in seconds by
which this machine was late to wake an idle thread of the program.
"""

import os
import signal
import struct
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import NoReturn

_BEAT = 0.005  # seconds


def main(loop: str, window: int, path: str, plant: str, arguments: list[str]) -> NoReturn:
    # A shell that starts this in the background ignores SIGINT, and a child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    noise, *arguments = arguments
    threading.Thread(target=_beat, args=(noise,), daemon=True).start()
    if loop == "asyncio":
        sys.modules["uvloop"] = None  # type: ignore[assignment]  # so import fails
    if plant != "-":
        sys.path.append(str(Path(__file__).parents[2]))
        from benchmarks.policies import plants

        plants.PLANTS[plant].apply()
    if path == "transport":
        _leave_out_the_fast_path()
    from crawler.models import Limits

    defaults = Limits.__init__.__kwdefaults__
    assert defaults is not None
    assert "window" in defaults
    defaults["window"] = window
    from crawler.__main__ import main as run

    sys.argv = ["crawl", *arguments]
    run()


def _leave_out_the_fast_path() -> None:
    """Let the program take every transport for one that the fast path cannot replace."""
    from crawler.app import assemble
    from crawler.engine.fastpath import FastPath

    def refuse(*_args: object, **_more: object) -> NoReturn:
        raise AssertionError("the fast path was not left out")

    for name, answer in (("sends_directly", False), ("_connector_of", None)):
        assert hasattr(assemble, name)
        setattr(assemble, name, partial(_answer, answer))
    FastPath.__init__ = refuse  # type: ignore[method-assign]


def _answer(answer: object, _transport: object) -> object:
    return answer


def _beat(path: str) -> NoReturn:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    worst = 0.0
    while True:
        due = time.monotonic() + _BEAT
        time.sleep(_BEAT)
        if (late := time.monotonic() - due) > worst:
            worst = late
            os.pwrite(fd, struct.pack("d", worst), 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
