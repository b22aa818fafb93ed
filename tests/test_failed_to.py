"""--failed-to: the entries that did not pass, as a list that can be checked again."""

import signal
import stat
from pathlib import Path

import pytest
from loopback import (
    Server,
    reply,
    silent,
)
from shell import (
    bound,
    complaint,
    crawl,
    records,
    script,
    started,
    wait_until,
    write,
)
from sites import numbered

SECRET = "hunter2"


def test_failed_lines_are_a_list_of_just_the_entries_that_did_not_pass(
    server: Server, tmp_path: Path
) -> None:
    server.on("/ok", reply())
    bad = [server.on("/gone", reply(410)), "ftp://127.0.0.1/x", server.on("/bad", reply(500))]
    good = numbered(server.url("/ok"), 3)
    listed = write(tmp_path / "urls.txt", good[0], bad[0], bad[1], good[1], bad[2], good[2])
    failed = tmp_path / "failed.txt"
    assert crawl(listed, "--failed-to", failed, "-q", "--retries", "0").returncode == 1
    written = failed.read_text("utf-8").splitlines()
    assert sorted(line for line in written if not line.startswith("#")) == sorted(bad)
    for comment, line in zip(written[::2], written[1::2], strict=True):
        assert comment.startswith("# ")
        assert len(comment) > 2
        assert not line.startswith("#")
    before = server.counts.copy()
    again = crawl(failed, "--jsonl", "--retries", "0")
    assert sorted(record["input"] for record in records(again.stdout)) == sorted(bad)
    assert server.counts - before == {"/gone": 1, "/bad": 1}


def test_failed_lines_may_replace_the_list_they_come_from(server: Server, tmp_path: Path) -> None:
    server.on("/ok", reply())
    bad = server.on("/gone", reply(410))
    listed = write(tmp_path / "urls.txt", server.url("/ok"), bad, server.url("/ok?2"))
    assert crawl(listed, "--failed-to", listed, "-q").returncode == 1
    rest = [line for line in listed.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert rest == [bad]
    server.on("/gone", reply())
    assert crawl(listed, "--failed-to", listed, "-q").returncode == 0
    assert listed.read_text("utf-8") == ""
    assert list(tmp_path.iterdir()) == [listed]


def test_failed_lines_with_a_password_are_readable_by_their_owner_only(
    server: Server, tmp_path: Path
) -> None:
    server.on("/gone", reply(410))
    line = server.url("/gone").replace("://", f"://user:{SECRET}@")
    listed = write(tmp_path / "urls.txt", line)
    failed = tmp_path / "failed.txt"
    ended = script('umask 0; "$@"', listed, "--failed-to", failed, "--jsonl")
    assert SECRET not in ended.stdout + ended.stderr
    assert failed.read_text("utf-8").splitlines()[-1] == line
    assert SECRET not in failed.read_text("utf-8").splitlines()[0]
    assert stat.S_IMODE(failed.stat().st_mode) == 0o600


def test_failed_lines_that_are_not_utf_8_keep_their_bytes(tmp_path: Path) -> None:
    line = b"http://127.0.0.1/\xff\xfe here"
    listed, failed = tmp_path / "urls.txt", tmp_path / "failed.txt"
    listed.write_bytes(line + b"\n")
    assert crawl(listed, "--failed-to", failed, "-q").returncode == 1
    assert failed.read_bytes().splitlines()[-1] == line


def test_an_argument_with_a_line_end_does_not_become_two_entries(
    server: Server, tmp_path: Path
) -> None:
    url = server.on("/page", reply())
    failed = tmp_path / "failed.txt"
    assert crawl(f"{url}?1\n{url}?2", "--failed-to", failed, "-q").returncode == 1
    crawl(failed, "-q")
    assert server.requests == []


@pytest.mark.parametrize("how", ["signal", "deadline"])
def test_unreached_lines_are_kept(server: Server, tmp_path: Path, how: str) -> None:
    server.on("/ok", reply())
    server.on("/hang", silent())
    hanging = numbered(server.url("/hang"), 25)
    listed = write(tmp_path / "urls.txt", server.url("/ok"), *hanging)
    failed = tmp_path / "failed.txt"
    ends = () if how == "signal" else ("--deadline", "0.5")
    with started(listed, "--failed-to", failed, "-q", *ends) as process:
        if how == "signal":
            wait_until(lambda: server.counts["/hang"] == 10)
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == (130 if how == "signal" else 3)
    kept = [line for line in failed.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert sorted(kept) == sorted(hanging)


def test_a_signal_loses_no_line_of_a_list_that_is_being_replaced(
    server: Server, tmp_path: Path
) -> None:
    server.on("/hang", silent())
    urls = numbered(server.url("/hang"), 20_000)
    listed = write(tmp_path / "urls.txt", *urls)
    with started(listed, "--failed-to", listed, "-q") as process:
        wait_until(lambda: server.counts["/hang"] == 10)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    kept = {line for line in listed.read_text("utf-8").splitlines() if not line.startswith("#")}
    assert len(set(urls) - kept) == 0


def test_a_file_that_is_not_a_list_is_not_replaced(server: Server, tmp_path: Path) -> None:
    bad = server.on("/gone", reply(410))
    listed = write(tmp_path / "urls.txt", bad, *["# " + "x" * 1_000] * 200, "\0", f"{bad}?last")
    before = listed.read_bytes()
    assert crawl(listed, "--failed-to", listed, "-q").returncode == 2
    assert listed.read_bytes() == before


def test_an_unwritable_path_is_reported_before_any_request(server: Server, tmp_path: Path) -> None:
    url = server.on("/gone", reply(410))
    options = ("--failed-to", "missing/failed.txt", "-o", "out.json", "-q")
    ended = crawl(url, *options, cwd=tmp_path)
    assert ended.returncode == 2
    assert complaint(ended) == "cannot write missing/failed.txt: No such file or directory"
    assert (list(tmp_path.iterdir()), server.requests) == ([], [])


def test_a_read_only_file_stays_and_leaves_no_temporary_file(
    server: Server, tmp_path: Path
) -> None:
    url = server.on("/gone", reply(410))
    failed = write(tmp_path / "failed.txt", "# mine")
    failed.chmod(0o400)
    ended = bound(url, "--failed-to", failed, "-q")
    assert ended.returncode == 2
    assert "Permission denied" in complaint(ended)
    assert (failed.read_text("utf-8"), list(tmp_path.iterdir())) == ("# mine\n", [failed])
    assert server.requests == []


def test_a_full_disk_is_reported_and_leaves_the_old_file(server: Server, tmp_path: Path) -> None:
    server.on("/gone", reply(410))
    failed = write(tmp_path / "failed.txt", "# mine")
    listed = write(tmp_path / "urls.txt", *numbered(server.url("/gone"), 200))
    ended = script('ulimit -f 1; "$@"', listed, "--failed-to", failed, "-q")
    assert ended.returncode == 2
    assert str(failed) in complaint(ended)
    assert failed.read_text("utf-8") == "# mine\n"
    assert sorted(tmp_path.iterdir()) == sorted([failed, listed])


def test_failed_lines_and_results_may_not_go_to_one_file(server: Server, tmp_path: Path) -> None:
    url = server.on("/gone", reply(410))
    ended = crawl(url, "--failed-to", "out.jsonl", "-o", "out.jsonl", "-q", cwd=tmp_path)
    assert ended.returncode == 2
    assert "out.jsonl" in complaint(ended)
    assert server.requests == []
