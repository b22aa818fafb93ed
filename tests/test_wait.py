"""--wait: rounds until every URL passes, and how they end."""

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from loopback import (
    Handler,
    Server,
    reply,
    silent,
)
from shell import (
    Ended,
    complaint,
    crawl,
    records,
    started,
    wait_until,
)
from sites import Scenarios, Seen, concurrently, document, in_order, in_turn, lines, numbered, timed

waiting = Scenarios()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    yield from waiting.results(tmp_path_factory)


@waiting
def rounds(path: Path) -> tuple[Ended, float, Path]:
    with Server() as server:
        server.on("/ok", reply())
        server.on("/late", in_turn(reply(503), reply(503), reply()))
        options = ("--wait", "20", "--retries", "0", "--json", "-o", path / "out.jsonl")
        text = lines(server.url("/ok"), server.url("/late"))
        ended, took = timed(*options, text=text)
    return ended, took, path / "out.jsonl"


def test_the_list_is_checked_again_until_every_url_passes(seen: Seen) -> None:
    ended, took, _ = seen(rounds)
    assert ended.returncode == 0
    assert took < 8


def test_each_round_is_reported_in_one_line(seen: Seen) -> None:
    ended, _, _ = seen(rounds)
    notes = ended.stderr.splitlines()
    assert len(notes) == 3
    assert all(line.startswith(f"crawl: round {n}: ") for n, line in enumerate(notes, 1))
    assert "1 of 2 did not pass" in notes[0]
    assert "status 503" in notes[1]
    assert "all 2 URLs passed" in notes[2]


def test_the_last_round_is_the_result(seen: Seen) -> None:
    ended, _, lined = seen(rounds)
    report = document(ended)
    found = records(lined.read_text("utf-8"))
    assert in_order(found) == in_order(report["results"])
    assert [record["index"] for record in in_order(found)] == [0, 1]
    assert [report["summary"][key] for key in ("total", "passed", "exit_code")] == [2, 2, 0]


@waiting
def never_passing(_: Path) -> tuple[Ended, float, int]:
    with Server() as server:
        url = server.on("/down", reply(503))
        ended, took = timed(url, "--wait", "1.5", "--retries", "0", "--json")
        return ended, took, server.counts["/down"]


def test_the_rounds_end_when_the_time_is_up(seen: Seen) -> None:
    ended, took, count = seen(never_passing)
    report = document(ended)
    assert (ended.returncode, report["summary"]["exit_code"]) == (1, 1)
    assert count >= 2
    assert len(report["results"]) == 1
    assert len(ended.stderr.splitlines()) == count
    assert 1.4 < took < 6


def interrupted(options: Sequence[str], handler: Handler, count: int) -> tuple[Ended, float]:
    """Interrupt a run that polls three URLs shortly after `count` requests."""
    with Server() as server:
        server.on("/page", handler)
        with started("--wait", "60", "--json", *options, *numbered(server.url("/page"), 3)) as run:
            wait_until(lambda: len(server.requests) == count)
            time.sleep(0.3)  # a pause between two rounds is longer
            start = time.monotonic()
            run.send_signal(signal.SIGINT)
            out, err = run.communicate(timeout=30)
            return Ended(run.args, run.returncode, out, err), time.monotonic() - start


@waiting
def interrupted_rounds(_: Path) -> dict[str, tuple[Ended, float]]:
    runs = concurrently(
        lambda: interrupted(("--retries", "0"), reply(404), 3),
        lambda: interrupted(("--retries", "0"), in_turn(reply(404), silent()), 6),
    )
    return dict(zip(("in the pause", "in a round"), runs, strict=True))


@pytest.mark.parametrize(
    ("when", "outcome"), [("in the pause", "responded"), ("in a round", "unreached")]
)
def test_a_signal_ends_the_rounds_with_the_present_one(seen: Seen, when: str, outcome: str) -> None:
    ended, took = seen(interrupted_rounds)[when]
    report = document(ended)
    assert (ended.returncode, report["summary"]["exit_code"]) == (130, 130)
    assert [record["outcome"] for record in report["results"]] == [outcome] * 3
    assert took < 2


def test_an_empty_list_is_exit_code_2_at_once() -> None:
    ended, took = timed("--wait", "30", "-q", text="# nothing\n")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert complaint(ended) == "nothing to check: the list contains no URLs"
    assert took < 5


def test_a_file_that_is_not_a_list_has_no_second_round(server: Server, tmp_path: Path) -> None:
    listed = tmp_path / "urls.txt"
    listed.write_text(f"{server.on('/page', reply(404))}\n", "utf-16")
    ended, took = timed(listed, "--wait", "30", "-q")
    assert ended.returncode == 2
    assert "UTF-16" in complaint(ended)
    assert (server.requests, took < 5) == ([], True)


@waiting
def rounds_with_failed_lines(path: Path) -> tuple[Ended, str]:
    with Server() as server:
        server.on("/late", in_turn(reply(503), reply()))
        server.on("/gone", reply(410))
        failed = path / "failed.txt"
        urls = (server.url("/late"), server.url("/gone"))
        ended = crawl(*urls, "--wait", "1.3", "--retries", "0", "-q", "--failed-to", failed)
        return ended, failed.read_text("utf-8")


def test_the_failed_lines_are_those_of_the_last_round(seen: Seen) -> None:
    ended, written = seen(rounds_with_failed_lines)
    kept = [line for line in written.splitlines() if not line.startswith("#")]
    assert ended.returncode == 1
    assert [line.rpartition("/")[2] for line in kept] == ["gone"]


@waiting
def rounds_until_a_deadline(_: Path) -> tuple[Ended, float]:
    with Server() as server:
        url = server.on("/down", silent())
        return timed(url, "--wait", "6", "--deadline", "1.5", "--json")


def test_a_deadline_ends_the_rounds_too(seen: Seen) -> None:
    ended, took = seen(rounds_until_a_deadline)
    assert ended.returncode == 3
    assert [record["outcome"] for record in document(ended)["results"]] == ["unreached"]
    assert took < 5


@waiting
def rounds_of_a_silent_input(_: Path) -> bool:
    """Return whether a run that polls ends at its deadline while its list is still open."""
    with started("--wait", "2", "--deadline", "1", "-q", stdin=subprocess.PIPE) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(4)
        return process.poll() is not None


def test_rounds_do_not_wait_for_an_input_that_stays_open_and_silent(seen: Seen) -> None:
    assert seen(rounds_of_a_silent_input)
