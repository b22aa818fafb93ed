"""`crawl` as a user runs it: in a process of its own, with a clean environment, on a terminal."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pytest
from loopback import Handler, Request, reply

from crawler.report.record import encode

COMMAND = (sys.executable, "-P", "-m", "crawler")
OVER_TRANSPORT = (
    sys.executable,
    "-P",
    "-c",
    """
from crawler.app import assemble
from crawler.engine.fastpath import FastPath
assemble.sends_directly = lambda settings: False
assemble._connector_of = lambda transport: None
del FastPath.start  # if it is not left out after all, nothing works
from crawler.__main__ import main
main()
""",
)
"""`crawl` without its fast path."""
PATIENCE = 60.0
"""Seconds after which a run counts as hung."""

C_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
_RECORD = '{"schema": 1, "index": '
Argument = str | Path
Ended = subprocess.CompletedProcess[str]


class Options(TypedDict, total=False):
    """Options of `subprocess`."""

    stdin: Any
    stdout: Any
    stderr: Any
    cwd: Path
    env: dict[str, str]


def environment(**changes: str) -> dict[str, str]:
    """Return an environment in which only `changes` affect the program."""
    measuring = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    return {**unmeasured(**measuring), **changes}


def unmeasured(**changes: str) -> dict[str, str]:
    """Return an environment as `environment` does, for a run that coverage must not slow down."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **changes}


def crawl(*args: Argument, text: str | None = None, **options: Unpack[Options]) -> Ended:
    """Run `crawl` to its end; `text` is piped into it; otherwise standard input is empty."""
    return _run([*COMMAND, *map(str, args)], text, options)


def script(commands: str, *args: Argument, **options: Unpack[Options]) -> Ended:
    """Run a shell script in which `"$@"` stands for `crawl` with these arguments."""
    return _run(["bash", "-c", commands, "bash", *COMMAND, *map(str, args)], None, options)


@contextmanager
def started(
    *args: Argument, command: Sequence[str] = COMMAND, **options: Unpack[Options]
) -> Iterator[subprocess.Popen[str]]:
    """Start `crawl`, with its output in pipes by default; it is killed at the end."""
    with _start([*command, *map(str, args)], options) as process:
        yield process


@contextmanager
def started_script(
    commands: str, *args: Argument, **options: Unpack[Options]
) -> Iterator[subprocess.Popen[str]]:
    """Start a shell script in which `"$@"` stands for `crawl` with these arguments."""
    command = ["bash", "-c", commands, "bash", *COMMAND, *map(str, args)]
    with _start(command, options) as process:
        yield process


def on_terminal(
    *args: Argument,
    columns: int = 100,
    during: Callable[[subprocess.Popen[str]], None] | None = None,
    **options: Unpack[Options],
) -> Ended:
    """Run `crawl` on terminals: one for its input and output, another for its standard error.

    `during` is called once it has started.
    """
    screens = [_Screen(columns), _Screen(columns)]
    defaults: Options = {
        "stdin": screens[0].end,
        "stdout": screens[0].end,
        "stderr": screens[1].end,
        "env": environment(TERM="xterm-256color"),
    }
    with _start([*COMMAND, *map(str, args)], {**defaults, **options}) as process:
        for screen in screens:
            screen.watch()
        if during is not None:
            during(process)
        code = process.wait(PATIENCE)
    return Ended(process.args, code, *(screen.shown() for screen in screens))


def records(text: str) -> list[dict[str, Any]]:
    """Return the objects of JSON lines, each with the bytes that the JSON encoder gives it."""
    lines = text.splitlines()
    found = [json.loads(line) for line in lines]
    assert lines == [encode(one) for one in found]
    return found


def in_order(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return records in input order."""
    return sorted(found, key=lambda record: record["index"])


def plain(text: str) -> str:
    """Return text without its control codes, as a terminal shows it."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def complaint(ended: Ended) -> str:
    """Return the only line on standard error, without the program's name."""
    line, end, rest = ended.stderr.partition("\n")
    assert (end, rest) == ("\n", ""), ended.stderr
    assert line.startswith("crawl: ")
    return line.removeprefix("crawl: ")


def wait_until(condition: Callable[[], bool], within: float = PATIENCE) -> None:
    """Return once `condition` holds."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.005)


def write(path: Path, *lines: str) -> Path:
    """Write a file of these lines; return its path."""
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def once(condition: Callable[[], bool], then: Handler | None = None) -> Handler:
    """Return a handler that responds with 200, or as `then` does, once `condition` holds."""

    async def handler(
        request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while not condition():  # noqa: ASYNC110 - other threads make it true
            await asyncio.sleep(0.005)
        await (then or reply())(request, reader, writer)

    return handler


def bound(*args: Argument, **options: Unpack[Options]) -> Ended:
    """Run `crawl` subject to file permissions, even if the tests run as root."""
    command = [*COMMAND, *map(str, args)]
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("runs as root, which bypasses permissions, and setpriv is missing")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    return _run(command, None, options)


class _Screen:
    """A terminal; `end` is the program's side of it."""

    def __init__(self, columns: int) -> None:
        self._mine, self.end = os.openpty()
        termios.tcsetwinsize(self.end, (40, columns))
        self._read = b""
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def watch(self) -> None:
        """Read the output in the background until the program's side is closed."""
        os.close(self.end)
        self._thread.start()

    def shown(self) -> str:
        self._thread.join(PATIENCE)
        os.close(self._mine)
        return self._read.decode().replace("\r\n", "\n")

    def _watch(self) -> None:
        try:
            while data := os.read(self._mine, 65_536):
                self._read += data
        except OSError:  # Linux: the other end is closed
            pass


def _run(command: list[str], text: str | None, options: Options) -> Ended:
    if text is None:
        options.setdefault("stdin", subprocess.DEVNULL)
    else:
        assert "stdin" not in options
        options["stdin"] = subprocess.PIPE
    with _start(command, options) as process:
        out, err = process.communicate(text, timeout=PATIENCE)
    if out and out.startswith(_RECORD) and out.endswith("\n"):
        records(out)
    return Ended(command, process.returncode, out or "", err or "")


@contextmanager
def _start(command: list[str], options: Options) -> Iterator[subprocess.Popen[str]]:
    defaults: Options = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "env": environment(),
    }
    settings: Options = {**defaults, **options}
    with subprocess.Popen(command, encoding="utf-8", **settings) as process:
        try:
            yield process
        finally:
            process.kill()
