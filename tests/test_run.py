"""One crawl from list to sinks: fan-in, broadcast, back-pressure, and every way to end."""

import asyncio
import errno
import gc
import itertools
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import pytest
from samples import (
    Gate,
    check,
    failed,
    invalid,
    largest_file,
    listed,
    on,
    responded,
    run,
    settle,
    summary,
    target,
)

from crawler.app.collect import Collector, Fetching
from crawler.app.run import GATHER, Observer, Pass
from crawler.core.summary import CrawlStats, ExitCode, Snapshot, Summary, exit_code
from crawler.core.urllist import ListError, UrlList
from crawler.engine.fetch import Fetch, Fetcher
from crawler.inputs.entries import SourceReader
from crawler.inputs.sources import open_source
from crawler.models import (
    Check,
    ErrorKind,
    Limits,
    Result,
    Target,
    Verdict,
)
from crawler.report import jsondocument
from crawler.report.broadcast import Broadcast
from crawler.report.sinks import DocumentSink, Sink
from crawler.report.streams import open_file


def many(count: int, hosts: int = 10) -> list[Target]:
    return [on(f"host{index % hosts}.example", index) for index in range(count)]


def indices(checks: Iterable[Check]) -> list[int]:
    return sorted(one.result.target.index for one in checks)


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self, name: str = "kept") -> None:
        self.name = name
        self.checks: list[Check] = []
        self.summaries: list[Summary] = []
        self._waiting: list[Check] = []

    def accept(self, check: Check) -> None:
        self._waiting.append(check)

    def accept_deferred(self) -> bool:
        return False

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self.put(one)

    def put(self, check: Check) -> None:
        self.checks.append(check)

    def finish(self, summary: Summary) -> None:
        self.summaries.append(summary)


class Broken(Kept):
    """A sink whose output takes so many checks and then breaks; -1 means at the end."""

    def __init__(self, error: OSError, after: int = 0, name: str = "broken") -> None:
        super().__init__(name)
        self.error = error
        self.after = after

    def put(self, check: Check) -> None:
        if len(self.checks) == self.after:
            raise self.error
        super().put(check)

    def finish(self, summary: Summary) -> None:
        raise self.error


class Valve(Kept):
    """A sink that blocks, with the first check in its hands, until it is opened."""

    def __init__(self) -> None:
        super().__init__("valve")
        self.opened = threading.Event()
        self.reached = threading.Event()

    def put(self, check: Check) -> None:
        self.reached.set()
        assert self.opened.wait(30)
        super().put(check)


FULL = OSError(errno.ENOSPC, "No space left on device")
GONE = BrokenPipeError(errno.EPIPE, "Broken pipe")


# Collector


class Listed:
    """A listing of what is given, of which `share` has been read."""

    def __init__(
        self,
        given: Iterable[Target | Result] | AsyncGenerator[Target | Result, None],
        share: float | None = 1.0,
    ) -> None:
        self._given = given
        self._share = share
        self.duplicates = 7

    def entries(self) -> AsyncGenerator[Target | Result, None]:
        return listed(self._given) if isinstance(self._given, Iterable) else self._given

    def has_end(self) -> bool:
        return self._share is not None

    def bytes_read(self) -> int:
        return 0

    def share_read(self) -> float | None:
        return self._share


def collector(
    fetch: Fetch,
    entries: Iterable[Target | Result] | AsyncGenerator[Target | Result, None],
    **limits: int,
) -> Collector:
    bounds = Limits(**limits)  # type: ignore[arg-type]  # all ints
    return Collector(Listed(entries), Fetching(fetch=fetch), bounds)


async def collected(of: Collector) -> list[Check]:
    return [one async for checks in of.batches() for one in checks]


def test_every_entry_becomes_one_check() -> None:
    async def body() -> None:
        entries: list[Target | Result] = [*many(300)]
        entries[7] = bad = invalid(target(7, url="ftp://host.example/", host=""))
        checks = await collected(collector(Gate(shut=False), entries))
        assert indices(checks) == list(range(300))
        assert [one for one in checks if one.ok is False] == [check(bad)]

    run(body())


def test_a_check_is_a_result_and_the_verdict_on_it() -> None:
    async def body() -> None:
        gate = Gate(shut=False, answer=lambda of: responded(of, status=404))
        (only,) = await collected(collector(gate, [on("a")]))
        queue = only.result.queue
        reasons = ("status 404 is not in 200-399",)
        result = responded(on("a"), status=404, queue=queue)
        assert only == Check(result=result, verdict=Verdict(reasons=reasons))

    run(body())


def test_an_empty_list_gives_no_batch() -> None:
    async def body() -> None:
        assert [batch async for batch in collector(Gate(), []).batches()] == []

    run(body())


def test_no_batch_is_empty_or_larger_than_five_hundred() -> None:
    async def body() -> None:
        crawl = collector(Gate(shut=False), many(1200, hosts=300), max=300)
        sizes = []
        async for batch in crawl.batches():
            sizes.append(len(batch))
            await settle(50)  # so that many results come in one piece
        assert (sum(sizes), min(sizes) > 0, max(sizes)) == (1200, True, 500)

    run(body())


def test_a_consumer_that_takes_nothing_bounds_the_fetches() -> None:
    async def body() -> None:
        gate = Gate(shut=False)
        async with aclosing(collector(gate, many(1000), max=5).batches()) as batches:
            taken = len(await anext(batches))
            await settle(1000)
            # In hand, in the queue of twice `max`, and waiting for a place in it.
            assert taken + 10 <= len(gate.started) <= taken + 10 + 5
            rest = [len(batch) async for batch in batches]
            assert taken + sum(rest) == 1000

    run(body())


def test_results_come_while_others_are_under_way() -> None:
    async def body() -> None:
        first, second = on("a", 0), on("b", 1)
        gate = Gate()
        async with aclosing(collector(gate, [first, second]).batches()) as batches:
            gate.answer(second)
            assert indices(await anext(batches)) == [1]
            gate.answer(first)
            assert indices(await anext(batches)) == [0]

    run(body())


def test_leaving_early_leaves_nothing_running() -> None:
    async def body() -> None:
        gate = Gate()
        async with aclosing(collector(gate, many(100)).batches()) as batches:
            await settle()
            gate.answer(*many(1))
            await anext(batches)
        assert (asyncio.all_tasks(), gate.live.total()) == ({asyncio.current_task()}, 0)

    run(body())


def test_a_consumer_that_raises_leaves_nothing_running() -> None:
    async def consume() -> None:
        async with aclosing(collector(Gate(shut=False), many(100)).batches()) as batches:
            await anext(batches)
            raise ZeroDivisionError

    async def body() -> None:
        with pytest.raises(ZeroDivisionError):
            await consume()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(body())


def test_a_cancelled_consumer_leaves_nothing_running() -> None:
    async def body() -> None:
        collecting = asyncio.create_task(collected(collector(Gate(), many(100))))
        await settle()
        collecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await collecting
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(body())


def test_a_list_that_breaks_raises_after_the_last_check() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Target | Result, None]:
            for one in many(30):
                yield one
            raise ListError("urls.txt, line 31: is binary or UTF-16, not UTF-8 text")

        checks: list[Check] = []

        async def collect() -> None:
            async for batch in collector(Gate(shut=False), entries(), max=3).batches():
                checks.extend(batch)

        with pytest.raises(ListError, match="line 31"):
            await collect()
        assert indices(checks) == list(range(30))

    run(body())


def test_a_stop_ends_the_batches_with_the_unreached() -> None:
    async def body() -> None:
        gate = Gate()
        crawl = collector(gate, many(20), max=5)
        checks: list[Check] = []
        gate.answer(*many(3))
        async for batch in crawl.batches():
            checks += batch
            if len(checks) == 3:
                crawl.stop.set()
        assert indices(checks) == list(range(20))
        assert indices(one for one in checks if one.ok) == [0, 1, 2]
        assert indices(one for one in checks if one.ok is None) == list(range(3, 20))

    run(body())


def test_a_stop_at_any_moment_gives_each_entry_read_one_check() -> None:
    async def stopped_after(turns: int) -> bool:
        crawl = collector(Gate(shut=False), many(30, hosts=3), max=2, per_host=1, window=4)
        collecting = asyncio.create_task(collected(crawl))
        await settle(turns)
        early = not collecting.done()
        crawl.stop.set()
        assert indices(await collecting) == list(range(crawl.scheduler.read)), turns
        return early

    async def body() -> None:
        turns = 0
        while await stopped_after(turns):
            turns += 1
        assert turns > 20

    run(body())


# Broadcast

CHECKS = [check(responded(one)) for one in many(5)]


def broadcast(*sinks: Sink) -> tuple[Broadcast, asyncio.Event]:
    stop = asyncio.Event()
    return Broadcast(sinks, stop), stop


def test_every_sink_gets_every_check_and_the_summary() -> None:
    async def body() -> None:
        sinks = [Kept("one"), Kept("two")]
        outputs, stop = broadcast(*sinks)
        await outputs.publish(CHECKS[:2])
        await outputs.publish(CHECKS[2:])
        end = summary(*CHECKS)
        await outputs.finish_all(end)
        assert [(sink.checks, sink.summaries) for sink in sinks] == [(CHECKS, [end])] * 2
        assert (outputs.failed, stop.is_set()) == ({}, False)

    run(body())


@pytest.mark.parametrize("after", [0, 3], ids=["at once", "in the middle"])
@pytest.mark.parametrize("place", [0, 1], ids=["first", "last"])
def test_a_broken_sink_costs_the_others_no_check(after: int, place: int) -> None:
    async def body() -> None:
        broken, good = Broken(FULL, after), Kept()
        outputs, stop = broadcast(*((broken, good) if place == 0 else (good, broken)))
        await outputs.publish(CHECKS)
        await outputs.finish_all(summary())
        assert (good.checks, good.summaries) == (CHECKS, [summary()])
        assert broken.checks == CHECKS[:after]
        assert outputs.failed == {"broken": FULL}
        assert not stop.is_set()

    run(body())


def test_a_broken_sink_is_asked_nothing_more() -> None:
    async def body() -> None:
        broken = Broken(FULL, after=1)
        outputs, _ = broadcast(broken, Kept())
        await outputs.publish(CHECKS)
        broken.error = OSError(errno.EIO, "Input/output error")
        await outputs.publish(CHECKS)
        await outputs.finish_all(summary())
        assert (broken.checks, outputs.failed) == (CHECKS[:1], {"broken": FULL})

    run(body())


def test_a_sink_that_breaks_at_the_end_has_failed() -> None:
    async def body() -> None:
        good = Kept()
        outputs, _ = broadcast(Broken(FULL, after=-1), good)
        await outputs.publish(CHECKS)
        await outputs.finish_all(summary())
        assert outputs.failed == {"broken": FULL}
        assert good.summaries == [summary()]

    run(body())


def test_a_reader_that_goes_away_stops_the_crawl_and_is_no_failure() -> None:
    async def body() -> None:
        good = Kept()
        outputs, stop = broadcast(Broken(GONE), good)
        await outputs.publish(CHECKS)
        assert (stop.is_set(), outputs.failed) == (True, {})
        await outputs.publish(CHECKS)
        await outputs.finish_all(summary())
        assert (len(good.checks), len(good.summaries)) == (10, 1)

    run(body())


def test_a_crawl_whose_outputs_are_all_broken_is_stopped() -> None:
    async def body() -> None:
        outputs, stop = broadcast(Broken(FULL, 0, "one"), Broken(FULL, 2, "two"))
        await outputs.publish(CHECKS[:1])
        assert not stop.is_set()
        await outputs.publish(CHECKS[1:])
        assert stop.is_set()
        assert outputs.failed == {"one": FULL, "two": FULL}

    run(body())


def test_a_crawl_without_outputs_goes_on() -> None:
    async def body() -> None:
        outputs, stop = broadcast()
        await outputs.publish(CHECKS)
        assert not stop.is_set()

    run(body())


def test_each_sink_writes_in_one_thread_that_is_not_the_loop_s() -> None:
    class Threaded(Kept):
        def put(self, check: Check) -> None:
            threads.add((self.name, threading.get_ident()))

        def finish(self, summary: Summary) -> None:
            threads.add((self.name, threading.get_ident()))

    async def body() -> None:
        outputs, _ = broadcast(Threaded("one"), Threaded("two"))
        await outputs.publish(CHECKS[:2])
        await outputs.publish(CHECKS[2:])
        await outputs.finish_all(summary())

    threads: set[tuple[str, int]] = set()
    run(body())
    assert sorted(name for name, _ in threads) == ["one", "two"]
    assert threading.get_ident() not in {ident for _, ident in threads}


def test_a_write_returns_when_the_slowest_sink_has_it() -> None:
    async def body() -> None:
        valve, good = Valve(), Kept()
        outputs, _ = broadcast(valve, good)
        writing = asyncio.create_task(outputs.publish(CHECKS))
        await asyncio.to_thread(valve.reached.wait, 30)
        await settle()
        assert not writing.done()
        valve.opened.set()
        await writing
        assert (valve.checks, good.checks) == (CHECKS, CHECKS)

    run(body())


class Costly(Kept):
    """A sink that takes 0.1 ms of a clock for each check; `burst` of them are due at once."""

    def __init__(self, name: str, clock: "Watch", burst: int) -> None:
        super().__init__(name)
        self._clock = clock
        self._left: list[Check] = []
        self._burst = burst

    def accept(self, check: Check) -> None:
        self._left.append(check)
        if len(self._left) == self._burst:
            self._burst = 0
            self.accept_deferred()

    def accept_deferred(self) -> bool:
        if self._burst or not self._left:
            return False
        self._clock.now += 0.0001
        super().accept(self._left.pop(0))
        return True


class Watch:
    """A clock that is set by hand, and what it showed at each turn of the event loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turns: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def look(self) -> None:
        while True:
            self.turns.append(self.now)
            await asyncio.sleep(0)


@pytest.mark.parametrize("burst", [1, 250], ids=["one by one", "all at once"])
@pytest.mark.parametrize("count", [1, 4], ids=["one output", "four outputs"])
def test_the_event_loop_stands_still_for_all_encoding_for_less_than_a_millisecond(
    count: int, burst: int
) -> None:
    async def body() -> None:
        watch = Watch()
        sinks = [Costly(str(number), watch, burst) for number in range(count)]
        outputs = Broadcast(sinks, asyncio.Event(), clock=watch)
        checks = [check(responded(one)) for one in many(250)]
        looking = asyncio.create_task(watch.look())
        await outputs.publish(checks)
        looking.cancel()
        assert [sink.checks for sink in sinks] == [checks] * count
        watch.turns = [0.0, *watch.turns, watch.now]
        steps = [after - before for before, after in itertools.pairwise(watch.turns)]
        assert sum(steps) == pytest.approx(0.025 * count)
        assert max(steps) < 0.001

    run(body())


def test_what_encoding_took_is_taken_off_the_time_for_writing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        watch = Watch()
        loop = asyncio.get_running_loop()
        valve = Valve()

        class Late(Kept):
            def accept(self, check: Check) -> None:
                watch.now += 30.0

        outputs = Broadcast([valve, Late("late")], asyncio.Event(), clock=watch)
        loop.call_soon(valve.opened.set)
        begun = loop.time()
        await outputs.publish(CHECKS[:1])
        assert loop.time() - begun < 10.0

    monkeypatch.setattr("crawler.report.broadcast._BLOCK_LIMIT", 30.0)
    monkeypatch.setattr("crawler.report.broadcast._ENCODE_LIMIT", 60.0)
    run(body())


def test_a_sink_that_takes_what_it_gets_at_once_costs_no_turn_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        turns: list[None] = []
        kept = Kept()
        outputs = Broadcast([kept], asyncio.Event(), clock=lambda: 0.0)
        asyncio.get_running_loop().call_soon(turns.append, None)
        await outputs.publish(CHECKS)
        assert (kept.checks, turns) == (CHECKS, [])

    monkeypatch.setattr(
        "crawler.report.broadcast._BLOCK_LIMIT", 30
    )  # no thread is starved for so long
    run(body())


def test_a_sink_that_does_not_take_it_at_once_makes_the_loop_stand_still_once_in_fifty_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        valve = Valve()
        outputs, _ = broadcast(valve)
        begun = loop.time()
        for one in CHECKS * 20:
            valve.opened.clear()
            loop.call_soon(valve.opened.set)  # the loop has to have its turn for that
            await outputs.publish([one])
            if len(valve.checks) == 51:
                break
        assert 0.3 <= loop.time() - begun < 7.0

    monkeypatch.setattr("crawler.report.broadcast._BLOCK_LIMIT", 0.3)
    run(body())


def test_a_sink_that_takes_nothing_after_a_stop_is_given_up() -> None:
    async def body() -> None:
        valve = Valve()
        outputs, stop = broadcast(valve)
        writing = asyncio.create_task(outputs.publish(CHECKS))
        await asyncio.to_thread(valve.reached.wait, 30)
        stop.set()
        await writing
        assert list(outputs.failed) == [valve.name]
        valve.opened.set()

    run(body())


def test_a_sink_that_takes_nothing_costs_the_others_nothing() -> None:
    async def body() -> None:
        valve, good = Valve(), Kept("good")
        outputs, stop = broadcast(valve, good)
        writing = asyncio.create_task(outputs.publish(CHECKS))
        await asyncio.to_thread(valve.reached.wait, 30)
        stop.set()
        await writing
        await outputs.publish(CHECKS)
        await outputs.finish_all(summary())
        assert good.checks == CHECKS + CHECKS
        assert len(good.summaries) == 1
        valve.opened.set()

    run(body())


def test_a_sink_that_is_only_slow_is_waited_for_after_a_stop() -> None:
    async def body() -> None:
        valve = Valve()
        stop = asyncio.Event()
        stop.set()
        outputs = Broadcast([valve], stop, lambda _name: None)
        writing = asyncio.create_task(outputs.publish(CHECKS))
        await asyncio.to_thread(valve.reached.wait, 30)
        await asyncio.sleep(1.0)  # more than a sink is given that is stuck
        assert not writing.done()
        valve.opened.set()
        await writing
        assert (valve.checks, outputs.failed) == (CHECKS, {})

    run(body())


def test_a_sink_whose_reader_moves_is_waited_for_after_a_stop() -> None:
    """Less than a line comes through at a time, so that each write takes longer than the grace."""

    async def body() -> None:
        valve = Valve()
        stop = asyncio.Event()
        stop.set()
        taken = itertools.count()
        outputs = Broadcast([valve], stop, lambda _name: next(taken))
        writing = asyncio.create_task(outputs.publish(CHECKS))
        await asyncio.to_thread(valve.reached.wait, 30)
        await asyncio.sleep(1.0)
        assert not writing.done()
        valve.opened.set()
        await writing
        assert (valve.checks, outputs.failed) == (CHECKS, {})

    run(body())


@pytest.mark.parametrize("computes", [True, False], ids=["a sink that computes", "a slow reader"])
def test_after_a_stop_all_writing_together_is_bounded(computes: bool) -> None:
    """The clock runs ten times as fast; the limit is for all batches, not for each."""

    async def body() -> None:
        valve = Valve()
        stop = asyncio.Event()
        stop.set()
        taken = itertools.count()
        begun = perf_counter()
        outputs = Broadcast(
            [valve],
            stop,
            lambda _name: None if computes else next(taken),
            clock=lambda: 10 * perf_counter(),
        )
        for _ in range(2):
            writing = asyncio.create_task(outputs.publish(CHECKS))
            await asyncio.to_thread(valve.reached.wait, 30)
            await asyncio.sleep(0.3)
            assert not writing.done()
            valve.opened.set()
            await writing
            valve.reached.clear()
            valve.opened.clear()
        await outputs.publish(CHECKS)
        assert 0.7 < perf_counter() - begun < 5.0
        assert "within 8 s" in str(outputs.failed[valve.name])
        valve.opened.set()

    run(body())


def test_a_sink_that_blocks_for_a_moment_after_a_stop_is_waited_for() -> None:
    async def body() -> None:
        valve = Valve()
        outputs, stop = broadcast(valve)
        stop.set()
        writing = asyncio.create_task(outputs.publish(CHECKS))
        await asyncio.to_thread(valve.reached.wait, 30)
        valve.opened.set()
        await writing
        assert valve.checks == CHECKS

    run(body())


# Run


class Bench:
    """A run with its sinks, and what it showed on the way."""

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
        self.run = Pass(
            listing,
            Collector(listing, Fetching(fetch=fetch), bounds, gather=GATHER),
            [self.kept, *sinks],
            observer=Observer(show=watch),
        )

    async def whole(self) -> Summary:
        await self.run.collect()
        return await self.finish()

    async def finish(self) -> Summary:
        self.ended = await self.run.conclude()
        return self.ended.summary


def test_a_run_gives_the_sinks_what_it_returns() -> None:
    def answer(of: Target) -> Result:
        return failed(ErrorKind.RESET, of) if of.index == 2 else responded(of)

    async def body() -> None:
        entries: list[Target | Result] = [*many(5), invalid(target(5, host=""))]
        bench = Bench(Gate(shut=False, answer=answer), entries)
        told = await bench.whole()
        assert indices(bench.kept.checks) == list(range(6))
        assert bench.kept.summaries == [told]
        assert told == summary(*bench.kept.checks, stats=told.stats)
        assert (told.total, told.passed, told.failed, told.invalid) == (6, 4, 1, 1)

    run(body())


def test_a_run_to_the_end_is_told_of_as_such() -> None:
    async def body() -> None:
        told = await Bench(Gate(shut=False), many(3)).whole()
        assert told.stats == CrawlStats(elapsed=told.stats.elapsed, duplicates=7)
        assert told.stats.elapsed > 0
        assert told.complete

    run(body())


def test_an_interrupted_run_writes_what_is_finished_and_counts_the_rest() -> None:
    async def body() -> None:
        gate = Gate()
        bench = Bench(gate, many(20), share_read=0.5, max=4)
        collecting = asyncio.create_task(bench.run.collect())
        gate.answer(*many(3))
        await settle()
        bench.run.interrupt(signal.SIGINT)
        await collecting
        told = await bench.finish()
        assert (told.passed, told.unreached, told.total) == (3, 17, 20)
        expected = CrawlStats(
            elapsed=told.stats.elapsed, duplicates=7, interrupted=signal.SIGINT, list_read=False
        )
        assert told.stats == expected
        assert bench.kept.summaries == [told]
        assert indices(bench.kept.checks) == list(range(20))

    run(body())


def test_a_list_that_turns_out_to_be_none_is_told_of_after_the_rest() -> None:
    async def body() -> None:
        broken = ListError("urls.txt, line 4: is binary or UTF-16, not UTF-8 text")

        async def entries() -> AsyncGenerator[Target | Result, None]:
            for one in many(3):
                yield one
            raise broken

        bench = Bench(Gate(shut=False), entries(), share_read=None)
        told = await bench.whole()
        assert bench.run.list_error is broken
        assert (told.passed, told.stats.list_failed, told.stats.list_read) == (3, True, False)
        assert bench.kept.summaries == [told]

    run(body())


def test_a_fault_in_the_list_is_kept_and_ends_the_run_with_exit_code_2() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Target | Result, None]:
            yield on("a")
            raise ZeroDivisionError

        bench = Bench(Gate(shut=False), entries())
        told = await bench.whole()
        assert isinstance(bench.run.fault, ZeroDivisionError)
        assert bench.ended.fault is bench.run.fault
        assert indices(bench.kept.checks) == [0]
        assert (told.complete, exit_code(told)) == (False, ExitCode.USAGE)

    run(body())


def test_an_output_that_breaks_is_in_the_summary_of_the_others() -> None:
    async def body() -> None:
        bench = Bench(Gate(shut=False), many(5), Broken(FULL))
        told = await bench.whole()
        assert told.stats.output_failed
        assert bench.kept.summaries == [told]
        assert bench.ended.failed_outputs == {"broken": FULL}
        assert indices(bench.kept.checks) == list(range(5))

    run(body())


def test_an_output_that_breaks_at_the_very_end_is_in_the_summary_that_is_returned() -> None:
    async def body() -> None:
        told = await Bench(Gate(shut=False), many(5), Broken(FULL, after=-1)).whole()
        assert told.stats.output_failed

    run(body())


def test_a_reader_that_goes_away_ends_the_run_early() -> None:
    async def body() -> None:
        endless = (on(f"host{index}.example", index) for index in itertools.count())
        bench = Bench(Gate(shut=False), endless, Broken(GONE, after=1), share_read=None)
        told = await bench.whole()
        assert not told.stats.output_failed
        assert told.stats.interrupted is None
        assert indices(bench.kept.checks) == list(range(told.total))
        assert told.unreached > 0

    run(body())


def test_a_run_whose_output_is_stuck_can_be_interrupted() -> None:
    async def body() -> None:
        valve = Valve()
        bench = Bench(Gate(shut=False), many(50), valve, max=2)
        collecting = asyncio.create_task(bench.run.collect())
        await asyncio.to_thread(valve.reached.wait, 30)
        bench.run.interrupt(signal.SIGINT)
        await collecting
        await bench.finish()
        assert list(bench.ended.failed_outputs) == [valve.name]
        valve.opened.set()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(body())


def test_a_slow_sink_slows_the_crawl_but_is_no_part_of_a_latency() -> None:
    """The clock of the fetches moves a quarter of a second in each, and an hour in the sink."""
    now = 0.0
    started = 0

    def clock() -> float:
        return now

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal now, started
        started += 1
        now += 0.25
        return httpx.Response(200)

    async def body() -> None:
        nonlocal now
        valve = Valve()
        fetch = Fetcher(httpx.MockTransport(answer), Limits(), clock=clock)
        bench = Bench(fetch, many(100), valve, max=2)
        collecting = asyncio.create_task(bench.run.collect())
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


class Interrupting(Kept):
    """A sink that calls for the end of the run with the first check it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self.interrupt: Callable[[], None] = self.loop.stop

    def put(self, check: Check) -> None:
        super().put(check)
        self.loop.call_soon_threadsafe(self.interrupt)


def test_a_list_that_was_left_in_the_middle_of_a_piece_is_not_complete(tmp_path: Path) -> None:
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
        told = (await running.conclude()).summary
        assert indices(sink.checks) == list(range(told.total))
        assert told.total < 3000
        assert (told.stats.list_read, told.complete) == (False, False)

    run(body())


def test_a_document_that_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    async def body() -> None:
        document = DocumentSink(open_file(str(tmp_path / "report.json"), whole=True), jsondocument)
        with largest_file(1000):
            bench = Bench(Gate(shut=False), many(50), document)
            told = await bench.whole()
        assert told.passed == 50
        ((name, error),) = bench.ended.failed_outputs.items()
        assert (name, error.errno) == (str(tmp_path / "report.json"), errno.EFBIG)

    run(body())
    assert list(tmp_path.iterdir()) == []


# Progress


def watched(share: float | None) -> Snapshot:
    """Return what is shown of a run: 8 lines read, 4 passed, 1 failed, 1 invalid, 2 in flight."""

    def answer(of: Target) -> Result:
        return failed(ErrorKind.RESET, of) if of.index == 4 else responded(of)

    async def body() -> Snapshot:
        seen: list[Snapshot] = []
        shown = asyncio.Event()
        loop = asyncio.get_running_loop()

        def watch(snapshot: Snapshot) -> None:
            seen.append(snapshot)
            if snapshot.done == 6:
                loop.call_soon_threadsafe(shown.set)

        gate = Gate(answer=answer)
        entries: list[Target | Result] = [*many(7), invalid(target(7, host=""))]
        bench = Bench(gate, entries, share_read=share, watch=watch)
        gate.answer(*many(5))
        collecting = asyncio.create_task(bench.run.collect())
        await shown.wait()
        gate.open()
        await collecting
        return seen[-1] if seen[-1].done == 6 else next(one for one in seen if one.done == 6)

    return run(body())


@pytest.mark.parametrize(
    ("share", "total", "estimated"),
    [(1.0, 8, False), (0.1, 80, True), (None, None, True), (0.0, None, True)],
    ids=["known", "estimated", "unknown", "nothing read"],
)
def test_the_progress_says_how_far_the_run_is(
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


def test_a_terminal_that_blocks_does_not_hold_up_the_crawl() -> None:
    async def body() -> None:
        unblocked = threading.Event()

        def watch(snapshot: Snapshot) -> None:
            unblocked.wait(30)

        told = await Bench(Gate(shut=False), many(100), watch=watch).whole()
        assert (told.passed, unblocked.is_set()) == (100, False)
        unblocked.set()

    run(body())


def test_a_terminal_that_breaks_costs_nothing_but_the_progress() -> None:
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
        collecting = asyncio.create_task(bench.run.collect())
        await shown.wait()
        await settle()
        gate.open()
        await collecting
        assert (await bench.finish()).passed == 3
        del bench, collecting
        gc.collect()
        assert complaints == []

    run(body())
