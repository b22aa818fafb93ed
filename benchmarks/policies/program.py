"""A scenario -> a run of the real program against its servers, with its outputs."""

import functools
import json
import os
import signal
import ssl
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from benchmarks.policies import launcher
from benchmarks.policies.log import Log
from benchmarks.policies.scenario import Line, Scenario
from benchmarks.policies.server import Server

PATIENCE = 30.0  # seconds after which a run is killed and counts as stuck
_LOOK = 0.002  # seconds between two looks at the log, which says when Ctrl-C is due
_HOSTS = 8


@dataclass(slots=True, kw_only=True)
class Run:
    """The outputs of one run of the program.

    `urls` are those of each page's hops.
    `records` are those of standard output in their order, `document` the JSON document,
    `lines` the records of the second output and `failed` the lines of `--failed-to`, None
    if there is none. Times are seconds of CLOCK_MONOTONIC; `signalled` is None without a signal.
    """

    scenario: Scenario
    log: Log
    urls: list[list[str]]
    records: list[dict[str, Any]] = field(default_factory=list)
    document: dict[str, Any] | None = None
    lines: list[dict[str, Any]] | None = None
    failed: list[str] | None = None
    listed: list[str] = field(default_factory=list)
    code: int | None = None
    errors: str = ""
    started: float = 0.0
    finished: float = 0.0
    signalled: float | None = None
    broken: list[str] = field(default_factory=list)  # outputs that could not be read

    @property
    def summary(self) -> dict[str, Any]:
        found = (self.document or {}).get("summary")
        return found if isinstance(found, dict) else {}

    @property
    def cut_short(self) -> bool:
        """Whether a signal or the deadline may have ended it early."""
        deadline = self.scenario.options.deadline
        late = deadline is not None and self.summary.get("elapsed_s", deadline) >= deadline - 0.05
        return self.signalled is not None or late


def run(scenario: Scenario, folder: Path, plant: str = "-") -> Run:
    """Run the program once; its list and its outputs are kept in `folder`."""
    with Server(scenario, _certificate()) as server:
        urls = [
            [server.url(number, hop) for hop in range(len(page.hops))]
            for number, page in enumerate(scenario.pages)
        ]
        done = Run(scenario=scenario, log=server.log, urls=urls)
        done.listed = [_text(line, urls) for line in scenario.lines]
        (folder / "list.txt").write_text("".join(f"{line}\n" for line in done.listed), "utf-8")
        _authority(folder / "ca.pem")
        _execute(done, folder, command(scenario, folder, plant))
    _read(done, folder)
    return done


def command(scenario: Scenario, folder: Path, plant: str = "-") -> list[str]:
    options = scenario.options
    given = [*options.arguments(), "--engine", scenario.engine_option, "--jsonl", "--verbose"]
    given += ["-o", str(folder / "all.json")]
    if options.trust == "cacert":
        given += ["--cacert", str(folder / "ca.pem")]
    if options.lines_file:
        given += ["-o", str(folder / "all.jsonl")]
    if options.failed_to:
        given += ["--failed-to", str(folder / "failed.txt")]
    given.append("-" if options.piped else str(folder / "list.txt"))
    path = "transport" if scenario.engine == "transport" else "-"
    steered = [launcher.__file__, scenario.loop, str(scenario.window), path, plant]
    steered.append(str(folder / "noise"))
    return [sys.executable, "-P", *steered, *given]


def _execute(done: Run, folder: Path, line: list[str]) -> None:
    """Start the program, send Ctrl-C when it is due, and wait for the end."""
    names = {"PATH", "HOME", "PYTHONPATH"}
    environ = {name: text for name, text in os.environ.items() if name in names}
    listed = folder / "list.txt"
    with (
        (folder / "out").open("wb") as out,
        (folder / "err").open("wb") as err,
        listed.open("rb") as given,
    ):
        # A pipe, not the file itself: the program must not know the length of the list.
        piped = done.scenario.options.piped
        feed = subprocess.Popen(["/bin/cat"], stdin=given, stdout=subprocess.PIPE)
        done.started = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            line,
            stdin=feed.stdout if piped else subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environ,
        )
        assert feed.stdout is not None
        feed.stdout.close()
        try:
            _wait(done, process)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        else:
            done.code = process.returncode
        done.finished = time.monotonic()
        feed.wait()


def _wait(done: Run, process: subprocess.Popen[bytes]) -> None:
    until = done.started + PATIENCE
    interrupt = done.scenario.interrupt
    requests = done.log.requests
    while interrupt is not None and process.poll() is None and time.monotonic() < until:
        reached = len(requests) >= interrupt.requests
        if (
            reached
            and time.monotonic() >= requests[interrupt.requests - 1].arrived + interrupt.delay
        ):
            done.signalled = time.monotonic()
            process.send_signal(signal.SIGINT)
            break
        time.sleep(_LOOK)
    process.wait(max(0.1, until - time.monotonic()))


def _read(done: Run, folder: Path) -> None:
    """Read the outputs of the program, and the noise that it recorded."""
    noise = (folder / "noise").read_bytes() if (folder / "noise").exists() else b""
    if noise:
        done.log.noise += struct.unpack("d", noise)[0]
    done.errors = (folder / "err").read_text("utf-8", "replace")
    done.records = _json_lines(done, folder / "out") or []
    done.lines = _json_lines(done, folder / "all.jsonl")
    path = folder / "all.json"
    if path.exists():
        try:
            done.document = json.loads(path.read_text("utf-8"))
        except ValueError as exc:
            done.broken.append(f"{path.name}: {exc}")
    path = folder / "failed.txt"
    if path.exists():
        lines = path.read_text("utf-8").splitlines()
        done.failed = [line for line in lines if not line.startswith("#")]


def _json_lines(done: Run, path: Path) -> list[dict[str, Any]] | None:
    if not path.exists():
        return None
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            found.append(json.loads(line))
        except ValueError as exc:
            done.broken.append(f"{path.name}, line {number}: {exc}")
    return found


def _text(line: Line, urls: list[list[str]]) -> str:
    if line.page is None:
        return line.text
    url = urls[line.page][0]
    return url.replace("http", "HTTP", 1) if line.shout else url


@functools.cache
def _trust() -> trustme.CA:
    return trustme.CA()


@functools.cache
def _certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = [f"127.0.0.{number}" for number in range(1, _HOSTS + 1)]
    _trust().issue_cert(*names).configure_cert(context)
    return context


def _authority(path: Path) -> None:
    _trust().cert_pem.write_to_path(str(path))
