"""A process that is stopped and continued: that time is not latency. With real signals."""

import asyncio
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from loopback import Server, delayed, reply, silent
from samples import responded, run
from shell import PATIENCE, environment, wait_until, write

from crawler.engine.suspensions import Suspensions
from crawler.engine.timeouts import AttemptTimeouts, expire
from crawler.engine.transports.wire import Wire
from crawler.models import Timings

LOOPS = {"uvloop": "", "asyncio": "sys.modules['uvloop'] = None\n"}
both = pytest.mark.parametrize("loop", LOOPS)
REST = 1.5
"""Seconds for which a process is stopped: longer than the timeout of its requests."""


@contextmanager
def started(loop: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    main = f"import sys\n{LOOPS[loop]}from crawler.__main__ import main\nmain()"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", main, *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment(),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def stop(process: subprocess.Popen[str], seconds: float = REST) -> float:
    """Stop a process for `seconds`; return when it was continued."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)
    return time.monotonic()


def results(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@both
@pytest.mark.parametrize("engine", ["direct", "httpx"])
def test_the_time_of_a_stopped_process_is_not_latency(
    server: Server, tmp_path: Path, loop: str, engine: str
) -> None:
    server.on("/slow", delayed(1.0, reply(200, b"good")))
    urls = write(tmp_path / "urls.txt", *(server.url(f"/slow?{n}") for n in range(20)))
    out = tmp_path / "out.jsonl"
    options = ["--max", "20", "--per-host", "20", "--timeout", "1.3", "--retries", "0"]
    with started(loop, urls, "-o", out, *options, "--engine", engine) as process:
        wait_until(lambda: server.live == 20)
        stop(process)
        report, complaints = process.communicate(timeout=PATIENCE)
    assert (process.returncode, complaints) == (0, "")
    (line,) = [line for line in report.splitlines() if "stopped" in line]
    assert line.startswith("This process was stopped for 1.")
    assert line.endswith(" s: latencies and timeouts exclude that time")
    assert not re.search(r"include up to [0-9.]+ s", report)
    for record in results(out):
        timings = record["timings_ms"]
        assert 0 <= record["ttfb_ms"] <= record["latency_ms"] < 1_000
        assert sum(timings[phase] or 0 for phase in ("dns", "connect", "wait", "download")) < 1_000


@both
def test_a_server_that_never_responds_times_out_after_a_suspension_too(
    server: Server, tmp_path: Path, loop: str
) -> None:
    url = server.on("/hang", silent())
    with started(loop, url, "--jsonl", "--timeout", "1", "--retries", "0") as process:
        wait_until(lambda: server.live == 1)
        went_on = stop(process)
        out, _ = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - went_on < 2
    record = json.loads(out)
    assert (process.returncode, record["error"]["kind"]) == (1, "timeout")
    assert 900 < record["latency_ms"] < 1_200


@both
def test_the_deadline_continues_while_the_process_is_stopped(server: Server, loop: str) -> None:
    url = server.on("/hang", silent())
    with started(loop, url, "--jsonl", "--deadline", "1") as process:
        wait_until(lambda: server.live == 1)
        went_on = stop(process)
        out, _ = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - went_on < 0.9
    assert (process.returncode, json.loads(out)["outcome"]) == (3, "unreached")


# Inside one process


def _timings(seconds: tuple[Any, ...]) -> Timings:
    return Timings(**dict(zip(("dns", "connect", "tls", "wait", "download"), seconds, strict=True)))


def attempts(seconds: float, hold_up: Callable[[], object]) -> tuple[list[bool], Suspensions]:
    """Block the loop while ten attempts wait; return which expired, and the suspensions."""
    suspensions = Suspensions()

    async def attempt(timeouts: AttemptTimeouts) -> bool:
        bound = asyncio.timeout(None)
        try:
            async with bound:
                timeouts.start(bound, partial(expire, bound))
                await asyncio.sleep(seconds)
        except TimeoutError:
            pass
        finally:
            timeouts.stop(bound)
        return bound.expired()

    async def body() -> list[bool]:
        timeouts = AttemptTimeouts(0.3, suspensions)
        waiting = [asyncio.create_task(attempt(timeouts)) for _ in range(10)]
        await asyncio.sleep(0.01)
        hold_up()
        return await asyncio.gather(*waiting)

    return run(body()), suspensions


def test_time_without_a_processor_is_a_suspension() -> None:
    expired, suspensions = attempts(0.6, lambda: time.sleep(0.4))
    assert expired == [False] * 10
    assert 0.3 < suspensions.total <= 0.45


def test_a_slow_attempt_times_out_after_a_suspension() -> None:
    expired, suspensions = attempts(1.5, lambda: time.sleep(0.4))
    assert expired == [True] * 10
    assert suspensions.total > 0.3


def test_a_busy_process_is_not_suspended() -> None:
    taken_away = 0.0  # by other processes

    def work() -> None:
        nonlocal taken_away
        start, end = time.perf_counter(), time.process_time() + 0.4
        while time.process_time() < end:
            pass
        taken_away = time.perf_counter() - start - 0.4

    expired, suspensions = attempts(5, work)
    assert expired == [True] * 10
    assert suspensions.total <= taken_away + 0.01


def test_two_timers_record_one_suspension_once() -> None:
    suspensions = Suspensions()
    suspensions.record(10.0, 13.0, 0.0)
    suspensions.record(10.04, 13.01, 0.0)
    assert suspensions.total == pytest.approx(3.0)
    assert suspensions.seconds_between(9.0, 20.0) == pytest.approx(3.0)


def test_processor_time_is_subtracted_from_a_suspension() -> None:
    suspensions = Suspensions()
    suspensions.record(10.0, 11.0, 0.9)
    assert suspensions.total == 0
    suspensions.record(20.0, 21.0, 0.5)
    assert suspensions.total == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("start", "end", "lost"),
    [(0, 5, 0), (0, 10, 0), (0, 11, 1), (10.5, 11, 0.5), (11, 30, 3), (13, 30, 1), (31, 40, 0)],
)
def test_only_the_part_of_a_suspension_within_an_attempt_counts(
    start: float, end: float, lost: float
) -> None:
    suspensions = Suspensions()
    suspensions.record(10.0, 13.0, 0.0)
    suspensions.record(20.0, 21.0, 0.0)
    assert suspensions.seconds_between(start, end) == pytest.approx(lost)


def test_at_most_five_suspensions_count_in_an_attempt() -> None:
    suspensions = Suspensions()
    for second in range(20):
        suspensions.record(second, second + 0.5, 0.0)
    assert suspensions.seconds_between(0, math.inf) == pytest.approx(2.5)
    assert suspensions.seconds_between(10, math.inf) == pytest.approx(2.5)
    assert suspensions.total == pytest.approx(10)


def test_the_number_of_spans_is_bounded() -> None:
    suspensions = Suspensions()
    for second in range(10_000):
        suspensions.record(second, second + 0.5, 0.0)
    assert suspensions.seconds_between(9_999, 10_000) == pytest.approx(0.5)
    assert len(suspensions._spans) <= 1_000  # the memory is not visible elsewhere


@pytest.mark.parametrize(
    ("since", "before", "after", "ttfb", "latency"),
    [
        (0.2, (2.0, 1.0, None, 3.0, 4.0), (1.5, 1.0, None, 3.0, 4.0), 5.5, 9.5),
        (2.2, (1.0, 2.0, None, 3.0, 4.0), (1.0, 1.5, None, 3.0, 4.0), 5.5, 9.5),
        (2.2, (0.1, 0.2, None, 3.0, 4.0), (0.1, 0.2, None, 3.0, 4.0), 5.5, 9.5),
        (2.2, (0.25, 0.375, 0.25, 3.0, 4.0), (0.125, 0.0, 0.25, 3.0, 4.0), 5.5, 9.5),
        (4.0, (1.0, 2.0, None, 3.0, 4.0), (1.0, 2.0, None, 2.5, 4.0), 5.5, 9.5),
        (8.0, (1.0, 2.0, None, 3.0, 4.0), (1.0, 2.0, None, 3.0, 3.5), 6.0, 9.5),
        (20.0, (1.0, 2.0, None, 3.0, 4.0), (1.0, 2.0, None, 3.0, 4.0), 6.0, 10.0),
    ],
    ids=["dns", "connect", "not measured", "two phases", "wait", "download", "later"],
)
def test_a_suspension_is_subtracted_from_its_phase(
    since: float, before: tuple[Any, ...], after: tuple[Any, ...], ttfb: float, latency: float
) -> None:
    suspensions = Suspensions()
    suspensions.record(since, since + 0.5, 0.0)
    result = responded(timings=_timings(before), ttfb=6.0, latency=10.0)
    wire = Wire()
    wire.sent, wire.first_byte = 3.0, 6.0
    taken = suspensions.subtract_from(result.attempt, [wire], 0.0, 6.0, 10.0)
    assert astuple(taken.timings) == after
    assert (taken.ttfb, taken.latency) == (ttfb, latency)


def test_a_suspension_within_a_stall_is_not_subtracted_twice() -> None:
    suspensions = Suspensions()
    suspensions.record(1.0, 3.0, 0.0)
    wire = Wire()
    wire.sent, wire.first_byte = 4.0, 5.0
    wire.stall, wire.stalls = 2.5, ((0.5, 3.0),)
    result = responded(timings=Timings(wait=1.0, download=1.0), ttfb=2.5, latency=3.5)
    assert suspensions.subtract_from(result.attempt, [wire], 0.0, 5.0, 6.0) == result.attempt
