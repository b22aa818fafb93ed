"""Fan-in: results become judged checks, in batches, and nothing is left running."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

import pytest
from listings import Listed
from samples import (
    Gate,
    check,
    indices,
    invalid,
    many,
    on,
    responded,
    run,
    settle,
    target,
)

from crawler.app.collect import Collector, Fetching
from crawler.core.urllist import ListError
from crawler.engine.fetch import Fetch
from crawler.models import Check, Limits, Result, Target, Verdict


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
        gate = Gate(shut=False, respond=lambda of: responded(of, status=404))
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


def test_no_batch_is_empty_or_larger_than_two_hundred_and_fifty() -> None:
    async def body() -> None:
        crawl = collector(Gate(shut=False), many(1200, hosts=300), max=300)
        sizes = []
        async for batch in crawl.batches():
            sizes.append(len(batch))
            await settle(50)  # so that many results come in one batch
        assert (sum(sizes), min(sizes) > 0, max(sizes)) == (1200, True, 250)

    run(body())


def test_a_stalled_consumer_limits_the_fetches() -> None:
    async def body() -> None:
        gate = Gate(shut=False)
        async with aclosing(collector(gate, many(1000), max=5).batches()) as batches:
            taken = len(await anext(batches))
            await settle(1000)
            # Yielded, in the queue of 2 * `max`, and waiting for room in it.
            assert taken + 10 <= len(gate.started) <= taken + 10 + 5
            rest = [len(batch) async for batch in batches]
            assert taken + sum(rest) == 1000

    run(body())


def test_results_arrive_while_others_are_in_flight() -> None:
    async def body() -> None:
        first, second = on("a", 0), on("b", 1)
        gate = Gate()
        async with aclosing(collector(gate, [first, second]).batches()) as batches:
            gate.release(second)
            assert indices(await anext(batches)) == [1]
            gate.release(first)
            assert indices(await anext(batches)) == [0]

    run(body())


def test_closing_early_leaves_nothing_running() -> None:
    async def body() -> None:
        gate = Gate()
        async with aclosing(collector(gate, many(100)).batches()) as batches:
            await settle()
            gate.release(*many(1))
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


def test_a_list_error_is_raised_after_the_last_check() -> None:
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


def test_a_stop_ends_the_batches_with_the_unreached_urls() -> None:
    async def body() -> None:
        gate = Gate()
        crawl = collector(gate, many(20), max=5)
        checks: list[Check] = []
        gate.release(*many(3))
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
