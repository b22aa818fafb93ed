"""Long lists against a real nginx: every URL has its record, memory is flat, a signal ends it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from nginx import Nginx, serve
from shell import COMMAND, OVER_TRANSPORT, started, unmeasured, wait_until

AT_ONCE = 50
WIDE = ["--max", str(AT_ONCE), "--per-host", str(AT_ONCE)]
SOON = 2.0
"""Seconds within which a signal ends a run: one is promised, the rest is for a busy machine."""
PATHS = pytest.mark.parametrize("command", [COMMAND, OVER_TRANSPORT], ids=["fast", "transport"])
KEYS = [
    "schema",
    "index",
    "source",
    "line",
    "input",
    "url",
    "final_url",
    "method",
    "ok",
    "outcome",
    "status",
    "size",
    "latency_ms",
    "ttfb_ms",
    "timings_ms",
    "attempts",
    "redirects",
    "http_version",
    "remote_ip",
    "content_type",
    "content_length",
    "truncated",
    "error",
    "reasons",
    "timestamp",
    "tls",
    "retried",
    "flaky",
    "hedged",
    "blocked_by",
    "warned",
]

# The peak memory of a process starts with that of the process that forked it, here
# the test's, which may be larger. So a small process starts `crawl` and reads the record.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes: what ru_maxrss counts in


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with serve(tmp_path_factory.mktemp("nginx")) as server:
        yield server


class Run(NamedTuple):
    """A finished run: its exit code, its lines on standard output, its peak memory in bytes."""

    code: int
    lines: list[str]
    peak: int


def run(server: Nginx, directory: Path, count: int, program: Sequence[str]) -> Run:
    """Check `count` URLs of the server."""
    listed = directory / f"{count}.txt"
    listed.write_text("".join(f"{server.url(f'/{number}')}\n" for number in range(count)))
    command = [sys.executable, "-c", _MEASURE, *program, str(listed), "--jsonl", *WIDE]
    ended = subprocess.run(
        command, env=unmeasured(), capture_output=True, encoding="utf-8", check=False, timeout=300
    )
    return Run(ended.returncode, ended.stdout.splitlines(), int(ended.stderr) * _UNIT)


@PATHS
def test_ten_thousand_urls_need_the_memory_of_one_thousand(
    nginx: Nginx, tmp_path: Path, command: Sequence[str]
) -> None:
    few, many = (run(nginx, tmp_path, count, command) for count in (1_000, 10_000))
    found = [json.loads(line) for line in many.lines]
    assert (few.code, many.code) == (0, 0)
    assert [list(record) for record in found] == [KEYS] * 10_000
    assert sorted(record["index"] for record in found) == list(range(10_000))
    assert {(r["ok"], r["status"], r["size"], r["attempts"]) for r in found} == {(True, 200, 6, 1)}
    assert many.peak - few.peak < 30_000_000


@PATHS
def test_a_signal_ends_a_run_over_a_million_lines_with_every_record(
    nginx: Nginx, tmp_path: Path, command: Sequence[str]
) -> None:
    nginx.forget()
    listed, output = tmp_path / "urls.txt", tmp_path / "out.jsonl"
    listed.write_text("".join(f"{nginx.url(f'/{number}')}\n" for number in range(1_000_000)))
    quietly = ["-q", *WIDE, "-o"]
    with started(listed, *quietly, output, command=command, env=unmeasured()) as process:
        wait_until(lambda: nginx.completed() >= 1_000)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
        took = time.monotonic() - start
        assert process.stderr is not None
        assert (code, process.stderr.read()) == (130, "")
    completed = nginx.completed()
    found = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    finished = [record for record in found if record["outcome"] == "responded"]
    assert took < SOON
    assert sorted(record["index"] for record in found) == list(range(len(found)))
    assert {record["outcome"] for record in found} == {"responded", "unreached"}
    assert completed - AT_ONCE <= len(finished) <= completed
    assert 1_000 <= completed < 1_000_000
