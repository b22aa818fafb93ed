"""Targets -> results: each exactly once, within the bounds, also if a run ends early."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from clocks import FakeClock
from samples import (
    Gate,
    failed,
    invalid,
    listed,
    on,
    responded,
    run,
    settle,
    target,
)

from crawler.engine import intake
from crawler.engine.fetch import Fetch
from crawler.engine.schedule import Scheduler
from crawler.models import Attempt, ErrorKind, Limits, Outcome, Result, Target


class Bench:
    """A crawl whose results end in a list."""

    def __init__(
        self,
        fetch: Fetch,
        *,
        clock: FakeClock | None = None,
        fetch_fresh: Fetch | None = None,
        **limits: Any,
    ) -> None:
        self.results: list[Result] = []
        self.stop = asyncio.Event()
        self.scheduler = Scheduler(
            fetch,
            Limits(**limits),
            self.emit,
            self.stop,
            clock=clock,
            fetch_fresh=fetch_fresh,
        )

    async def emit(self, results: Sequence[Result]) -> None:
        self.results.extend(results)

    @property
    def outcomes(self) -> dict[int, Outcome]:
        assert len({result.target.index for result in self.results}) == len(self.results)
        return {result.target.index: result.outcome for result in self.results}


def many(count: int, hosts: int = 1) -> list[Target]:
    return [on(f"host{index % hosts}.example", index) for index in range(count)]


def test_every_target_gives_exactly_one_result() -> None:
    async def body() -> None:
        bench = Bench(Gate(shut=False))
        await bench.scheduler.run(listed(many(500, hosts=7)))
        assert bench.outcomes == dict.fromkeys(range(500), Outcome.RESPONDED)

    run(body())


def test_an_empty_list_gives_no_result() -> None:
    async def body() -> None:
        bench = Bench(Gate())
        await bench.scheduler.run(listed([]))
        assert bench.results == []

    run(body())


def test_no_more_than_max_are_fetched_at_once() -> None:
    async def body() -> None:
        gate = Gate(shut=False, turns=50)
        await Bench(gate, max=4, per_host=100).scheduler.run(listed(many(100, hosts=3)))
        assert gate.most == 4

    run(body())


def test_no_more_than_per_host_are_fetched_at_once_from_a_host() -> None:
    async def body() -> None:
        gate = Gate(shut=False, turns=50)
        await Bench(gate, max=100, per_host=3).scheduler.run(listed(many(100, hosts=2)))
        assert (gate.most_on_a_host, gate.most) == (3, 6)

    run(body())


def most_tasks(count: int) -> int:
    async def body() -> int:
        gate = Gate(shut=False, turns=50)
        bench = Bench(gate, max=5, per_host=5, window=10)
        await bench.scheduler.run(listed(many(count, hosts=50)))
        return gate.most_tasks

    return run(body())


def test_the_number_of_tasks_does_not_grow_with_the_list() -> None:
    assert most_tasks(1000) == most_tasks(50)


def test_a_host_that_does_not_respond_does_not_hold_up_the_others() -> None:
    async def body() -> None:
        stuck = [on("stuck.example", index) for index in range(20)]
        good = [on("good.example", index) for index in range(20, 40)]
        gate = Gate()
        bench = Bench(gate, max=5, per_host=2)
        crawl = asyncio.create_task(bench.scheduler.run(listed(stuck + good)))
        gate.release(*good)
        await settle()
        assert sorted(bench.outcomes) == [one.index for one in good]
        gate.open()
        await crawl
        assert sorted(bench.outcomes) == list(range(40))

    run(body())


def test_the_window_bounds_how_far_the_list_is_read_ahead() -> None:
    async def body() -> None:
        gate = Gate()
        bench = Bench(gate, max=2, per_host=2, window=30)
        crawl = asyncio.create_task(bench.scheduler.run(listed(many(500, hosts=50))))
        await settle()
        # A target that waits for a slot has left the window.
        assert 30 <= bench.scheduler.read <= 30 + 2 + 1
        gate.open()
        await crawl
        assert sorted(bench.outcomes) == list(range(500))

    run(body())


def test_reading_continues_when_a_slow_host_that_fills_the_window_responds() -> None:
    async def body() -> None:
        gate = Gate()
        bench = Bench(gate, max=5, per_host=1, window=3)
        crawl = asyncio.create_task(bench.scheduler.run(listed(many(20))))
        await settle()
        assert len(gate.started) == 1
        gate.open()
        await crawl
        assert sorted(bench.outcomes) == list(range(20))

    run(body())


def test_reading_continues_when_a_waiting_request_is_cancelled() -> None:
    async def body() -> None:
        clock = FakeClock(0.0)
        gate = Gate()

        async def entries() -> AsyncGenerator[Target | Result, None]:
            for one in many(21):
                yield one
            await slow.wait()
            for index in range(21, 30):
                yield on("other.example", index)

        async def never(of: Target, _gate: object = None) -> Attempt:
            raise AssertionError("no slot is free")

        slow = asyncio.Event()
        bench = Bench(gate, clock=clock, fetch_fresh=never, per_host=1, window=1, hedge_budget=1.0)
        crawl = asyncio.create_task(bench.scheduler.run(entries()))
        gate.release(*many(20))
        await clock.advance(60)  # the last one is slow, but its host has no slot for a hedge
        slow.set()
        await clock.advance(60)
        gate.open()
        await clock.advance(60)
        try:
            assert crawl.done()
        finally:
            bench.stop.set()
            await crawl
        assert bench.outcomes == dict.fromkeys(range(30), Outcome.RESPONDED)

    run(body())


def test_an_endless_list_starts_at_once() -> None:
    async def body() -> None:
        read_before: list[int] = []

        async def fetch(of: Target, _gate: object = None) -> Attempt:
            read_before.append(bench.scheduler.read)
            return responded(of).attempt

        bench = Bench(fetch)
        endless = (on(f"host{index}.example", index) for index in itertools.count())
        crawl = asyncio.create_task(bench.scheduler.run(listed(endless)))
        await settle()
        assert read_before[0] < 200
        bench.stop.set()
        await crawl

    run(body())


def test_a_target_starts_before_the_next_line_is_read() -> None:
    async def body() -> None:
        more = asyncio.Event()

        async def entries() -> AsyncGenerator[Target | Result, None]:
            yield on("a", 0)
            await more.wait()
            yield on("b", 1)

        bench = Bench(Gate(shut=False))
        crawl = asyncio.create_task(bench.scheduler.run(entries()))
        await settle()
        assert bench.outcomes == {0: Outcome.RESPONDED}
        more.set()
        await crawl
        assert bench.outcomes == dict.fromkeys(range(2), Outcome.RESPONDED)

    run(body())


def test_an_invalid_entry_is_emitted_and_not_fetched() -> None:
    async def body() -> None:
        gate = Gate(shut=False)
        bench = Bench(gate)
        bad = invalid(target(1, url="ftp://host.example/", host=""))
        await bench.scheduler.run(listed([on("a", 0), bad, on("a", 2)]))
        assert [one.index for one in gate.started] == [0, 2]
        assert [result for result in bench.results if result.target.index == 1] == [bad]
        assert len(bench.results) == 3

    run(body())


def test_a_result_is_emitted_with_its_queue_time() -> None:
    async def body() -> None:
        bench = Bench(Gate(shut=False, respond=lambda of: responded(of, queue=None)))
        await bench.scheduler.run(listed([on("a")]))
        (result,) = bench.results
        assert result.queue is not None
        assert result.queue >= 0
        assert result == responded(on("a"), queue=result.queue)

    run(body())


def test_a_wait_for_a_slot_is_queue_time() -> None:
    async def body() -> None:
        clock = FakeClock(0.0)
        gate = Gate()
        bench = Bench(gate, clock=clock, max=1)
        crawl = asyncio.create_task(bench.scheduler.run(listed([on("a", 0), on("b", 1)])))
        await clock.advance(3.5)
        gate.open()
        await crawl
        assert [result.queue for result in bench.results] == [0.0, 3.5]

    run(body())


@pytest.mark.parametrize("limits", [{"rate": 0.25}, {"host_rate": 0.25}], ids=["rate", "host rate"])
def test_a_wait_for_the_rate_is_queue_time(limits: dict[str, Any]) -> None:
    async def body() -> None:
        clock = FakeClock(0.0)
        bench = Bench(Gate(shut=False), clock=clock, **limits)
        crawl = asyncio.create_task(bench.scheduler.run(listed(many(3))))
        await clock.advance(10)
        await crawl
        assert [result.queue for result in bench.results] == [0.0, 4.0, 8.0]

    run(body())


@pytest.mark.parametrize(
    "fault", [RuntimeError("out of cheese"), KeyError("key"), ExceptionGroup("all", [OSError("a")])]
)
def test_a_fetch_that_raises_gives_an_internal_error_and_affects_no_other_target(
    fault: Exception,
) -> None:
    def respond(of: Target) -> Result:
        if of.index == 1:
            raise fault
        return responded(of)

    async def body() -> None:
        bench = Bench(Gate(shut=False, respond=respond), max=1, retries=0)
        await bench.scheduler.run(listed(many(3)))
        assert [result.outcome for result in bench.results] == [
            Outcome.RESPONDED,
            Outcome.ERROR,
            Outcome.RESPONDED,
        ]
        error = bench.results[1].attempt.error
        assert error is not None
        assert error.kind is ErrorKind.INTERNAL
        assert str(fault) in error.detail

    run(body())


def test_the_detail_of_an_exception_without_a_message_is_more_than_its_class_name() -> None:
    def respond(of: Target) -> Result:
        raise RuntimeError

    async def body() -> None:
        bench = Bench(Gate(shut=False, respond=respond), retries=0)
        await bench.scheduler.run(listed([on("a")]))
        error = bench.results[0].attempt.error
        assert error is not None
        assert not error.detail.strip().endswith(("RuntimeError", ":"))

    run(body())


def test_a_fetch_that_cancels_itself_holds_up_no_other_target() -> None:
    def respond(of: Target) -> Result:
        if of.index == 0:
            raise asyncio.CancelledError
        return responded(of)

    async def body() -> None:
        bench = Bench(Gate(shut=False, respond=respond), max=1, retries=0)
        crawl = asyncio.create_task(bench.scheduler.run(listed(many(3))))
        await settle()
        try:
            assert crawl.done()
        finally:
            bench.stop.set()
            await crawl
        assert bench.outcomes == {0: Outcome.ERROR, 1: Outcome.RESPONDED, 2: Outcome.RESPONDED}

    run(body())


def test_an_error_of_the_list_is_raised_after_the_results_before_it() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Target | Result, None]:
            for one in many(20):
                yield one
            raise LookupError("line 21")

        bench = Bench(Gate(shut=False), max=2)
        with pytest.raises(LookupError, match="line 21"):
            await bench.scheduler.run(entries())
        assert bench.outcomes == dict.fromkeys(range(20), Outcome.RESPONDED)

    run(body())


def test_an_error_of_the_list_before_a_stop_is_raised_too() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Target | Result, None]:
            yield on("a")
            raise LookupError("line 2")

        bench = Bench(Gate())
        crawl = asyncio.create_task(bench.scheduler.run(entries()))
        await settle()
        bench.stop.set()
        with pytest.raises(LookupError, match="line 2"):
            await crawl
        assert bench.outcomes == {0: Outcome.UNREACHED}

    run(body())


@pytest.mark.parametrize("window", [1, 100], ids=["with a line in hand", "waiting for a line"])
def test_a_stop_closes_the_list(window: int) -> None:
    async def body() -> None:
        closed = False

        async def entries() -> AsyncGenerator[Target | Result, None]:
            nonlocal closed
            try:
                for one in many(5):
                    yield one
                await asyncio.Event().wait()
            finally:
                closed = True

        bench = Bench(Gate(), max=1, window=window)
        crawl = asyncio.create_task(bench.scheduler.run(entries()))
        await settle()
        bench.stop.set()
        await crawl
        assert closed

    run(body())


def test_a_stop_before_the_start_completes_no_fetch() -> None:
    async def body() -> None:
        bench = Bench(Gate())
        bench.stop.set()
        await bench.scheduler.run(listed(many(5)))
        assert bench.outcomes == dict.fromkeys(range(bench.scheduler.read), Outcome.UNREACHED)

    run(body())


def test_targets_left_unreached_by_a_stop_were_never_requested() -> None:
    async def body() -> None:
        bench = Bench(Gate())
        crawl = asyncio.create_task(bench.scheduler.run(listed(many(3))))
        await settle()
        bench.stop.set()
        await crawl
        expected = [Result(target=one, outcome=Outcome.UNREACHED) for one in many(3)]
        assert bench.results == expected

    run(body())


def test_nothing_is_in_flight_after_a_stop() -> None:
    async def body() -> None:
        bench = Bench(Gate())
        crawl = asyncio.create_task(bench.scheduler.run(listed(many(3))))
        await settle()
        assert bench.scheduler.in_flight == 3
        bench.stop.set()
        await crawl
        assert bench.scheduler.in_flight == 0

    run(body())


async def stopped_after(turns: int) -> bool:
    """Check a crawl that is stopped after `turns` turns of the loop, unless it ends before.

    Return whether it was stopped.
    """
    gate = Gate(shut=False)
    results: asyncio.Queue[Result] = asyncio.Queue(1)
    stop = asyncio.Event()

    async def emit(finished: Sequence[Result]) -> None:
        for result in finished:
            await results.put(result)

    scheduler = Scheduler(gate, Limits(max=3, per_host=2, window=4), emit, stop)
    entries: dict[int, Target | Result] = {one.index: one for one in many(40, hosts=4)}
    entries |= {index: invalid(target(index, host="")) for index in range(5, 40, 7)}
    taken: list[Result] = []

    async def take() -> None:
        while True:
            taken.append(await results.get())

    taking = asyncio.create_task(take())
    crawl = asyncio.create_task(scheduler.run(listed(entries.values())))
    await settle(turns)
    early = not crawl.done()
    stop.set()
    await crawl
    await settle()
    taking.cancel()
    outcomes = {result.target.index: result.outcome for result in taken}
    finished = {one.index for one in gate.finished}
    expected = {
        index: Outcome.INVALID
        if isinstance(entries[index], Result)
        else Outcome.RESPONDED
        if index in finished
        else Outcome.UNREACHED
        for index in range(scheduler.read)
    }
    assert (len(taken), outcomes) == (scheduler.read, expected), turns
    assert asyncio.all_tasks() == {asyncio.current_task(), taking}
    return early


def test_a_stop_at_any_moment_leaves_each_entry_read_with_one_result() -> None:
    async def body() -> None:
        turns = 0
        while await stopped_after(turns):
            turns += 1
        assert turns > 20

    run(body())


def test_results_that_are_not_consumed_stop_new_requests() -> None:
    async def body() -> None:
        gate = Gate(shut=False)
        taken = asyncio.Event()

        async def emit(results: Sequence[Result]) -> None:
            await taken.wait()

        scheduler = Scheduler(gate, Limits(max=4), emit, asyncio.Event())
        crawl = asyncio.create_task(scheduler.run(listed(many(100, hosts=10))))
        await settle()
        assert len(gate.started) == 4
        taken.set()
        await crawl
        assert len(gate.started) == 100

    run(body())


def test_a_cancelled_crawl_leaves_no_task() -> None:
    async def body() -> None:
        crawl = asyncio.create_task(Bench(Gate()).scheduler.run(listed(many(50, hosts=5))))
        await settle()
        crawl.cancel()
        with pytest.raises(asyncio.CancelledError):
            await crawl
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(body())


def test_an_error_is_a_result_like_any_other() -> None:
    async def body() -> None:
        bench = Bench(Gate(shut=False, respond=lambda of: failed(ErrorKind.RESET, of)), retries=0)
        await bench.scheduler.run(listed(many(3)))
        assert bench.outcomes == dict.fromkeys(range(3), Outcome.ERROR)

    run(body())


# Pace


def sends_retry_after(seconds: float, of: Target) -> Result:
    """Return the response of a host whose first URL sends a Retry-After."""
    if of.index == 0:
        return responded(of, status=429, retry_after=seconds)
    return responded(of)


def test_the_rate_spaces_the_starts_on_all_hosts() -> None:
    async def body() -> None:
        clock = FakeClock(0.0)
        gate = Gate(shut=False)
        bench = Bench(gate, clock=clock, rate=4.0)
        crawl = asyncio.create_task(bench.scheduler.run(listed(many(9, hosts=9))))
        counts = []
        for _ in range(9):
            await clock.advance(0.0)
            counts.append(len(gate.started))
            await clock.advance(0.25)
        await crawl
        assert counts == list(range(1, 10))

    run(body())


def test_the_host_rate_spaces_the_starts_on_each_host() -> None:
    async def body() -> None:
        clock = FakeClock(0.0)
        gate = Gate(shut=False)
        bench = Bench(gate, clock=clock, host_rate=4.0)
        crawl = asyncio.create_task(bench.scheduler.run(listed(many(9, hosts=3))))
        counts = []
        for _ in range(3):
            await clock.advance(0.0)
            counts.append(len(gate.started))
            await clock.advance(0.25)
        await crawl
        assert counts == [3, 6, 9]

    run(body())


def test_all_urls_of_a_host_wait_for_its_retry_after_and_others_do_not() -> None:
    async def body() -> None:
        clock = FakeClock(0.0)
        gate = Gate(shut=False, respond=lambda of: sends_retry_after(2.0, of))
        bench = Bench(gate, clock=clock, per_host=1, retries=0)
        entries = [*(on("a", index) for index in range(5)), *many(60, hosts=5)[5:]]
        crawl = asyncio.create_task(bench.scheduler.run(listed(entries)))
        await clock.advance(1.9)
        assert set(bench.outcomes) == {0, *range(5, 60)}
        await clock.advance(0.2)
        await crawl
        assert bench.outcomes == dict.fromkeys(range(60), Outcome.RESPONDED)

    run(body())


def test_a_retry_after_beyond_max_wait_is_not_honoured() -> None:
    async def body() -> None:
        clock = FakeClock(0.0)
        gate = Gate(shut=False, respond=lambda of: sends_retry_after(61.0, of))
        bench = Bench(gate, clock=clock, per_host=1, max_wait=60.0)
        await bench.scheduler.run(listed(many(3)))
        assert bench.outcomes == dict.fromkeys(range(3), Outcome.RESPONDED)
        assert clock.now == 0.0

    run(body())


def test_a_host_that_throttles_gets_half_its_slots_and_others_keep_all() -> None:
    async def body() -> None:
        clock = FakeClock(0.0)
        gate = Gate()
        bench = Bench(gate, clock=clock, max=100, per_host=8, retries=0)
        slow = [on("slow.example", index) for index in range(30)]
        good = [on("good.example", index) for index in range(30, 60)]
        gate.respond = lambda of: responded(of, status=503 if of in slow[:8] else 200)
        crawl = asyncio.create_task(bench.scheduler.run(listed(slow + good)))
        await settle()
        assert gate.live == {"slow.example": 8, "good.example": 8}
        clock.now += 1
        gate.release(*slow[:8])
        await settle()
        assert gate.live == {"slow.example": 4, "good.example": 8}
        gate.open()
        await crawl
        assert bench.outcomes == dict.fromkeys(range(60), Outcome.RESPONDED)

    run(body())


def test_a_host_has_no_more_slots_than_max() -> None:
    """With 100 for each host and 8 in all, the first decrease leaves 4, not 50."""

    async def body() -> None:
        clock = FakeClock(0.0)
        gate = Gate()
        bench = Bench(gate, clock=clock, max=8, per_host=100, retries=0)
        entries = many(30)
        gate.respond = lambda of: responded(of, status=503 if of in entries[:8] else 200)
        crawl = asyncio.create_task(bench.scheduler.run(listed(entries)))
        await settle()
        clock.now += 1
        gate.release(*entries[:8])
        await settle()
        assert gate.live.total() == 4
        gate.open()
        await crawl

    run(body())


WAITS: dict[str, dict[str, Any]] = {
    "the rate": {"rate": 0.001},
    "the host's rate": {"host_rate": 0.001},
    "a Retry-After": {"per_host": 1, "retries": 0},
}


@pytest.mark.parametrize("limits", WAITS.values(), ids=WAITS)
def test_a_stop_does_not_wait_for_rates_or_pauses(limits: dict[str, Any]) -> None:
    async def body() -> None:
        clock = FakeClock(0.0)
        gate = Gate(shut=False, respond=lambda of: sends_retry_after(50.0, of))
        bench = Bench(gate, clock=clock, **limits)
        crawl = asyncio.create_task(bench.scheduler.run(listed(many(5))))
        await clock.advance(1)
        bench.stop.set()
        await crawl
        expected = {0: Outcome.RESPONDED} | dict.fromkeys(range(1, 5), Outcome.UNREACHED)
        assert bench.outcomes == expected
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert clock.next is None

    run(body())


@pytest.mark.parametrize("limits", WAITS.values(), ids=WAITS)
def test_the_scheduler_does_not_poll_while_it_waits_for_rates_or_pauses(
    limits: dict[str, Any],
) -> None:
    async def body() -> None:
        clock = FakeClock(0.0)
        gate = Gate(shut=False, respond=lambda of: sends_retry_after(50.0, of))
        bench = Bench(gate, clock=clock, **limits)
        crawl = asyncio.create_task(bench.scheduler.run(listed(many(5))))
        await clock.advance(1)
        assert clock.next is not None
        assert clock.next >= 50
        bench.stop.set()
        await crawl

    run(body())


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        ({}, 0.0),
        ({"rate": 4.0}, 25.0),
        ({"host_rate": 4.0}, 2.5),
        ({"rate": 40.0, "host_rate": 4.0}, 2.5),
        ({"rate": 4.0, "host_rate": 4.0}, 25.0),
    ],
)
def test_the_rates_give_the_least_time_for_a_list(limits: dict[str, Any], seconds: float) -> None:
    async def body() -> None:
        clock = FakeClock(0.0)
        bench = Bench(Gate(), clock=clock, max=1, **limits)
        crawl = asyncio.create_task(bench.scheduler.run(listed(many(21, hosts=2))))
        await settle()
        assert bench.scheduler.least_seconds(101) == pytest.approx(seconds)
        bench.stop.set()
        await crawl

    run(body())


def test_a_list_without_a_known_end_is_read_for_a_few_seconds_past_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "_STALLED", 0.05)
    monkeypatch.setattr(intake, "_ENDLESS", 0.2)

    async def body() -> None:
        async def entries() -> AsyncGenerator[Target | Result, None]:
            for index in itertools.count():
                yield on(f"host{index % 50}", index)

        async def emit(results: Sequence[Result]) -> None:
            for result in results:
                emitted.append(result.target.index)

        emitted: list[int] = []
        scheduler = Scheduler(
            Gate(),
            Limits(deadline=0.05),
            emit,
            asyncio.Event(),
        )
        await scheduler.run(entries(), has_end=lambda: False)
        assert sorted(emitted) == list(range(scheduler.read))

    run(body())
