"""Which target may start, how many at once, and what becomes of each at the end."""

import asyncio
import gc
import itertools
import weakref
from collections import Counter, defaultdict, deque
from collections.abc import AsyncGenerator, Callable
from random import Random
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import Gate, failed, invalid, listed, on, responded, run, settle, steady, target

from crawler.engine.fetch import Fetch
from crawler.engine.schedule import Crawling, Lanes
from crawler.models import ErrorKind, FetchResult, Limits, Outcome, Target


def take_all(lanes: Lanes) -> list[Target]:
    return list(iter(lanes.take, None))


# Lanes


def test_a_busy_host_does_not_hold_up_the_others() -> None:
    a1, a2, b1 = on("a"), on("a"), on("b")
    lanes = Lanes([a1, a2, b1], per_host=1)
    assert [lanes.take() for _ in range(3)] == [a1, b1, None]


def test_hosts_take_turns() -> None:
    a1, a2, a3, b1, b2 = on("a", 1), on("a", 2), on("a", 3), on("b", 4), on("b", 5)
    assert take_all(Lanes([a1, a2, a3, b1, b2])) == [a1, b1, a2, b2, a3]


def test_a_host_that_comes_late_waits_for_one_turn_only() -> None:
    lanes = Lanes([on("a", index) for index in range(5)])
    lanes.take()
    lanes.add(on("b", 5))
    assert [lanes.take(), lanes.take()] == [on("a", 1), on("b", 5)]


def test_a_target_that_leaves_frees_its_place() -> None:
    a1, a2 = on("a", 1), on("a", 2)
    lanes = Lanes([a1, a2], per_host=1)
    assert [lanes.take(), lanes.take()] == [a1, None]
    lanes.leave(a1)
    assert [lanes.take(), lanes.take()] == [a2, None]


def test_a_target_that_leaves_frees_no_place_of_another_host() -> None:
    a1, a2, b1 = on("a", 1), on("a", 2), on("b", 3)
    lanes = Lanes([a1, b1, a2], per_host=1)
    assert take_all(lanes) == [a1, b1]
    lanes.leave(b1)
    assert lanes.take() is None


def test_a_full_host_gets_no_place_by_being_added_to() -> None:
    lanes = Lanes([on("a", 1)], per_host=1)
    lanes.take()
    lanes.add(on("a", 2))
    assert lanes.take() is None


def test_the_length_is_what_waits() -> None:
    lanes = Lanes([on("a", 1), on("b", 2), on("a", 3)])
    lanes.take()
    assert len(lanes) == 2


@pytest.mark.parametrize(
    ("waiting", "closed", "drained"),
    [(0, False, False), (1, False, False), (1, True, False), (0, True, True)],
    ids=["empty", "waiting", "closed, but waiting", "closed and empty"],
)
def test_drained_means_that_nothing_waits_or_will_come(
    waiting: int, closed: bool, drained: bool
) -> None:
    lanes = Lanes([on("a")] * waiting)
    if closed:
        lanes.close()
    assert lanes.drained is drained


def test_clear_takes_out_all_that_waits_in_input_order() -> None:
    lanes = Lanes([on("a", 0), on("a", 1), on("b", 2), on("a", 3), on("c", 4)])
    lanes.take()
    assert lanes.clear() == [on("a", 1), on("b", 2), on("a", 3), on("c", 4)]
    assert (len(lanes), lanes.take(), lanes.clear()) == (0, None, [])


@pytest.mark.parametrize(
    "change",
    [lambda lanes: lanes.add(on("a", 2)), lambda lanes: lanes.leave(on("a", 1)), Lanes.close],
    ids=["added", "left", "closed"],
)
def test_changed_waits_until_something_does(change: Callable[[Lanes], None]) -> None:
    async def body() -> None:
        lanes = Lanes([on("a", 1)])
        lanes.take()
        await lanes.changed()  # the first target
        waiting = asyncio.create_task(lanes.changed())
        await settle()
        assert not waiting.done()
        change(lanes)
        await waiting

    run(body())


class Host(str):
    """A host name that counts how often a table looks it up."""

    __slots__ = ("__weakref__",)
    looked_up = 0

    def __hash__(self) -> int:
        Host.looked_up += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        Host.looked_up += 1
        return super().__eq__(other)


def look_ups(hosts: int) -> int:
    """Return how often hosts are looked up in a hundred steps among so many."""
    names = [Host(f"host{number}.example") for number in range(hosts)]
    lanes = Lanes([target(index, host=name) for index, name in enumerate(names * 2)], per_host=1)
    before = Host.looked_up
    for index in range(100):
        taken = lanes.take()
        assert taken is not None
        lanes.leave(taken)
        lanes.add(target(2 * hosts + index, host=names[index]))
    return Host.looked_up - before


def test_a_step_costs_the_same_for_a_hundred_hosts_and_for_ten_thousand() -> None:
    assert look_ups(100) == pytest.approx(look_ups(10_000), rel=0.1)


def test_a_host_that_is_done_is_forgotten() -> None:
    hosts = [Host("a.example"), Host("b.example")]
    alive = [weakref.ref(host) for host in hosts]
    lanes = Lanes([target(index, host=host) for index, host in enumerate(hosts * 2)])
    for taken in take_all(lanes):
        lanes.leave(taken)
    del hosts, taken
    gc.collect()
    assert [ref() for ref in alive] == [None, None]


@steady
@given(st.lists(st.sampled_from("abc")))
def test_without_a_bound_hosts_are_served_round_robin(hosts: str) -> None:
    targets = [on(host, index) for index, host in enumerate(hosts)]
    lanes = defaultdict(list)
    for one in targets:
        lanes[one.host].append(one)
    rounds = itertools.zip_longest(*lanes.values())
    expected = [one for turn in rounds for one in turn if one is not None]
    assert take_all(Lanes(targets, per_host=1000)) == expected


@steady
@given(
    st.lists(st.sampled_from(["add a", "add b", "add c", "take", "take", "leave"]), max_size=100),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_each_target_is_handed_out_once_in_order_and_within_the_bound(
    steps: list[str], per_host: int, random: Random
) -> None:
    lanes = Lanes(per_host=per_host)
    waiting: dict[str, deque[Target]] = {host: deque() for host in "abc"}
    live: list[Target] = []
    numbers = itertools.count()

    def take() -> Target | None:
        held = Counter(one.host for one in live)
        free = [lane[0] for host, lane in waiting.items() if lane and held[host] < per_host]
        taken = lanes.take()
        if taken is None:
            assert free == []
        else:
            assert taken in free
            live.append(waiting[taken.host].popleft())
        assert len(lanes) == sum(map(len, waiting.values()))
        return taken

    for step in steps:
        if step == "take":
            take()
        elif step == "leave":
            if live:
                lanes.leave(live.pop(random.randrange(len(live))))
        else:
            added = on(step[-1], next(numbers))
            waiting[added.host].append(added)
            lanes.add(added)
    while live or any(waiting.values()):
        if take() is None:
            lanes.leave(live.pop(0))
    lanes.close()
    assert lanes.drained


# Crawling


class Bench:
    """A crawl whose results end in a list."""

    def __init__(self, fetch: Fetch, **limits: int) -> None:
        self.results: list[FetchResult] = []
        self.stop = asyncio.Event()
        self.crawling = Crawling(fetch, Limits(**limits), self.emit, self.stop)  # type: ignore[arg-type]  # all ints

    async def emit(self, result: FetchResult) -> None:
        self.results.append(result)

    @property
    def outcomes(self) -> dict[int, Outcome]:
        assert len({result.target.index for result in self.results}) == len(self.results)
        return {result.target.index: result.outcome for result in self.results}


def many(count: int, hosts: int = 1) -> list[Target]:
    return [on(f"host{index % hosts}.example", index) for index in range(count)]


def test_every_target_gives_exactly_one_result() -> None:
    async def body() -> None:
        bench = Bench(Gate(shut=False))
        await bench.crawling.run(listed(many(500, hosts=7)))
        assert bench.outcomes == dict.fromkeys(range(500), Outcome.RESPONDED)

    run(body())


def test_an_empty_list_gives_no_result() -> None:
    async def body() -> None:
        bench = Bench(Gate())
        await bench.crawling.run(listed([]))
        assert bench.results == []

    run(body())


def test_no_more_than_max_are_fetched_at_once() -> None:
    async def body() -> None:
        gate = Gate(shut=False, turns=50)
        await Bench(gate, max=4, per_host=100).crawling.run(listed(many(100, hosts=3)))
        assert gate.most == 4

    run(body())


def test_no_more_than_per_host_are_fetched_at_once_from_a_host() -> None:
    async def body() -> None:
        gate = Gate(shut=False, turns=50)
        await Bench(gate, max=100, per_host=3).crawling.run(listed(many(100, hosts=2)))
        assert (gate.most_on_a_host, gate.most) == (3, 6)

    run(body())


def most_tasks(count: int) -> int:
    async def body() -> int:
        gate = Gate(shut=False, turns=50)
        bench = Bench(gate, max=5, per_host=5, window=10)
        await bench.crawling.run(listed(many(count, hosts=50)))
        return gate.most_tasks

    return run(body())


def test_the_number_of_tasks_does_not_grow_with_the_list() -> None:
    assert most_tasks(1000) == most_tasks(50)


def test_a_host_that_does_not_answer_does_not_hold_up_the_others() -> None:
    async def body() -> None:
        stuck = [on("stuck.example", index) for index in range(20)]
        good = [on("good.example", index) for index in range(20, 40)]
        gate = Gate()
        bench = Bench(gate, max=5, per_host=2)
        crawl = asyncio.create_task(bench.crawling.run(listed(stuck + good)))
        gate.answer(*good)
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
        crawl = asyncio.create_task(bench.crawling.run(listed(many(500, hosts=50))))
        await settle()
        # What waits for a slot has left the window.
        assert 30 <= bench.crawling.read <= 30 + 2 + 1
        gate.open()
        await crawl
        assert sorted(bench.outcomes) == list(range(500))

    run(body())


def test_one_slow_host_fills_the_window_and_the_list_goes_on_when_it_answers() -> None:
    async def body() -> None:
        gate = Gate()
        bench = Bench(gate, max=5, per_host=1, window=3)
        crawl = asyncio.create_task(bench.crawling.run(listed(many(20))))
        await settle()
        assert len(gate.started) == 1
        gate.open()
        await crawl
        assert sorted(bench.outcomes) == list(range(20))

    run(body())


def test_a_list_without_end_starts_at_once() -> None:
    async def body() -> None:
        read_before: list[int] = []

        async def fetch(of: Target) -> FetchResult:
            read_before.append(bench.crawling.read)
            return responded(of)

        bench = Bench(fetch)
        endless = (on(f"host{index}.example", index) for index in itertools.count())
        crawl = asyncio.create_task(bench.crawling.run(listed(endless)))
        await settle()
        assert read_before[0] < 200
        bench.stop.set()
        await crawl

    run(body())


def test_a_target_starts_before_the_next_line_has_come() -> None:
    async def body() -> None:
        more = asyncio.Event()

        async def entries() -> AsyncGenerator[Target | FetchResult, None]:
            yield on("a", 0)
            await more.wait()
            yield on("b", 1)

        bench = Bench(Gate(shut=False))
        crawl = asyncio.create_task(bench.crawling.run(entries()))
        await settle()
        assert bench.outcomes == {0: Outcome.RESPONDED}
        more.set()
        await crawl
        assert bench.outcomes == dict.fromkeys(range(2), Outcome.RESPONDED)

    run(body())


def test_a_line_that_is_no_url_is_handed_on_and_not_fetched() -> None:
    async def body() -> None:
        gate = Gate(shut=False)
        bench = Bench(gate)
        bad = invalid(target(1, url="ftp://host.example/", host=""))
        await bench.crawling.run(listed([on("a", 0), bad, on("a", 2)]))
        assert [one.index for one in gate.started] == [0, 2]
        assert [result for result in bench.results if result.target.index == 1] == [bad]
        assert len(bench.results) == 3

    run(body())


def test_the_result_of_a_fetch_is_handed_on_with_the_time_it_queued() -> None:
    async def body() -> None:
        bench = Bench(Gate(shut=False, answer=lambda of: responded(of, queue=None)))
        await bench.crawling.run(listed([on("a")]))
        (result,) = bench.results
        assert result.queue is not None
        assert result.queue >= 0
        assert result == responded(on("a"), queue=result.queue)

    run(body())


def test_a_wait_for_a_slot_is_queue_time() -> None:
    async def body() -> None:
        gate = Gate()
        bench = Bench(gate, max=1)
        crawl = asyncio.create_task(bench.crawling.run(listed([on("a", 0), on("b", 1)])))
        await settle()
        start = perf_counter()
        await asyncio.sleep(0.02)
        held = perf_counter() - start
        gate.open()
        await crawl
        queued = bench.results[1].queue
        assert queued is not None
        assert queued >= held

    run(body())


@pytest.mark.parametrize(
    "fault", [RuntimeError("out of cheese"), KeyError("key"), ExceptionGroup("all", [OSError("a")])]
)
def test_a_fetch_that_raises_gives_an_internal_error_and_harms_no_neighbour(
    fault: Exception,
) -> None:
    def answer(of: Target) -> FetchResult:
        if of.index == 1:
            raise fault
        return responded(of)

    async def body() -> None:
        bench = Bench(Gate(shut=False, answer=answer), max=1)
        await bench.crawling.run(listed(many(3)))
        assert [result.outcome for result in bench.results] == [
            Outcome.RESPONDED,
            Outcome.ERROR,
            Outcome.RESPONDED,
        ]
        error = bench.results[1].error
        assert error is not None
        assert error.kind is ErrorKind.INTERNAL
        assert str(fault) in error.detail

    run(body())


def test_the_detail_of_a_fault_without_a_message_says_more_than_its_name() -> None:
    def answer(of: Target) -> FetchResult:
        raise RuntimeError

    async def body() -> None:
        bench = Bench(Gate(shut=False, answer=answer))
        await bench.crawling.run(listed([on("a")]))
        error = bench.results[0].error
        assert error is not None
        assert not error.detail.strip().endswith(("RuntimeError", ":"))

    run(body())


def test_a_fetch_that_was_cancelled_from_within_holds_up_nobody() -> None:
    def answer(of: Target) -> FetchResult:
        if of.index == 0:
            raise asyncio.CancelledError
        return responded(of)

    async def body() -> None:
        bench = Bench(Gate(shut=False, answer=answer), max=1)
        crawl = asyncio.create_task(bench.crawling.run(listed(many(3))))
        await settle()
        try:
            assert crawl.done()
        finally:
            bench.stop.set()
            await crawl
        assert bench.outcomes == {0: Outcome.ERROR, 1: Outcome.RESPONDED, 2: Outcome.RESPONDED}

    run(body())


def test_a_list_that_breaks_raises_once_what_came_before_is_done() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Target | FetchResult, None]:
            for one in many(20):
                yield one
            raise LookupError("line 21")

        bench = Bench(Gate(shut=False), max=2)
        with pytest.raises(LookupError, match="line 21"):
            await bench.crawling.run(entries())
        assert bench.outcomes == dict.fromkeys(range(20), Outcome.RESPONDED)

    run(body())


def test_a_list_that_broke_before_the_stop_raises_too() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Target | FetchResult, None]:
            yield on("a")
            raise LookupError("line 2")

        bench = Bench(Gate())
        crawl = asyncio.create_task(bench.crawling.run(entries()))
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

        async def entries() -> AsyncGenerator[Target | FetchResult, None]:
            nonlocal closed
            try:
                for one in many(5):
                    yield one
                await asyncio.Event().wait()
            finally:
                closed = True

        bench = Bench(Gate(), max=1, window=window)
        crawl = asyncio.create_task(bench.crawling.run(entries()))
        await settle()
        bench.stop.set()
        await crawl
        assert closed

    run(body())


def test_a_stop_before_the_start_fetches_nothing_to_its_end() -> None:
    async def body() -> None:
        bench = Bench(Gate())
        bench.stop.set()
        await bench.crawling.run(listed(many(5)))
        assert bench.outcomes == dict.fromkeys(range(bench.crawling.read), Outcome.UNREACHED)

    run(body())


def test_what_a_stop_leaves_unreached_was_never_sent() -> None:
    async def body() -> None:
        bench = Bench(Gate())
        crawl = asyncio.create_task(bench.crawling.run(listed(many(3))))
        await settle()
        bench.stop.set()
        await crawl
        expected = [FetchResult(target=one, outcome=Outcome.UNREACHED) for one in many(3)]
        assert bench.results == expected

    run(body())


def test_nothing_is_in_flight_after_a_stop() -> None:
    async def body() -> None:
        bench = Bench(Gate())
        crawl = asyncio.create_task(bench.crawling.run(listed(many(3))))
        await settle()
        assert bench.crawling.live == 3
        bench.stop.set()
        await crawl
        assert bench.crawling.live == 0

    run(body())


async def stopped_after(turns: int) -> bool:
    """Check a crawl that is stopped after so many turns of the loop, unless it ends before.

    Return whether it was stopped.
    """
    gate = Gate(shut=False)
    results: asyncio.Queue[FetchResult] = asyncio.Queue(1)
    stop = asyncio.Event()
    crawling = Crawling(gate, Limits(max=3, per_host=2, window=4), results.put, stop)
    entries: dict[int, Target | FetchResult] = {one.index: one for one in many(40, hosts=4)}
    entries |= {index: invalid(target(index, host="")) for index in range(5, 40, 7)}
    taken: list[FetchResult] = []

    async def take() -> None:
        while True:
            taken.append(await results.get())

    taking = asyncio.create_task(take())
    crawl = asyncio.create_task(crawling.run(listed(entries.values())))
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
        if isinstance(entries[index], FetchResult)
        else Outcome.RESPONDED
        if index in finished
        else Outcome.UNREACHED
        for index in range(crawling.read)
    }
    assert (len(taken), outcomes) == (crawling.read, expected), turns
    assert asyncio.all_tasks() == {asyncio.current_task(), taking}
    return early


def test_a_stop_at_any_moment_leaves_each_entry_read_with_one_record() -> None:
    async def body() -> None:
        turns = 0
        while await stopped_after(turns):
            turns += 1
        assert turns > 20

    run(body())


def test_results_that_nobody_takes_bound_what_is_started() -> None:
    async def body() -> None:
        gate = Gate(shut=False)
        taken = asyncio.Event()

        async def emit(result: FetchResult) -> None:
            await taken.wait()

        crawling = Crawling(gate, Limits(max=4), emit, asyncio.Event())
        crawl = asyncio.create_task(crawling.run(listed(many(100, hosts=10))))
        await settle()
        assert len(gate.started) == 4
        taken.set()
        await crawl
        assert len(gate.started) == 100

    run(body())


def test_a_cancelled_crawl_leaves_no_task() -> None:
    async def body() -> None:
        crawl = asyncio.create_task(Bench(Gate()).crawling.run(listed(many(50, hosts=5))))
        await settle()
        crawl.cancel()
        with pytest.raises(asyncio.CancelledError):
            await crawl
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(body())


def test_an_error_is_a_result_like_any_other() -> None:
    async def body() -> None:
        bench = Bench(Gate(shut=False, answer=lambda of: failed(ErrorKind.RESET, of)))
        await bench.crawling.run(listed(many(3)))
        assert bench.outcomes == dict.fromkeys(range(3), Outcome.ERROR)

    run(body())
