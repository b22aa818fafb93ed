"""Each entry that was read gives one record, whatever ends the crawl and however slow its reader.

An emission takes a while here, so that the run ends in the middle of one.
"""

import asyncio
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench import WARM, Bench, Entry, hedging, many, warmed
from clocks import FakeClock, Step, error, quiet, scripted, status
from hypothesis import given
from hypothesis import strategies as st
from loopback import Server, reply, silent
from samples import NOON, invalid, on, run, steady, target
from shell import records, started, write

from crawler.core.urllist import UrlList
from crawler.engine import intake
from crawler.engine.schedule import Scheduler
from crawler.inputs.entries import SourceReader
from crawler.inputs.sources import open_source
from crawler.models import Attempt, ErrorKind, Limits, Outcome, Result

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
    "waiting for its host": (
        {"max": 2, "per_host": 1, "retries": 0},
        status(429, 0, retry_after=50.0),
        Outcome.UNREACHED,
    ),
}
"""Limits, the response to each request, and the outcome of most entries at the deadline."""


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
def test_a_deadline_with_a_slow_output_loses_no_result_even_if_a_stop_follows(
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
def test_a_stop_at_any_moment_after_the_deadline_duplicates_no_result(turns: int) -> None:
    async def body() -> None:
        clock = FakeClock()
        emitted: list[int] = []
        stop = asyncio.Event()

        async def emit(results: Sequence[Result]) -> None:
            for result in results:
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


def test_an_endless_pipe_with_a_slow_output_loses_no_result_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "_STALLED", 0.2)
    monkeypatch.setattr(intake, "_ENDLESS", 0.2)

    async def body() -> None:
        emitted: list[int] = []

        async def emit(results: Sequence[Result]) -> None:
            for result in results:
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
    """The reader of the JSON lines reads nothing before the signal."""
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
        async def emit(results: Sequence[Result]) -> None:
            for result in results:
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


# Whatever happens


STEPS = st.builds(
    lambda make, seconds, hosts: replace(make(seconds), hosts=hosts),
    st.sampled_from(
        [
            *(lambda seconds: status(200, seconds),) * 4,
            lambda seconds: status(404, seconds),
            lambda seconds: status(405, seconds),
            lambda seconds: status(503, seconds),
            lambda seconds: status(429, seconds, retry_after=3.0),
            lambda seconds: status(503, seconds, retry_after=500.0),
            lambda seconds: status(403, seconds, blocked_by="cloudflare"),
            lambda seconds: error(ErrorKind.RESET, seconds),
            lambda seconds: error(ErrorKind.TIMEOUT, seconds),
            lambda seconds: error(ErrorKind.DNS_NOT_FOUND, seconds),
        ]
    ),
    st.sampled_from([0.0, 0.05, 0.1, 0.1, 0.1, 1.0, 8.0]),
    st.sampled_from([(), (), (), ("a",), ("b", "a"), ("c",), ("b", "b", "c")]),
)


LIMITS = st.fixed_dictionaries(
    {
        "max": st.integers(1, 8),
        "per_host": st.integers(1, 8),
        "retries": st.integers(0, 3),
        "backoff": st.sampled_from([0.0, 0.5]),
        "rate": st.sampled_from([None, None, 20.0]),
        "host_rate": st.sampled_from([None, None, 5.0]),
        "confirm_after": st.sampled_from([None, 0.0, 5.0]),
        "deadline": st.sampled_from([None, None, None, 0.05, 1.0, 7.0]),
        "hedge_budget": st.sampled_from([0.0, 0.1, 1.0]),
        "head_first": st.booleans(),
        "window": st.sampled_from([1, 3, 5000]),
    }
)


def consistent(result: Result, bench: Bench) -> bool:
    """Whether a result agrees with the requests for its target."""
    requests = bench.web.of(result.target.index)
    if result.outcome is Outcome.INVALID:
        return requests == []
    if result.outcome is Outcome.UNREACHED:
        return result == Result(target=result.target, outcome=Outcome.UNREACHED)
    return (
        result.attempts == len(result.earlier) + 1
        and result.attempts <= len(requests)
        and result.timestamp == pytest.approx(NOON + requests[0].at, abs=1e-3)
        and (any(one.fresh for one in requests) or not result.hedged)
        and (result.attempts > 1 or not result.flaky)
    )


@steady
@given(
    st.lists(
        st.tuples(
            st.sampled_from("aaab-"),
            st.sampled_from(["GET", "GET", "HEAD", "POST"]),
            st.lists(STEPS, min_size=1, max_size=4),
            st.sampled_from([0.0, 0.0, 0.0, 0.3]),
        ),
        max_size=40,
    ),
    LIMITS,
    st.sampled_from([None, None, 0.0, 0.05, 0.1, 0.5, 2.0, 9.0]),
    st.sampled_from([0.0, 0.0, 0.05]),
    st.sampled_from([0.0, 0.5]),
    st.lists(st.floats(0, 1), min_size=1, max_size=5),
)
def test_each_entry_has_one_result_whatever_happens(
    plan: list[tuple[str, str, list[Step], float]],
    bounds: dict[str, Any],
    stop: float | None,
    taken: float,
    closing: float,
    chances: list[float],
) -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            for one in many(22, "a"):  # enough for a percentile
                yield one
            for index, (host, method, _, pause) in enumerate(plan, 22):
                if pause:
                    await bench.clock.sleep(pause)
                of = target(index, url=f"https://{host}/{index}", method=method)
                yield invalid(of) if host == "-" else of

        script = scripted({index: some for index, (_, _, some, _) in enumerate(plan, 22)})
        clock = FakeClock(*chances)
        bench = Bench(script, clock=clock, taken=taken, closing=closing, **bounds)
        crawl = bench.start(entries())
        if stop is not None:
            await clock.advance(stop)
            bench.stop.set()
        results = await bench.finish(crawl)
        assert stop is not None or len(results) == 22 + len(plan)
        wrong = [result for result in results.values() if not consistent(result, bench)]
        assert wrong == []
        if stop is None and bounds["deadline"] is None:
            assert not any(result.outcome is Outcome.UNREACHED for result in results.values())

    run(body())


@steady
@given(
    st.lists(st.lists(STEPS, min_size=1, max_size=4), min_size=1, max_size=12),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from([0.0, 0.5]),
)
def test_all_slots_are_free_again_whatever_happened(
    plan: list[list[Step]], most: int, retries: int, head_first: bool, closing: float
) -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            slow = [replace(on("a", WARM + index), method="HEAD") for index in range(len(plan))]
            async for one in warmed(bench.clock, *slow):
                yield one
            await bench.clock.sleep(10_000)
            for index in last:
                yield on(f"host{index}", index)

        last = range(WARM + len(plan), WARM + len(plan) + most)
        script = {WARM + index: some for index, some in enumerate(plan)}
        bounds = {"max": most, "retries": retries, "head_first": head_first}
        bench = hedging(script, closing=closing, **bounds)
        await bench.crawl(entries())
        assert len({bench.web.of(index)[0].at for index in last}) == 1

    run(body())


EVENTFUL: dict[int, Sequence[Step]] = {
    3: [error(), status(503), status()],
    7: [status(429, retry_after=2.0), status()],
    12: [status(404)],
    WARM: [status(200, 60), status(503, 1), status(200, 60), status(503), status(200)],
    WARM + 1: [error(seconds=1), error(seconds=3), status()],
    WARM + 2: [status(405), status()],
    WARM + 3: [status(200, hosts=("b", "a", "a"))],
    WARM + 4: [status(503, retry_after=3.0, hosts=("b",)), status(200, 60, hosts=("b", "b"))],
}


async def stopped_at(number: int) -> bool:
    """Check a crawl that is stopped after `number` events; return whether it was."""
    clock = FakeClock(0.5)
    bench = hedging(EVENTFUL, clock=clock, retries=1, confirm_after=5.0, head_first=True, max=6)
    rest = [replace(on("a", WARM + index), method="HEAD") for index in range(5)]
    crawl = bench.start(warmed(clock, *rest, pause=20.0))
    await quiet()
    for _ in range(number):
        if crawl.done() or clock.next is None:
            break
        await clock.advance(clock.next - clock.now)
    early = not crawl.done()
    bench.stop.set()
    results = await bench.finish(crawl)
    assert [one for one in results.values() if not consistent(one, bench)] == []
    for result in results.values():
        responded_to = any(one.responded_to for one in bench.web.of(result.target.index))
        assert responded_to or result.outcome is Outcome.UNREACHED
    return early


def test_a_stop_at_any_event_loses_nothing() -> None:
    async def body() -> None:
        number = 0
        while await stopped_at(number):
            number += 1
        assert number > 20

    run(body())
