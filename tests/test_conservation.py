"""Each entry that was read gives one record, whatever ends the crawl and however slow its reader.

An emission takes a while here, so that the end comes in the middle of one.
"""

import asyncio
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, Entry
from clocks import FakeClock, error, scripted, status
from loopback import Server, reply, silent
from samples import invalid, on, run, target
from shell import records, started, write

from crawler.core.urllist import UrlList
from crawler.engine import intake
from crawler.engine.schedule import Scheduler
from crawler.inputs.entries import SourceReader
from crawler.inputs.sources import open_source
from crawler.models import Attempt, Limits, Outcome, Result

HANGS = status(seconds=1e6)
FAILS = error(seconds=0)
ENTRIES = 120
EMITTED = 0.05  # seconds that an emission takes
DEADLINE = 20.0

SLOWLY: dict[str, tuple[dict[str, Any], Any, Outcome]] = {
    "waiting for a slot": ({"max": 2}, HANGS, Outcome.UNREACHED),
    "waiting for a retry": ({"backoff": 1e6, "max": 200, "per_host": 200}, FAILS, Outcome.ERROR),
    "waiting for a recheck": (
        {"confirm_after": 1e6, "retries": 0, "max": 200, "per_host": 200},
        FAILS,
        Outcome.ERROR,
    ),
    "held by its host": (
        {"max": 2, "per_host": 1, "retries": 0},
        status(429, 0, retry_after=50.0),
        Outcome.UNREACHED,
    ),
}
"""Limits, what each request comes to, and the outcome of nearly all entries at the deadline."""


def entries(count: int = ENTRIES) -> list[Entry]:
    return [
        invalid(target(index, host="")) if index % 10 == 9 else on("a", index)
        for index in range(count)
    ]


async def read_on(clock: FakeClock) -> AsyncGenerator[Entry, None]:
    """Yield entries, the last twenty of them only after the deadline."""
    for entry in entries():
        if entry == entries()[-20]:
            await clock.sleep(DEADLINE + 0.01 - clock.time())
        yield entry


@pytest.mark.parametrize("after", [None, 0.0, 0.01, 2.0, 4.02], ids=lambda s: f"stop after {s}")
@pytest.mark.parametrize("case", SLOWLY)
def test_a_deadline_loses_nothing_to_a_slow_reader_even_if_a_stop_follows(
    case: str, after: float | None
) -> None:
    async def body() -> None:
        limits, step, outcome = SLOWLY[case]
        bench = Bench(
            scripted({}, step), clock=FakeClock(1.0), taken=EMITTED, deadline=DEADLINE, **limits
        )
        crawl = bench.start(read_on(bench.clock))
        await bench.clock.advance(DEADLINE)
        if after is not None:
            await bench.clock.advance(after)
            bench.stop.set()
        results = await bench.finish(crawl)
        assert len(results) >= ENTRIES - 20
        found = Counter(result.outcome for result in results.values())
        assert found[Outcome.INVALID] >= (ENTRIES - 20) // 10
        assert found[outcome] >= 0.7 * len(results)

    run(body())


@pytest.mark.parametrize("turns", range(0, 40, 3))
def test_a_stop_at_any_turn_after_the_deadline_gives_no_record_twice(turns: int) -> None:
    async def body() -> None:
        clock = FakeClock()
        emitted: list[int] = []
        stop = asyncio.Event()

        async def emit(result: Result) -> None:
            for _ in range(3):
                await asyncio.sleep(0)
            emitted.append(result.target.index)

        async def listed() -> AsyncGenerator[Entry, None]:
            for entry in entries():
                if entry == entries()[-20]:
                    await clock.sleep(1.0)
                yield entry

        async def hangs(*_: object) -> Attempt:
            await asyncio.Event().wait()
            raise AssertionError

        scheduler = Scheduler(hangs, Limits(deadline=1.0), emit, stop, clock=clock)
        crawl = asyncio.create_task(scheduler.run(listed()))
        await clock.advance(0.5)
        clock.now = 1.0
        rest = asyncio.create_task(clock.advance(1.0))
        for _ in range(turns):
            await asyncio.sleep(0)
        stop.set()
        await crawl
        await rest
        assert sorted(emitted) == list(range(scheduler.read))

    run(body())


def test_an_endless_pipe_with_a_slow_reader_loses_nothing_when_its_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "_STALLED", 0.2)
    monkeypatch.setattr(intake, "_ENDLESS", 0.2)

    async def body() -> None:
        emitted: list[int] = []

        async def emit(result: Result) -> None:
            if result.outcome is Outcome.UNREACHED:
                await asyncio.sleep(0.002)
            emitted.append(result.target.index)

        async def listed() -> AsyncGenerator[Entry, None]:
            for entry in entries(400):
                yield entry
            await asyncio.sleep(0.1)
            yield on("a", 400)
            await asyncio.Event().wait()

        async def hangs(*_: object) -> Attempt:
            await asyncio.Event().wait()
            raise AssertionError

        limits = Limits(deadline=0.05)
        scheduler = Scheduler(hangs, limits, emit, asyncio.Event())
        await scheduler.run(listed(), has_end=lambda: False)
        assert scheduler.read == 401
        assert sorted(emitted) == list(range(401))

    run(body())


def test_an_interrupt_after_the_deadline_loses_no_record_and_no_failed_line(
    server: Server, tmp_path: Path
) -> None:
    """The reader of the JSON lines takes nothing until the signal was sent."""
    server.on("/hang", silent())
    server.on("/bad", reply(503))
    bad = [server.url(f"/bad?{number}") for number in range(200)]
    hang = [server.url(f"/hang?{number}") for number in range(5_500)]
    listed = write(tmp_path / "urls.txt", *bad, *hang)
    args = (
        "--jsonl",
        "--deadline",
        "1",
        "--max",
        "50",
        "--per-host",
        "50",
        "--backoff",
        "30",
        "--failed-to",
        "failed.txt",
    )
    with started(listed, *args, cwd=tmp_path) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    found = Counter(record["index"] for record in records(out))
    assert found == Counter(range(len(found)))
    assert len(found) > 5_000  # the window
    failed = (tmp_path / "failed.txt").read_text("utf-8").splitlines()
    assert sorted(line for line in failed if "?" in line) == sorted([*bad, *hang][: len(found)])


@pytest.mark.parametrize("rest", ["duplicates", "comments", "blank lines"])
def test_a_file_is_read_to_its_end_after_the_deadline_whatever_its_lines_are(
    rest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first and the last line of 12 MB give a record; most is read after the deadline."""
    monkeypatch.setattr(intake, "_STALLED", 0.2)
    lines = {"duplicates": "https://a/0", "comments": "# nothing", "blank lines": " " * 9}
    path = tmp_path / "urls.txt"
    path.write_text(f"https://a/0\n{(lines[rest] + chr(10)) * 1_200_000}https://a/1\n")

    async def body() -> None:
        async def emit(result: Result) -> None:
            emitted.append(result.target.url)

        async def hangs(*_: object) -> Attempt:
            await asyncio.Event().wait()
            raise AssertionError

        emitted: list[str] = []
        inputs = SourceReader([open_source(str(path), None)], UrlList())
        scheduler = Scheduler(hangs, Limits(deadline=0.05), emit, asyncio.Event())
        await scheduler.run(
            inputs.entries(),
            has_end=inputs.has_end,
            bytes_read=inputs.bytes_read,
        )
        assert sorted(emitted) == ["https://a/0", "https://a/1"]

    run(body())
