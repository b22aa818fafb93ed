"""--deadline: finished results are reported, and all other entries read are unreached."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from bench import KEY, Bench, Entry, many
from clocks import FakeClock, Web, scripted, status
from loopback import (
    Handler,
    Server,
    reply,
    silent,
)
from samples import invalid, listed, on, run, target
from shell import (
    crawl,
    records,
    started,
    wait_until,
    write,
)
from sites import Scenarios, Seen, concurrently, document, in_order, lines, numbered, takes, timed

from crawler.engine.schedule import Scheduler
from crawler.models import Limits, Outcome, Result

# Scheduled


def test_at_the_deadline_no_request_starts_and_those_in_flight_are_cancelled() -> None:
    async def body() -> None:
        bench = Bench(scripted({}, status(seconds=1)), max=2, deadline=2.5)
        results = await bench.crawl(many(100))
        assert bench.clock.now == 2.5
        assert [one.at for one in bench.web.requests] == [0, 0, 1, 1, 2, 2]
        assert [one.responded_to for one in bench.web.requests] == [True] * 4 + [False] * 2
        expected = [Outcome.RESPONDED] * 4 + [Outcome.UNREACHED] * 96
        assert [results[index].outcome for index in range(100)] == expected
        assert results[5] == Result(target=on("a", 5), outcome=Outcome.UNREACHED)

    run(body())


def test_after_the_deadline_the_list_is_read_to_its_end() -> None:
    async def body() -> None:
        entries: list[Entry] = [*many(1000)]
        for index in range(3, 1000, 7):
            entries[index] = invalid(target(index, url="ftp://a/", host=""))
        bench = Bench(scripted({}, status(seconds=1)), max=2, window=10, deadline=1.5)
        results = await bench.crawl(entries)
        assert len(results) == 1000
        for index in range(4, 1000):
            bad = isinstance(entries[index], Result)
            assert results[index].outcome is (Outcome.INVALID if bad else Outcome.UNREACHED)

    run(body())


def test_a_slow_list_is_read_to_its_end_after_the_deadline() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            for one in many(400):
                await bench.clock.sleep(0.01)
                yield one

        bench = Bench(scripted({}), deadline=1.1)
        results = await bench.crawl(entries())
        assert bench.clock.now == pytest.approx(4)
        assert len(results) == 400
        assert max(one.at for one in bench.web.requests) <= 1.1

    run(body())


def test_entries_read_after_the_deadline_are_emitted_at_once_and_not_kept() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            for one in many(500):
                yield one
                late = bench.clock.now >= 1 and one.index > 20
                kept.append(bench.scheduler.read - len(bench.results) if late else 0)

        kept: list[int] = []
        bench = Bench(scripted({}, status(seconds=9)), max=2, window=10, deadline=1.0)
        assert len(await bench.crawl(entries())) == 500
        assert max(kept) <= 3

    run(body())


async def overrun(bench: Bench, crawl: asyncio.Task[None]) -> float:
    """Finish a crawl whose list or output is stalled; return the seconds it really took.

    Either clock may measure the wait.
    """
    start = perf_counter()
    while not crawl.done() and perf_counter() - start < 5:
        if bench.clock.next is None:
            await asyncio.wait((crawl,), timeout=0.05)
        else:
            await bench.clock.advance(bench.clock.next - bench.clock.now)
    return perf_counter() - start


def test_a_stalled_list_is_not_awaited_after_the_deadline() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            for one in many(60):
                yield one
            await asyncio.Event().wait()

        bench = Bench(scripted({}, status(seconds=9)), deadline=5.0)
        crawl = bench.start(entries())
        assert await overrun(bench, crawl) < 3
        assert bench.clock.now <= 7
        results = await bench.finish(crawl)
        assert [result.outcome for result in results.values()] == [Outcome.UNREACHED] * 60

    run(body())


def test_a_slow_output_is_not_taken_for_a_stalled_list() -> None:
    async def body() -> None:
        async def emit(finished: Sequence[Result]) -> None:
            for result in finished:
                if not results:
                    await asyncio.sleep(1.2)  # longer than the wait for a list
                results.append(result)

        results: list[Result] = []
        clock = FakeClock()
        limits = Limits(max=1, deadline=1.0, window=5)
        web = Web(clock, scripted({}, status(seconds=9)))
        scheduler = Scheduler(web, limits, emit, asyncio.Event(), clock=clock)
        crawl = asyncio.create_task(scheduler.run(listed(many(200))))
        await clock.advance(1.0)
        await crawl
        assert sorted(result.target.index for result in results) == list(range(200))

    run(body())


def test_a_stop_ends_the_reading_that_a_deadline_began() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            for one in many(1000):
                await bench.clock.sleep(0.01)
                yield one

        bench = Bench(scripted({}), deadline=1.1)
        crawl = bench.start(entries())
        await bench.clock.advance(3.005)
        assert not crawl.done()
        bench.stop.set()
        assert len(await bench.finish(crawl)) == 300
        assert bench.clock.now == 3.005

    run(body())


@pytest.mark.parametrize("name", ["timeout", "503"])
def test_a_failure_before_the_deadline_is_kept(name: str) -> None:
    async def body() -> None:
        script = scripted({0: [KEY[name]], 1: [status(seconds=99)]})
        bench = Bench(script, clock=FakeClock(1.0), backoff=20, deadline=3.0)
        results = await bench.crawl(many(2))
        assert results[0].outcome is KEY[name].respond(on("a")).outcome
        assert (results[0].attempts, results[0].earlier) == (1, ())
        assert results[1].outcome is Outcome.UNREACHED

    run(body())


def test_a_finished_crawl_does_not_wait_for_its_deadline() -> None:
    async def body() -> None:
        bench = Bench(scripted({}), deadline=100.0)
        await bench.crawl(many(5))
        assert bench.clock.now < 1
        assert bench.clock.next is None

    run(body())


def test_an_error_of_the_list_after_the_deadline_is_raised_too() -> None:
    async def body() -> None:
        async def entries() -> AsyncGenerator[Entry, None]:
            yield on("a")
            await bench.clock.sleep(3)
            raise LookupError("line 2")

        bench = Bench(scripted({}, status(seconds=9)), deadline=2.9)
        crawl = bench.start(entries())
        with pytest.raises(LookupError, match="line 2"):
            await bench.clock.finish(crawl)
        assert [result.outcome for result in bench.results] == [Outcome.UNREACHED]

    run(body())


# On the wire


waiting = Scenarios()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    yield from waiting.results(tmp_path_factory)


@pytest.mark.parametrize("form", ["--json", "--jsonl"])
@pytest.mark.parametrize(
    ("path", "code"), [("/ok", 3), ("/gone", 1)], ids=["none failed", "one failed"]
)
def test_a_deadline_ends_the_run_with_a_record_for_every_url(
    server: Server, path: str, code: int, form: str
) -> None:
    server.on("/ok", reply())
    server.on("/gone", reply(410))
    server.on("/hang", silent())
    urls = [server.url(path), *numbered(server.url("/hang"), 30)]
    ended, took = timed("--deadline", "0.5", form, text=lines(*urls))
    found = document(ended)["results"] if form == "--json" else records(ended.stdout)
    assert ended.returncode == code
    assert took < 6
    assert [record["outcome"] for record in in_order(found)] == ["responded"] + ["unreached"] * 30
    assert server.idle_within(1), "what was in flight was not cancelled"
    if form == "--json":
        report = document(ended)["summary"]
        shown = [report[key] for key in ("total", "unreached", "complete", "exit_code")]
        assert shown == [31, 30, False, code]


def test_after_the_deadline_the_rest_of_a_long_list_gets_its_records(
    server: Server, tmp_path: Path
) -> None:
    server.on("/hang", silent())
    listed = write(tmp_path / "urls.txt", *numbered(server.url("/hang"), 8_000))
    ended = crawl(listed, "--deadline", "0.5", "--json", "--retries", "0")
    assert (ended.returncode, len(document(ended)["results"])) == (3, 8_000)
    assert document(ended)["summary"]["unreached"] == 8_000


@waiting
def warned_early(_: Path) -> dict[str, tuple[float, str]]:
    """Return how soon after the first request each run warns, and the warning."""

    def warning(handler: Handler, *options: str) -> tuple[float, str]:
        with Server() as server:
            server.on("/page", handler)
            urls = numbered(server.url("/page"), 200)
            with started(*options, "-q", *urls) as process:
                assert process.stderr is not None
                wait_until(lambda: bool(server.requests))
                start = time.monotonic()
                line = process.stderr.readline()
                return time.monotonic() - start, line

    rates = (("--rate", "10"), ("--host-rate", "10"))
    runs = concurrently(
        *(lambda pace=pace: warning(reply(), *pace, "--deadline", "6") for pace in rates),
        lambda: warning(takes(0.3), "--max", "1", "--deadline", "6"),
    )
    return dict(zip(("rate", "host-rate", "measured"), runs, strict=True))


@pytest.mark.parametrize(("how", "soon"), [("rate", 1.0), ("host-rate", 1.0), ("measured", 4.5)])
def test_a_run_that_will_miss_its_deadline_warns_early(seen: Seen, how: str, soon: float) -> None:
    after, line = seen(warned_early)[how]
    assert line.startswith("crawl: ")
    assert "deadline" in line
    assert after < soon


def test_a_run_that_fits_its_deadline_does_not_warn(server: Server) -> None:
    server.on("/page", reply())
    urls = numbered(server.url("/page"), 20)
    ended = crawl("--rate", "40", "--deadline", "5", "-q", text=lines(*urls))
    assert (ended.returncode, ended.stderr) == (0, "")


@waiting
def silent_input(_: Path) -> tuple[int, dict[str, Any], float]:
    with Server() as server:
        url = server.on("/ok", reply())
        start = time.monotonic()
        with started("--deadline", "0.8", "--json", stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{url}\n")
            process.stdin.flush()
            report = json.loads(process.stdout.read())
            return process.wait(30), report, time.monotonic() - start


def test_a_deadline_does_not_wait_for_an_input_that_stays_open_and_silent(seen: Seen) -> None:
    code, report, took = seen(silent_input)
    assert [record["ok"] for record in report["results"]] == [True]
    assert (code, report["summary"]["exit_code"], report["summary"]["complete"]) == (3, 3, False)
    assert took < 6


@waiting
def trickling_input(_: Path) -> bool:
    """Return whether a run ends although its list yields a line every quarter of a second."""
    with Server() as server:
        url = server.on("/ok", reply())
        with started("--deadline", "0.5", "-q", stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            for number in range(40):
                if process.poll() is not None:
                    return True
                with suppress(BrokenPipeError):
                    process.stdin.write(f"{url}?{number}\n")
                    process.stdin.flush()
                time.sleep(0.25)
            return False


def test_a_deadline_does_not_wait_for_an_input_that_never_ends(seen: Seen) -> None:
    assert seen(trickling_input)
