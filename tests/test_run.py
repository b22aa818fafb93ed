"""One pass over a list into sinks: its summary, its progress and its endings."""

import asyncio
import errno
import gc
import itertools
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from listings import Listed
from samples import (
    Gate,
    failed,
    indices,
    invalid,
    largest_file,
    many,
    on,
    responded,
    run,
    settle,
    summary,
    target,
)
from sinks import FULL, GONE, Broken, Kept, Valve

from crawler.app.collect import Collector, Fetching
from crawler.app.run import GATHER, Observer, Pass
from crawler.core.exitcode import ExitCode, exit_code
from crawler.core.summary import CrawlStats, Snapshot, Summary
from crawler.core.urllist import ListError, UrlList
from crawler.engine.fetch import Fetch, Fetcher
from crawler.inputs.entries import SourceReader
from crawler.inputs.sources import open_source
from crawler.models import Check, ErrorKind, Limits, Result, Target
from crawler.report import jsondocument, jsonl
from crawler.report.sinks import DocumentSink, LineSink, Sink
from crawler.report.streams import open_file


class Bench:
    """A pass with its sinks."""

    def __init__(
        self,
        fetch: Fetch,
        entries: Iterable[Target | Result] | AsyncGenerator[Target | Result, None],
        *sinks: Sink,
        share_read: float | None = 1.0,
        watch: Callable[[Snapshot], None] | None = None,
        **limits: int,
    ) -> None:
        self.kept = Kept()
        limits.setdefault("retries", 0)
        listing = Listed(entries, share_read)
        bounds = Limits(**limits)  # type: ignore[arg-type]  # all ints
        self.single = Pass(
            listing,
            Collector(listing, Fetching(fetch=fetch), bounds, gather=GATHER),
            [self.kept, *sinks],
            observer=Observer(show=watch),
        )

    async def whole(self) -> Summary:
        await self.single.collect()
        return await self.finish()

    async def finish(self) -> Summary:
        self.ended = await self.single.conclude()
        return self.ended.summary


# Ending


def test_a_pass_gives_the_sinks_the_summary_that_it_returns() -> None:
    def respond(of: Target) -> Result:
        return failed(ErrorKind.RESET, of) if of.index == 2 else responded(of)

    async def body() -> None:
        entries: list[Target | Result] = [*many(5), invalid(target(5, host=""))]
        bench = Bench(Gate(shut=False, respond=respond), entries)
        ending = await bench.whole()
        assert indices(bench.kept.checks) == list(range(6))
        assert bench.kept.summaries == [ending]
        assert ending == summary(*bench.kept.checks, stats=ending.stats)
        assert (ending.total, ending.passed, ending.failed, ending.invalid) == (6, 4, 1, 1)

    run(body())


def test_a_pass_that_reaches_the_end_is_complete() -> None:
    async def body() -> None:
        ending = await Bench(Gate(shut=False), many(3)).whole()
        assert ending.stats == CrawlStats(elapsed=ending.stats.elapsed, duplicates=7)
        assert ending.stats.elapsed > 0
        assert ending.complete

    run(body())


def test_an_interrupted_pass_writes_finished_checks_and_counts_the_rest() -> None:
    async def body() -> None:
        gate = Gate()
        bench = Bench(gate, many(20), share_read=0.5, max=4)
        collecting = asyncio.create_task(bench.single.collect())
        gate.release(*many(3))
        await settle()
        bench.single.interrupt(signal.SIGINT)
        await collecting
        ending = await bench.finish()
        assert (ending.passed, ending.unreached, ending.total) == (3, 17, 20)
        expected = CrawlStats(
            elapsed=ending.stats.elapsed, duplicates=7, interrupted=signal.SIGINT, list_read=False
        )
        assert ending.stats == expected
        assert bench.kept.summaries == [ending]
        assert indices(bench.kept.checks) == list(range(20))

    run(body())


def test_a_list_error_is_kept_and_the_entries_before_it_are_checked() -> None:
    async def body() -> None:
        broken = ListError("urls.txt, line 4: is binary or UTF-16, not UTF-8 text")

        async def entries() -> AsyncGenerator[Target | Result, None]:
            for one in many(3):
                yield one
            raise broken

        bench = Bench(Gate(shut=False), entries(), share_read=None)
        ending = await bench.whole()
        assert bench.single.list_error is broken
        assert (ending.passed, ending.stats.list_failed, ending.stats.list_read) == (3, True, False)
        assert bench.kept.summaries == [ending]

    run(body())


def test_an_unexpected_exception_in_the_list_is_kept_and_makes_the_exit_code_2() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Target | Result, None]:
            yield on("a")
            raise ZeroDivisionError

        bench = Bench(Gate(shut=False), entries())
        ending = await bench.whole()
        assert isinstance(bench.single.fault, ZeroDivisionError)
        assert bench.ended.fault is bench.single.fault
        assert indices(bench.kept.checks) == [0]
        assert (ending.complete, exit_code(ending)) == (False, ExitCode.USAGE)

    run(body())


def test_a_broken_output_is_in_the_summary_of_the_others() -> None:
    async def body() -> None:
        bench = Bench(Gate(shut=False), many(5), Broken(FULL))
        ending = await bench.whole()
        assert ending.stats.output_failed
        assert bench.kept.summaries == [ending]
        assert bench.ended.failed_outputs == {"broken": FULL}
        assert indices(bench.kept.checks) == list(range(5))

    run(body())


def test_an_output_that_breaks_at_the_very_end_is_in_the_returned_summary() -> None:
    async def body() -> None:
        ending = await Bench(Gate(shut=False), many(5), Broken(FULL, after=-1)).whole()
        assert ending.stats.output_failed

    run(body())


def test_a_closed_pipe_ends_the_pass_early() -> None:
    async def body() -> None:
        endless = (on(f"host{index}.example", index) for index in itertools.count())
        bench = Bench(Gate(shut=False), endless, Broken(GONE, after=1), share_read=None)
        ending = await bench.whole()
        assert not ending.stats.output_failed
        assert ending.stats.interrupted is None
        assert indices(bench.kept.checks) == list(range(ending.total))
        assert ending.unreached > 0

    run(body())


def test_a_pass_with_a_blocked_output_can_be_interrupted() -> None:
    async def body() -> None:
        valve = Valve()
        bench = Bench(Gate(shut=False), many(50), valve, max=2)
        collecting = asyncio.create_task(bench.single.collect())
        await asyncio.to_thread(valve.reached.wait, 30)
        bench.single.interrupt(signal.SIGINT)
        await collecting
        await bench.finish()
        assert list(bench.ended.failed_outputs) == [valve.name]
        valve.opened.set()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(body())


def test_a_slow_sink_slows_the_pass_but_is_not_part_of_any_latency() -> None:
    """The clock advances a quarter of a second in each fetch, and an hour in the sink."""
    now = 0.0
    started = 0

    def clock() -> float:
        return now

    async def respond(request: httpx.Request) -> httpx.Response:
        nonlocal now, started
        started += 1
        now += 0.25
        return httpx.Response(200)

    async def body() -> None:
        nonlocal now
        valve = Valve()
        fetch = Fetcher(httpx.MockTransport(respond), Limits(), clock=clock)
        bench = Bench(fetch, many(100), valve, max=2)
        collecting = asyncio.create_task(bench.single.collect())
        await asyncio.to_thread(valve.reached.wait, 30)
        await settle(1000)
        assert started < 20
        now += 3600
        valve.opened.set()
        await collecting
        assert started == 100
        assert {one.result.attempt.latency for one in bench.kept.checks} == {0.25}
        assert valve.checks == bench.kept.checks

    run(body())


def test_a_record_is_written_within_a_fifth_of_a_second(tmp_path: Path) -> None:
    """Even if others stay in flight, so that no batch is ever full."""

    async def body() -> None:
        loop = asyncio.get_running_loop()
        path = tmp_path / "out.jsonl"
        gate = Gate()
        bench = Bench(gate, many(20), LineSink(open_file(str(path), whole=False), jsonl.line))
        collecting = asyncio.create_task(bench.single.collect())
        for count, one in enumerate(many(10), 1):
            gate.release(one)
            end = loop.time() + 0.2
            while (written := path.read_bytes()).count(b"\n") < count:
                assert loop.time() < end
                await asyncio.sleep(0.001)
            assert written.endswith(b"\n")
        gate.open()
        await collecting

    run(body())


class Interrupting(Kept):
    """A sink that interrupts the pass at the first check."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self.interrupt: Callable[[], None] = self.loop.stop

    def write(self, check: Check) -> None:
        super().write(check)
        self.loop.call_soon_threadsafe(self.interrupt)


def test_a_list_left_in_the_middle_of_a_chunk_is_not_complete(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_text("ftp://x\n" * 3000)

    async def body() -> None:
        inputs = SourceReader([open_source(str(path), None)], UrlList())
        sink = Interrupting()
        running = Pass(
            inputs, Collector(inputs, Fetching(fetch=Gate()), Limits(max=2), gather=GATHER), [sink]
        )
        sink.interrupt = lambda: running.interrupt(signal.SIGINT)
        await running.collect()
        ending = (await running.conclude()).summary
        assert indices(sink.checks) == list(range(ending.total))
        assert ending.total < 3000
        assert (ending.stats.list_read, ending.complete) == (False, False)

    run(body())


def test_a_broken_document_leaves_no_file_behind(tmp_path: Path) -> None:
    async def body() -> None:
        document = DocumentSink(open_file(str(tmp_path / "report.json"), whole=True), jsondocument)
        with largest_file(1000):
            bench = Bench(Gate(shut=False), many(50), document)
            ending = await bench.whole()
        assert ending.passed == 50
        ((name, error),) = bench.ended.failed_outputs.items()
        assert (name, error.errno) == (str(tmp_path / "report.json"), errno.EFBIG)

    run(body())
    assert list(tmp_path.iterdir()) == []


def watched(share: float | None) -> Snapshot:
    """Return the snapshot with 8 entries read: 4 passed, 1 failed, 1 invalid, 2 in flight."""

    def respond(of: Target) -> Result:
        return failed(ErrorKind.RESET, of) if of.index == 4 else responded(of)

    async def body() -> Snapshot:
        seen: list[Snapshot] = []
        shown = asyncio.Event()
        loop = asyncio.get_running_loop()

        def watch(snapshot: Snapshot) -> None:
            seen.append(snapshot)
            if snapshot.done == 6:
                loop.call_soon_threadsafe(shown.set)

        gate = Gate(respond=respond)
        entries: list[Target | Result] = [*many(7), invalid(target(7, host=""))]
        bench = Bench(gate, entries, share_read=share, watch=watch)
        gate.release(*many(5))
        collecting = asyncio.create_task(bench.single.collect())
        await shown.wait()
        gate.open()
        await collecting
        return seen[-1] if seen[-1].done == 6 else next(one for one in seen if one.done == 6)

    return run(body())


# Progress


@pytest.mark.parametrize(
    ("share", "total", "estimated"),
    [(1.0, 8, False), (0.1, 80, True), (None, None, True), (0.0, None, True)],
    ids=["known", "estimated", "unknown", "nothing read"],
)
def test_a_snapshot_shows_the_progress_of_the_pass(
    share: float | None, total: int | None, estimated: bool
) -> None:
    seen = watched(share)
    assert seen == Snapshot(
        elapsed=seen.elapsed,
        done=6,
        passed=4,
        failed=2,
        in_flight=2,
        total=total,
        estimated=estimated,
    )
    assert seen.elapsed > 0


def test_a_blocked_terminal_does_not_delay_the_pass() -> None:
    async def body() -> None:
        unblocked = threading.Event()

        def watch(snapshot: Snapshot) -> None:
            unblocked.wait(30)

        ending = await Bench(Gate(shut=False), many(100), watch=watch).whole()
        assert (ending.passed, unblocked.is_set()) == (100, False)
        unblocked.set()

    run(body())


def test_a_broken_terminal_costs_nothing_but_the_progress() -> None:
    async def body() -> None:
        complaints: list[dict[str, Any]] = []
        shown = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: complaints.append(context))

        def watch(snapshot: Snapshot) -> None:
            loop.call_soon_threadsafe(shown.set)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        gate = Gate()
        bench = Bench(gate, many(3), watch=watch)
        collecting = asyncio.create_task(bench.single.collect())
        await shown.wait()
        await settle()
        gate.open()
        await collecting
        assert (await bench.finish()).passed == 3
        del bench, collecting
        gc.collect()
        assert complaints == []

    run(body())
