"""Checks to every sink: threads, blocking, stalled readers, broken outputs."""

import asyncio
import errno
import itertools
import threading
from time import perf_counter

import pytest
from samples import check, many, responded, run, settle, summary
from sinks import FULL, GONE, Broken, Kept, Valve

from crawler.core.summary import Summary
from crawler.models import Check
from crawler.report.broadcast import Broadcast
from crawler.report.sinks import Sink

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
def test_with_a_broken_sink_the_others_get_every_check(after: int, place: int) -> None:
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


def test_a_broken_sink_is_dropped() -> None:
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


def test_a_reader_that_closes_its_pipe_stops_the_run_without_a_failure() -> None:
    async def body() -> None:
        good = Kept()
        outputs, stop = broadcast(Broken(GONE), good)
        await outputs.publish(CHECKS)
        assert (stop.is_set(), outputs.failed) == (True, {})
        await outputs.publish(CHECKS)
        await outputs.finish_all(summary())
        assert (len(good.checks), len(good.summaries)) == (10, 1)

    run(body())


def test_a_run_is_stopped_once_all_its_outputs_are_broken() -> None:
    async def body() -> None:
        outputs, stop = broadcast(Broken(FULL, 0, "one"), Broken(FULL, 2, "two"))
        await outputs.publish(CHECKS[:1])
        assert not stop.is_set()
        await outputs.publish(CHECKS[1:])
        assert stop.is_set()
        assert outputs.failed == {"one": FULL, "two": FULL}

    run(body())


def test_a_run_without_outputs_continues() -> None:
    async def body() -> None:
        outputs, stop = broadcast()
        await outputs.publish(CHECKS)
        assert not stop.is_set()

    run(body())


def test_each_sink_writes_in_a_thread_of_its_own() -> None:
    class Threaded(Kept):
        def write(self, check: Check) -> None:
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


def test_publishing_waits_for_the_slowest_sink() -> None:
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


class SlowEncoder(Kept):
    """A sink that encodes a check in 0.1 ms by the clock, once it has `burst` of them."""

    def __init__(self, name: str, clock: "ManualClock", burst: int) -> None:
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


class ManualClock:
    """A clock that is set by hand, and records the time of each turn of the event loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turns: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def record_turns(self) -> None:
        while True:
            self.turns.append(self.now)
            await asyncio.sleep(0)


@pytest.mark.parametrize("burst", [1, 250], ids=["one by one", "all at once"])
@pytest.mark.parametrize("count", [1, 4], ids=["one output", "four outputs"])
def test_encoding_blocks_the_event_loop_for_less_than_a_millisecond(count: int, burst: int) -> None:
    async def body() -> None:
        clock = ManualClock()
        sinks = [SlowEncoder(str(number), clock, burst) for number in range(count)]
        outputs = Broadcast(sinks, asyncio.Event(), clock=clock)
        checks = [check(responded(one)) for one in many(250)]
        recording = asyncio.create_task(clock.record_turns())
        await outputs.publish(checks)
        recording.cancel()
        assert [sink.checks for sink in sinks] == [checks] * count
        clock.turns = [0.0, *clock.turns, clock.now]
        steps = [after - before for before, after in itertools.pairwise(clock.turns)]
        assert sum(steps) == pytest.approx(0.025 * count)
        assert max(steps) < 0.001

    run(body())


def test_time_spent_encoding_is_deducted_from_the_time_for_writing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        clock = ManualClock()
        loop = asyncio.get_running_loop()
        valve = Valve()

        class Late(Kept):
            def accept(self, check: Check) -> None:
                clock.now += 30.0

        outputs = Broadcast([valve, Late("late")], asyncio.Event(), clock=clock)
        loop.call_soon(valve.opened.set)
        start = loop.time()
        await outputs.publish(CHECKS[:1])
        assert loop.time() - start < 10.0

    monkeypatch.setattr("crawler.report.broadcast._BLOCK_LIMIT", 30.0)
    monkeypatch.setattr("crawler.report.broadcast._ENCODE_LIMIT", 60.0)
    run(body())


def test_a_fast_sink_costs_no_turn_of_the_event_loop(
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
    )  # no thread is starved for that long
    run(body())


def test_a_slow_sink_blocks_the_loop_for_one_batch_in_fifty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        loop = asyncio.get_running_loop()
        valve = Valve()
        outputs, _ = broadcast(valve)
        start = loop.time()
        for one in CHECKS * 20:
            valve.opened.clear()
            loop.call_soon(valve.opened.set)  # this needs a turn of the loop
            await outputs.publish([one])
            if len(valve.checks) == 51:
                break
        assert 0.3 <= loop.time() - start < 7.0

    monkeypatch.setattr("crawler.report.broadcast._BLOCK_LIMIT", 0.3)
    run(body())


def test_a_stalled_sink_is_abandoned_after_a_stop() -> None:
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


def test_with_a_stalled_sink_the_others_get_every_check() -> None:
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


@pytest.mark.parametrize("computes", [True, False], ids=["a sink that computes", "a slow reader"])
def test_a_slow_sink_is_not_abandoned_after_a_stop(computes: bool) -> None:
    """Each write takes longer than the stall limit: the sink computes, or little is read."""

    async def body() -> None:
        valve = Valve()
        stop = asyncio.Event()
        stop.set()
        taken = itertools.count()
        outputs = Broadcast([valve], stop, lambda _name: None if computes else next(taken))
        writing = asyncio.create_task(outputs.publish(CHECKS))
        await asyncio.to_thread(valve.reached.wait, 30)
        await asyncio.sleep(1.0)
        assert not writing.done()
        valve.opened.set()
        await writing
        assert (valve.checks, outputs.failed) == (CHECKS, {})

    run(body())


@pytest.mark.parametrize("computes", [True, False], ids=["a sink that computes", "a slow reader"])
def test_after_a_stop_all_batches_share_one_time_limit(computes: bool) -> None:
    """The clock runs ten times as fast."""

    async def body() -> None:
        valve = Valve()
        stop = asyncio.Event()
        stop.set()
        taken = itertools.count()
        start = perf_counter()
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
        assert 0.7 < perf_counter() - start < 5.0
        assert "within 8 s" in str(outputs.failed[valve.name])
        valve.opened.set()

    run(body())


def test_a_sink_that_blocks_briefly_is_not_abandoned_after_a_stop() -> None:
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
