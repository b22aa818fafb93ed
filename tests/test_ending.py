"""How a run ends: signals, closed pipes, full disks, outputs that cannot be written."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loopback import Server, delayed, endless, reply, silent
from shell import (
    Ended,
    bound,
    complaint,
    crawl,
    environment,
    on_terminal,
    once,
    records,
    script,
    started,
    started_script,
    unmeasured,
    wait_until,
    write,
)

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
SOON = 2.0
"""Seconds within which a signal ends a run: one is promised, the rest is for a busy machine."""

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="/dev/full is missing")


@pytest.fixture
def site(server: Server) -> Server:
    """A server with a good page, and one that never responds."""
    server.on("/ok", reply(200, b"hello"))
    server.on("/hang", silent())
    return server


def mixed(site: Server, path: Path, good: int = 5, stuck: int = 30) -> Path:
    """Write a list of good URLs, followed by URLs that never respond."""
    urls = [site.url(f"/ok?{number}") for number in range(good)]
    return write(path, *urls, *(site.url(f"/hang?{number}") for number in range(stuck)))


def interrupted(
    process: subprocess.Popen[str], number: int, ready: Callable[[], bool]
) -> tuple[Ended, float]:
    """Send a signal when the run is `ready`; return how it ended and the seconds that took."""
    wait_until(ready)
    start = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    took = time.monotonic() - start
    return Ended(process.args, process.returncode, out or "", err or ""), took


def outcomes(found: list[dict[str, Any]]) -> list[str]:
    """Return the outcomes in input order."""
    return [record["outcome"] for record in sorted(found, key=lambda record: record["index"])]


# Signals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_run_with_a_record_for_every_url(
    site: Server, tmp_path: Path, number: int
) -> None:
    """Finished checks are written, the rest is unreached."""
    listed = mixed(site, tmp_path / "urls.txt")
    with started(listed, "--jsonl", "-o", tmp_path / "out.jsonl") as process:
        ended, took = interrupted(process, number, lambda: site.counts["/hang"] == 10)
    found = records(ended.stdout)
    assert (ended.returncode, ended.stderr) == (128 + number, "")
    assert took < SOON
    assert outcomes(found) == ["responded"] * 5 + ["unreached"] * 30
    assert records((tmp_path / "out.jsonl").read_text("utf-8")) == found


def test_an_unreached_url_neither_passes_nor_fails(site: Server) -> None:
    with started(site.url("/hang"), "--jsonl") as process:
        ended, _ = interrupted(process, signal.SIGINT, lambda: site.counts["/hang"] == 1)
    (record,) = records(ended.stdout)
    measured = ("ok", "status", "size", "latency_ms", "error")
    assert [record[key] for key in measured] == [None] * 5
    assert record["reasons"] != []


@pytest.mark.parametrize("number", SIGNALS)
def test_a_json_document_is_complete_after_a_signal(
    site: Server, tmp_path: Path, number: int
) -> None:
    listed = mixed(site, tmp_path / "urls.txt")
    with started(listed, "--json", "-o", tmp_path / "out.json") as process:
        ended, _ = interrupted(process, number, lambda: site.counts["/hang"] == 10)
    document = json.loads(ended.stdout)
    counts = ("total", "passed", "failed", "unreached", "complete", "exit_code")
    assert outcomes(document["results"]) == ["responded"] * 5 + ["unreached"] * 30
    assert [document["summary"][key] for key in counts] == [35, 5, 0, 30, False, 128 + number]
    assert json.loads((tmp_path / "out.json").read_text("utf-8")) == document


def test_the_table_is_shown_after_a_signal(site: Server, tmp_path: Path) -> None:
    listed = mixed(site, tmp_path / "urls.txt")
    with started(listed) as process:
        ended, took = interrupted(process, signal.SIGINT, lambda: site.counts["/hang"] == 10)
    lines = ended.stdout.splitlines()
    assert took < SOON
    assert [line.split()[1] for line in lines[1:36]] == ["200"] * 5 + ["unreached"] * 30
    assert lines[-1] == "Total: 35 URLs, 5 success, 0 failed, 30 unreached"


def test_ordered_records_are_in_order_after_a_signal(site: Server, tmp_path: Path) -> None:
    urls = [site.url(f"/{'hang' if number % 10 == 3 else 'ok'}?{number}") for number in range(60)]
    listed = write(tmp_path / "urls.txt", *urls)
    with started(listed, "--jsonl", "--ordered") as process:
        ended, _ = interrupted(process, signal.SIGINT, lambda: site.counts["/hang"] == 6)
    assert [record["index"] for record in records(ended.stdout)] == list(range(60))


@pytest.mark.parametrize("stuck", ["dripping", "in the handshake", "on redirects"])
def test_a_signal_does_not_wait_for_a_server(site: Server, stuck: str) -> None:
    site.on("/drip", endless(b"HTTP/1.1 200 OK\r\n\r\n", b".", gap=0.05))
    site.on("/there", reply(302, b"", "Location: /hang"))
    with Server(accept=never) as mute:
        urls = {
            "dripping": site.url("/drip"),
            "in the handshake": f"https://127.0.0.1:{mute.port}/",
            "on redirects": site.url("/there"),
        }
        with started(urls[stuck], "--jsonl") as process:
            ended, took = interrupted(
                process,
                signal.SIGINT,
                lambda: bool(site.counts["/drip"] or site.counts["/hang"] or mute.connections),
            )
    assert (ended.returncode, ended.stderr) == (130, "")
    assert outcomes(records(ended.stdout)) == ["unreached"]
    assert took < SOON


async def never(reader: Any, writer: Any) -> None:
    """Accept a connection and send nothing."""
    await reader.read()
    await reader.read()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_wait_for_a_silent_pipe(site: Server, number: int) -> None:
    with started("-", "--jsonl", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(f"{site.url('/ok')}\n")
        process.stdin.flush()
        wait_until(lambda: site.counts["/ok"] == 1)
        start = time.monotonic()
        process.send_signal(number)
        assert process.wait(30) == 128 + number
        assert time.monotonic() - start < SOON
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_second_signal_ends_the_run_at_once(site: Server, tmp_path: Path) -> None:
    """The first one waits for a blocked output; the number of the second one is the code."""
    listed = stalling(site, tmp_path)
    with started(listed, "--jsonl", "-o", "doc.json", cwd=tmp_path) as process:
        signal_twice(process, site, signal.SIGINT, signal.SIGTERM)
        assert process.wait(30) == 143
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["urls.txt"]


def test_a_second_sighup_is_ignored(site: Server, tmp_path: Path) -> None:
    """Kernel and shell may both send one when a terminal closes."""
    listed = stalling(site, tmp_path)
    with started(listed, "--jsonl", "-o", "doc.json", cwd=tmp_path) as process:
        signal_twice(process, site, signal.SIGHUP, signal.SIGHUP)
        assert process.wait(30) == 129
    document = json.loads((tmp_path / "doc.json").read_text("utf-8"))
    assert document["summary"]["exit_code"] == 129


def stalling(site: Server, directory: Path) -> Path:
    """Write a list of a URL that never responds, and more good ones than fit in a pipe."""
    urls = [site.url("/hang"), *(site.url(f"/ok?{number}") for number in range(2_000))]
    return write(directory / "urls.txt", *urls)


def signal_twice(
    process: subprocess.Popen[str], site: Server, first: signal.Signals, second: signal.Signals
) -> None:
    """Send a signal to a stalled run, and another one after the first was handled.

    Two at the same moment may be taken in either order.
    """
    wait_until_stalled(site)
    assert site.live == 1
    process.send_signal(first)
    wait_until(lambda: site.live == 0)
    process.send_signal(second)


def wait_until_stalled(site: Server) -> None:
    """Wait until no more requests come, because the output is not read."""
    wait_until(lambda: site.counts["/ok"] > 0)
    before = 0
    while before < site.counts["/ok"]:
        before = site.counts["/ok"]
        time.sleep(0.4)


def test_a_signal_ends_a_run_with_a_blocked_output(site: Server, tmp_path: Path) -> None:
    listed = write(tmp_path / "urls.txt", *(site.url(f"/ok?{number}") for number in range(2_000)))
    with started(listed, "--jsonl") as process:
        wait_until_stalled(site)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert time.monotonic() - start < SOON
        assert process.stdout is not None
        *whole, _ = process.stdout.read().split("\n")
        assert [json.loads(line)["ok"] for line in whole] == [True] * len(whole)


def test_a_slow_reader_still_gets_every_record_after_a_signal(site: Server, tmp_path: Path) -> None:
    """It reads less than a line at a time, so no write finishes within the grace period."""
    listed = write(tmp_path / "urls.txt", *(site.url(f"/ok?{number}") for number in range(2_000)))
    with started(listed, "--jsonl", "-o", "out.jsonl", cwd=tmp_path) as process:
        wait_until_stalled(site)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        data = b""
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            data += os.read(process.stdout.fileno(), 200)
            time.sleep(0.1)
        while piece := os.read(process.stdout.fileno(), 65_536):
            data += piece
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert records(data.decode()) == records((tmp_path / "out.jsonl").read_text("utf-8"))


def test_a_signal_ends_the_last_round_of_a_wait_with_a_blocked_output(
    site: Server, tmp_path: Path
) -> None:
    listed = write(tmp_path / "urls.txt", *(site.url(f"/ok?{number}") for number in range(300)))
    with started(listed, "--jsonl", "--wait", "60") as process:
        assert process.stderr is not None
        assert process.stderr.readline() != ""  # the round is over, and its records are written
        time.sleep(0.3)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert time.monotonic() - start < SOON
        assert process.stdout is not None
        *whole, _ = process.stdout.read().split("\n")
        assert [json.loads(line)["ok"] for line in whole] == [True] * len(whole)


@pytest.mark.parametrize("form", ["--json", "--all"])
def test_a_signal_ends_a_run_whose_output_blocks_at_the_very_end(
    site: Server, tmp_path: Path, form: str
) -> None:
    """All URLs are checked, but an output cut short by a signal is not a normal end."""
    urls = (site.url(f"/ok?{number:0500}") for number in range(150))
    listed = write(tmp_path / "urls.txt", *urls)
    with started(listed, form, "--max", "150", "--per-host", "150") as process:
        wait_until(lambda: site.counts["/ok"] == 150)
        time.sleep(0.3)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert time.monotonic() - start < SOON


def test_a_signal_ends_a_run_that_prints_twenty_thousand_rows(site: Server, tmp_path: Path) -> None:
    lines = [f"ftp://host.example/{number}" for number in range(20_000)]
    listed = write(tmp_path / "urls.txt", *lines, site.url("/hang"))
    with started(listed, "--all", env=unmeasured()) as process:
        ended, took = interrupted(process, signal.SIGINT, lambda: site.counts["/hang"] == 1)
    assert (ended.returncode, ended.stderr) == (130, "")
    assert took < SOON
    rows = sum(1 for line in ended.stdout.splitlines() if line.startswith("ftp://"))
    assert (
        rows == 20_000
        or f"Table cut short by the signal: {20_001 - rows:,} more rows" in ended.stdout
    )
    closing = "Total: 20,001 URLs, 0 success, 0 failed, 20,000 invalid, 1 unreached"
    assert ended.stdout.splitlines()[-1] == closing


IMPATIENT = """exec "$1" -P -c '
import crawler.report.table
crawler.report.table._RENDER_LIMIT = 0.0
from crawler.__main__ import main
main()' "${@:5}"
"""


@pytest.mark.parametrize(
    ("commands", "code", "whole"),
    [('exec "$@"', 1, True), (IMPATIENT, 130, False)],
    ids=["in time", "cut"],
)
def test_a_signal_while_the_table_is_written_counts_if_it_cuts_the_table(
    tmp_path: Path, commands: str, code: int, whole: bool
) -> None:
    listed = write(tmp_path / "urls.txt", *(f"ftp://host.example/{n}" for n in range(5_000)))
    with started_script(commands, listed, "--all", env=unmeasured()) as process:
        assert process.stdout is not None
        text = process.stdout.readline()  # then the pipe is full until the next one is read
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        text += process.stdout.read()
        assert process.wait(30) == code
    rows = sum(1 for line in text.splitlines() if line.startswith("ftp://"))
    assert (rows == 5_000) is whole
    assert (f"Table cut short by the signal: {5_000 - rows:,} more rows" in text) is not whole
    assert text.splitlines()[-1] == "Total: 5,000 URLs, 0 success, 0 failed, 5,000 invalid"


def test_a_signal_that_was_ignored_at_the_start_stays_ignored(site: Server) -> None:
    sent: list[bool] = []
    slow = site.on("/slow", once(lambda: bool(sent), then=delayed(0.3, reply())))
    with started_script("trap '' INT TERM HUP; exec \"$@\"", slow, "--jsonl") as process:
        wait_until(lambda: site.counts["/slow"] == 1)
        for number in SIGNALS:
            process.send_signal(number)
        sent.append(True)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert [record["ok"] for record in records(out)] == [True]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc is missing")
def test_an_interrupt_ends_the_wait_for_the_writer_of_a_fifo(tmp_path: Path) -> None:
    fifo = tmp_path / "urls.fifo"
    os.mkfifo(fifo)
    with started(fifo, env=unmeasured()) as process:
        wait_until(lambda: sleeps(process.pid))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc is missing")
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("option", ["-o", "--failed-to"])
def test_the_first_signal_ends_the_wait_for_the_reader_of_a_fifo(
    site: Server, tmp_path: Path, option: str, number: int
) -> None:
    fifo = tmp_path / "out.jsonl"
    os.mkfifo(fifo)
    document = tmp_path / "doc.json"
    args = (site.url("/ok"), "-q", "-o", document, option, fifo)
    with started(*args, env=unmeasured()) as process:
        wait_until(lambda: sleeps(process.pid))
        ended, took = interrupted(process, number, lambda: True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, "", "")
    assert took < SOON
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert site.requests == []


def test_the_run_waits_for_the_reader_of_a_fifo(site: Server, tmp_path: Path) -> None:
    fifo = tmp_path / "out.jsonl"
    os.mkfifo(fifo)
    with started(site.url("/ok"), "-q", "-o", fifo) as process:
        time.sleep(0.5)
        assert site.requests == []
        found = records(fifo.read_text("utf-8"))
        assert process.wait(30) == 0
    assert outcomes(found) == ["responded"]


def sleeps(pid: int) -> bool:
    """Whether a process is waiting: it sleeps, and uses no processor time for a while."""
    stat = Path(f"/proc/{pid}/stat")
    before = stat.read_text().rpartition(")")[2].split()
    time.sleep(0.5)
    after = stat.read_text().rpartition(")")[2].split()
    return before[0] == after[0] == "S" and before[11:13] == after[11:13] != ["0", "0"]


def test_kill_leaves_whole_lines(site: Server, tmp_path: Path) -> None:
    listed = write(tmp_path / "urls.txt", *(site.url(f"/ok?{number}") for number in range(5_000)))
    output = tmp_path / "out.jsonl"
    with started(listed, "-q", "-o", output, "--max", "50", "--per-host", "50") as process:
        wait_until(lambda: output.exists() and output.stat().st_size > 100_000)
        process.kill()
        process.wait()
    *lines, _ = output.read_bytes().split(b"\n")
    assert len(lines) > 100
    found = records(b"\n".join(lines).decode())
    assert [record["ok"] for record in found] == [True] * len(lines)


def test_kill_leaves_the_old_document_in_place(site: Server, tmp_path: Path) -> None:
    output = write(tmp_path / "out.json", "the old one")
    with started(site.url("/hang"), "-q", "-o", output) as process:
        wait_until(lambda: site.counts["/hang"] == 1)
        process.kill()
        process.wait()
    assert output.read_text("utf-8") == "the old one\n"


def test_a_document_appears_only_when_it_is_complete(site: Server, tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    with started(site.url("/ok"), site.url("/hang"), "-q", "-o", output) as process:
        wait_until(lambda: site.counts["/hang"] == 1)
        assert not output.exists()
        interrupted(process, signal.SIGTERM, lambda: True)
    assert len(json.loads(output.read_text("utf-8"))["results"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


# Closed pipes


@pytest.mark.parametrize("form", ["--jsonl", "--json"])
def test_a_closed_pipe_stops_the_run_silently(site: Server, tmp_path: Path, form: str) -> None:
    urls = [site.url(f"/ok?{number}") for number in range(3_000)]
    listed = write(tmp_path / "urls.txt", site.url("/hang"), *urls)
    ended = script('"$@" | head -n 1', listed, form)
    assert (len(ended.stdout.splitlines()), ended.stderr) == (1, "")
    assert site.counts["/ok"] < 3_000


def test_a_closed_pipe_is_an_incomplete_run(site: Server, tmp_path: Path) -> None:
    urls = [site.url(f"/ok?{number}") for number in range(3_000)]
    listed = write(tmp_path / "urls.txt", *urls)
    with started(listed, "--jsonl", "-o", tmp_path / "out.jsonl") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 3
    kept = outcomes(records((tmp_path / "out.jsonl").read_text("utf-8")))
    assert kept.count("responded") >= 1
    assert kept.count("unreached") == len(kept) - kept.count("responded") > 0


@pytest.mark.parametrize("args", [[], ["--json"], ["--jsonl"], ["--help"], ["--version"]])
def test_a_reader_that_reads_nothing_is_not_an_error(site: Server, args: list[str]) -> None:
    ended = script('"$@" | :', site.url("/ok"), *args)
    assert (ended.stdout, ended.stderr) == ("", "")


def test_a_slow_reader_does_not_add_to_a_latency(site: Server, tmp_path: Path) -> None:
    """The pipe is full for longer than the timeout; only the run takes longer."""
    urls = [site.url(f"/ok?{number}") for number in range(500)]
    listed = write(tmp_path / "urls.txt", *urls)
    with started(listed, "--jsonl", "--timeout", "1") as process:
        wait_until_stalled(site)
        assert site.counts["/ok"] < 500
        time.sleep(1.2)
        out, err = process.communicate(timeout=30)
    found = records(out)
    assert (process.returncode, err) == (0, "")
    assert outcomes(found) == ["responded"] * 500
    assert max(record["latency_ms"] for record in found) < 1_000


# Outputs that cannot be written


@needs_full
@pytest.mark.parametrize("form", [[], ["--json"], ["--jsonl"]], ids=["table", "json", "jsonl"])
def test_a_full_standard_output_is_one_error_and_the_other_output_is_complete(
    site: Server, tmp_path: Path, form: list[str]
) -> None:
    listed = write(tmp_path / "urls.txt", *(site.url(f"/ok?{number}") for number in range(100)))
    output = tmp_path / "out.jsonl"
    with FULL.open("w") as full:
        ended = crawl(listed, *form, "-o", output, stdout=full)
    assert ended.returncode == 2
    assert complaint(ended) == "cannot write standard output: No space left on device"
    assert outcomes(records(output.read_text("utf-8"))) == ["responded"] * 100


@needs_full
@pytest.mark.parametrize("name", ["full.json", "full.jsonl"])
def test_a_full_disk_is_one_error_and_the_other_outputs_are_complete(
    site: Server, tmp_path: Path, name: str
) -> None:
    listed = write(tmp_path / "urls.txt", *(site.url(f"/ok?{number}") for number in range(100)))
    full = tmp_path / name
    full.symlink_to(FULL)
    ended = crawl(listed, "--jsonl", "-o", full, "-o", tmp_path / "out.jsonl")
    assert ended.returncode == 2
    assert complaint(ended) == f"cannot write {full}: No space left on device"
    assert outcomes(records(ended.stdout)) == ["responded"] * 100
    assert records((tmp_path / "out.jsonl").read_text("utf-8")) == records(ended.stdout)


@needs_full
def test_a_full_output_that_is_the_only_one_ends_the_run(site: Server, tmp_path: Path) -> None:
    """No result would be seen."""
    listed = write(tmp_path / "urls.txt", *(site.url(f"/ok?{number}") for number in range(3_000)))
    with FULL.open("w") as full:
        ended = crawl(listed, "--jsonl", stdout=full)
    assert ended.returncode == 2
    assert complaint(ended) == "cannot write standard output: No space left on device"
    assert site.counts["/ok"] < 3_000


@needs_full
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_on_a_full_output_is_one_error(option: str) -> None:
    with FULL.open("w") as full:
        ended = crawl(option, stdout=full)
    assert ended.returncode == 2
    assert "standard output" in complaint(ended)


def test_a_closed_standard_output_is_one_error(site: Server, tmp_path: Path) -> None:
    ended = script('"$@" >&-', site.url("/ok"), "-o", tmp_path / "out.jsonl")
    assert ended.returncode == 2
    assert "standard output" in complaint(ended)
    assert outcomes(records((tmp_path / "out.jsonl").read_text("utf-8"))) == ["responded"]


def test_a_closed_standard_output_does_not_matter_if_it_is_not_used(
    site: Server, tmp_path: Path
) -> None:
    ended = script('"$@" >&-', site.url("/ok"), "-q", "-o", tmp_path / "out.jsonl")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert outcomes(records((tmp_path / "out.jsonl").read_text("utf-8"))) == ["responded"]


@needs_full
@pytest.mark.parametrize("commands", ['"$@" 2>/dev/full', '"$@" 2>&-'], ids=["full", "closed"])
def test_a_full_standard_error_does_not_change_the_exit_code(commands: str) -> None:
    ended = script(commands, "no/such/list")
    assert (ended.returncode, ended.stdout) == (2, "")


@needs_full
def test_a_full_standard_error_costs_no_result(site: Server) -> None:
    variables = environment(HTTP_PROXY="http://127.0.0.1:1", NO_PROXY="127.0.0.1")
    ended = script('"$@" 2>/dev/full', site.url("/ok"), "--jsonl", env=variables)
    assert ended.returncode == 0
    assert outcomes(records(ended.stdout)) == ["responded"]


@pytest.mark.parametrize("name", ["out.json", "out.jsonl"])
def test_a_read_only_directory_is_reported_before_the_first_request(
    site: Server, tmp_path: Path, name: str
) -> None:
    directory = tmp_path / "read-only"
    directory.mkdir()
    directory.chmod(0o555)
    ended = bound(site.url("/ok"), "-o", directory / name)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert complaint(ended) == f"cannot write {directory / name}: Permission denied"
    assert site.requests == []


@pytest.mark.parametrize("name", ["out.json", "out.jsonl"])
def test_a_read_only_file_is_reported_before_the_first_request(
    site: Server, tmp_path: Path, name: str
) -> None:
    output = write(tmp_path / name, "the old one")
    output.chmod(0o444)
    ended = bound(site.url("/ok"), "-o", output)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert complaint(ended) == f"cannot write {output}: Permission denied"
    assert output.read_text("utf-8") == "the old one\n"
    assert site.requests == []


@pytest.mark.parametrize("name", ["missing/out.json", "missing/out.jsonl"])
def test_a_missing_directory_is_reported_before_the_first_request(
    site: Server, tmp_path: Path, name: str
) -> None:
    ended = crawl(site.url("/ok"), "-o", "good.json", "-o", name, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert complaint(ended) == f"cannot write {name}: No such file or directory"
    assert site.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["directory.json", "directory.jsonl"])
def test_a_directory_is_refused_as_an_output(site: Server, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    ended = crawl(site.url("/ok"), "-o", name, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert complaint(ended) == f"cannot write {name}: Is a directory"
    assert site.requests == []


@pytest.mark.parametrize(
    ("commands", "name"),
    [
        ('"$@" urls.txt --jsonl >> urls.txt', "urls.txt"),
        ('"$@" urls.txt --json >> urls.txt', "urls.txt"),
        ('"$@" urls.txt >> urls.txt', "urls.txt"),
        ('"$@" urls.txt --jsonl 1<> urls.txt', "urls.txt"),
        ('"$@" other.txt urls.txt --jsonl >> link.txt', "urls.txt"),
        ('"$@" link.txt --jsonl >> urls.txt', "link.txt"),
        ('"$@" --jsonl < urls.txt >> urls.txt', "standard input"),
        ('"$@" - --jsonl < urls.txt >> urls.txt', "standard input"),
    ],
    ids=["lines", "document", "table", "in place", "hard link", "by a link", "piped", "dash"],
)
def test_a_list_that_is_also_standard_output_is_refused(
    site: Server, tmp_path: Path, commands: str, name: str
) -> None:
    """It would grow by its own records, endlessly."""
    listed = write(tmp_path / "urls.txt", site.url("/ok"))
    os.link(listed, tmp_path / "link.txt")
    write(tmp_path / "other.txt", site.url("/ok"))
    ended = script(commands, cwd=tmp_path)
    assert ended.returncode == 2
    assert complaint(ended) == f"{name} is both a list and standard output"
    assert listed.read_text("utf-8") == f"{site.url('/ok')}\n"
    assert site.requests == []


def test_a_list_may_be_standard_output_if_nothing_is_written_there(
    site: Server, tmp_path: Path
) -> None:
    listed = write(tmp_path / "urls.txt", site.url("/ok"))
    ended = script('"$@" urls.txt -q >> urls.txt', cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert listed.read_text("utf-8") == f"{site.url('/ok')}\n"


@pytest.mark.parametrize("option", ["-o", "--failed-to"])
@pytest.mark.parametrize("name", ["out.jsonl", "link.jsonl"], ids=["the same name", "a hard link"])
def test_an_output_that_is_also_standard_output_is_refused(
    site: Server, tmp_path: Path, option: str, name: str
) -> None:
    write(tmp_path / "out.jsonl", "earlier")
    os.link(tmp_path / "out.jsonl", tmp_path / "link.jsonl")
    ended = script(f'"$@" --jsonl {option} {name} >> out.jsonl', site.url("/ok"), cwd=tmp_path)
    assert ended.returncode == 2
    assert complaint(ended) == f"{name} is also standard output"
    assert (tmp_path / "out.jsonl").read_text("utf-8") == "earlier\n"
    assert site.requests == []


def test_an_output_given_twice_through_links_is_refused(site: Server, tmp_path: Path) -> None:
    write(tmp_path / "out.jsonl", "earlier")
    os.link(tmp_path / "out.jsonl", tmp_path / "link.jsonl")
    ended = crawl(site.url("/ok"), "-q", "-o", "out.jsonl", "-o", "link.jsonl", cwd=tmp_path)
    assert ended.returncode == 2
    assert complaint(ended) == "link.jsonl is given as an output more than once"


def test_a_device_may_be_both_list_and_output(site: Server) -> None:
    """As on a terminal, where input and output are the same device."""
    ended = script('"$@" < /dev/null > /dev/null', "-", site.url("/ok"), "--jsonl")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_file_may_be_called_standard_output(site: Server, tmp_path: Path) -> None:
    name = "standard output"
    ended = crawl(site.url("/ok"), "--jsonl", "--failed-to", name, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / name).exists()


def test_an_output_that_cannot_be_opened_leaves_an_old_document_unchanged(
    site: Server, tmp_path: Path
) -> None:
    write(tmp_path / "old.json", "the old one")
    ended = crawl(site.url("/ok"), "-o", "old.json", "-o", "missing/out.json", cwd=tmp_path)
    assert ended.returncode == 2
    assert (tmp_path / "old.json").read_text("utf-8") == "the old one\n"
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]


# A list that turns out to be binary


def test_checks_before_a_list_error_are_written(site: Server, tmp_path: Path) -> None:
    listed = write(tmp_path / "urls.txt", site.url("/ok"), "# " + "x" * 200_000, "a\0b")
    ended = crawl(listed, "--json")
    document = json.loads(ended.stdout)
    assert ended.returncode == 2
    assert f"{listed}, line 3" in complaint(ended)
    assert outcomes(document["results"]) == ["responded"]
    assert (document["summary"]["complete"], document["summary"]["exit_code"]) == (False, 2)


# A terminal


def test_a_signal_restores_the_terminal(site: Server) -> None:
    """The bar hid the cursor; it is shown again, and the table follows."""

    def during(process: subprocess.Popen[str]) -> None:
        wait_until(lambda: site.counts["/hang"] == 1)
        time.sleep(0.3)  # in which the bar is drawn
        process.send_signal(signal.SIGINT)

    ended = on_terminal(site.url("/ok"), site.url("/hang"), during=during)
    assert ended.returncode == 130
    assert ended.stderr.rfind(HIDE) < ended.stderr.rfind(SHOW)
    assert "Total: 2 URLs, 1 success, 0 failed, 1 unreached" in ended.stdout
