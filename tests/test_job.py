"""Runs of the command: inputs, outputs and the exit code."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from loopback import Server, reply
from shell import (
    Ended,
    bound,
    complaint,
    crawl,
    environment,
    in_order,
    on_terminal,
    once,
    records,
    script,
    started,
    write,
)


def origins(ended: Ended) -> list[tuple[Any, ...]]:
    """Return index, source, line, input and outcome of each record, in order of index."""
    keys = ("index", "source", "line", "input", "outcome")
    return [tuple(record[key] for key in keys) for record in in_order(records(ended.stdout))]


# Targets


def test_a_list_whose_urls_all_pass_exits_with_0(site: Server, tmp_path: Path) -> None:
    listed = write(tmp_path / "urls.txt", site.url("/ok?1"), site.url("/ok?2"))
    ended = crawl(listed, "--jsonl")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [record["ok"] for record in records(ended.stdout)] == [True, True]


def test_one_failed_url_makes_the_exit_code_1(site: Server) -> None:
    ended = crawl(site.url("/ok"), site.url("/gone"), "--jsonl", "--ordered")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert [(record["ok"], record["status"]) for record in records(ended.stdout)] == [
        (True, 200),
        (False, 410),
    ]


def test_an_invalid_line_makes_the_exit_code_1_and_the_rest_is_checked(
    site: Server, tmp_path: Path
) -> None:
    good = [site.url("/ok?1"), site.url("/ok?2")]
    listed = write(tmp_path / "urls.txt", good[0], "# a comment", "ftp://127.0.0.1/x", good[1])
    ended = crawl(listed, "--jsonl")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert origins(ended) == [
        (0, str(listed), 1, good[0], "responded"),
        (1, str(listed), 3, "ftp://127.0.0.1/x", "invalid"),
        (2, str(listed), 4, good[1], "responded"),
    ]


def test_urls_files_and_standard_input_can_be_mixed(site: Server, tmp_path: Path) -> None:
    urls = [site.url(f"/ok?{number}") for number in range(5)]
    first = write(tmp_path / "first.txt", urls[1])
    second = write(tmp_path / "second.txt", "", urls[4])
    ended = crawl(urls[0], first, "-", second, "--jsonl", text=f"{urls[2]}\n{urls[3]}")
    assert origins(ended) == [
        (0, "argument", None, urls[0], "responded"),
        (1, str(first), 1, urls[1], "responded"),
        (2, "-", 1, urls[2], "responded"),
        (3, "-", 2, urls[3], "responded"),
        (4, str(second), 2, urls[4], "responded"),
    ]


def test_piped_standard_input_is_read_without_a_target(site: Server) -> None:
    ended = crawl("--jsonl", text=site.url("/ok"))
    assert origins(ended) == [(0, "-", 1, site.url("/ok"), "responded")]


def test_results_appear_before_a_pipe_is_closed(site: Server) -> None:
    with started("--jsonl", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(2):
            process.stdin.write(f"{site.url(f'/ok?{number}')}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["index"] == number
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.parametrize("targets", [[], ["-"]], ids=["no target", "-"])
def test_a_pipe_may_be_closed_long_before_its_urls_are_checked(
    server: Server, targets: list[str]
) -> None:
    """Connections are opened after the end of standard input."""
    server.on("/ok", reply(200, b"", "Connection: close"))
    text = "".join(f"{server.url(f'/ok?{number}')}\n" for number in range(100))
    ended = crawl(*targets, "--jsonl", text=text)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [record["ok"] for record in records(ended.stdout)] == [True] * 100


def test_results_appear_before_the_writer_of_a_fifo_closes_it(site: Server, tmp_path: Path) -> None:
    fifo = tmp_path / "urls.fifo"
    os.mkfifo(fifo)
    with started(fifo, "--jsonl") as process:
        assert process.stdout is not None
        with fifo.open("w") as writer:
            for number in range(2):
                writer.write(f"{site.url(f'/ok?{number}')}\n")
                writer.flush()
                assert json.loads(process.stdout.readline())["index"] == number
        assert process.wait() == 0


def test_a_duplicate_is_requested_once_and_counted(site: Server, tmp_path: Path) -> None:
    listed = write(tmp_path / "urls.txt", site.url("/ok"), site.url("/ok"), site.url("/ok"))
    ended = crawl(listed, "--json")
    document = json.loads(ended.stdout)
    assert site.counts == {"/ok": 1}
    assert (document["summary"]["total"], document["summary"]["duplicates"]) == (1, 2)


def test_repeat_checks_every_occurrence_of_a_url(site: Server, tmp_path: Path) -> None:
    listed = write(tmp_path / "urls.txt", site.url("/ok"), site.url("/ok"), site.url("/ok"))
    ended = crawl(listed, "--json", "--repeat")
    document = json.loads(ended.stdout)
    assert site.counts == {"/ok": 3}
    assert (document["summary"]["total"], document["summary"]["duplicates"]) == (3, 0)


@pytest.mark.parametrize(
    ("name", "rule"),
    [("missing.txt", "No such file"), (".", "directory"), ("no/list.txt", "No such file")],
    ids=["missing", "directory", "missing directory"],
)
def test_an_unreadable_list_is_reported_before_any_request(
    site: Server, tmp_path: Path, name: str, rule: str
) -> None:
    ended = crawl(site.url("/ok"), name, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert name in complaint(ended)
    assert rule in complaint(ended)
    assert site.requests == []


def test_a_list_without_read_permission_is_reported_before_any_request(
    site: Server, tmp_path: Path
) -> None:
    write(tmp_path / "urls.txt", site.url("/ok?1")).chmod(0o000)
    ended = bound(site.url("/ok"), "urls.txt", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert complaint(ended) == "cannot read urls.txt: Permission denied"
    assert site.requests == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_utf_16_list_is_one_error_that_names_the_line(tmp_path: Path, encoding: str) -> None:
    listed = tmp_path / "urls.txt"
    listed.write_text("http://127.0.0.1:1/\n", encoding)
    ended = crawl(listed)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"{listed}, line 1" in complaint(ended)
    assert "UTF-16" in complaint(ended)


@pytest.mark.parametrize(
    "text",
    ["", "\n\n  \n", "# only\n  # comments\n", "\ufeff", "\ufeff# marked\n"],
    ids=["empty", "blank", "comments", "byte order mark", "mark and comment"],
)
def test_a_list_without_urls_is_nothing_to_check(tmp_path: Path, text: str) -> None:
    listed = tmp_path / "urls.txt"
    listed.write_text(text, "utf-8")
    ended = crawl(listed)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "nothing to check" in complaint(ended)


@pytest.mark.parametrize("commands", ['"$@" <&-', '"$@" - <&-', '"$@" </dev/null', ': | "$@" -'])
def test_a_closed_or_empty_standard_input_is_nothing_to_check(commands: str) -> None:
    ended = script(commands)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "nothing to check" in complaint(ended)


def test_an_empty_list_still_yields_a_json_document() -> None:
    ended = crawl("--json", text="")
    document = json.loads(ended.stdout)
    assert document["results"] == []
    assert (document["summary"]["total"], document["summary"]["exit_code"]) == (0, 2)


def test_no_target_at_a_terminal_is_a_usage_error() -> None:
    ended = on_terminal()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "crawl --help" in complaint(ended)


def test_standard_input_can_be_read_only_once() -> None:
    ended = crawl("-", "-", text="")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "standard input" in complaint(ended)


# Options


def test_a_low_open_file_limit_is_raised(server: Server, tmp_path: Path) -> None:
    server.on("/meet", once(lambda: server.counts["/meet"] >= 100))
    urls = [server.url(f"/meet?{number}") for number in range(100)]
    listed = write(tmp_path / "urls.txt", *urls)
    ended = script('ulimit -Sn 64; exec "$@"', listed, "--max", "100", "--per-host", "100")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("files", [64, 40])
def test_a_low_hard_limit_lowers_max_with_one_warning_and_fails_no_url(
    server: Server, tmp_path: Path, files: int
) -> None:
    server.on("/ok", reply())
    urls = [server.url(f"/ok?{number}") for number in range(200)]
    listed = write(tmp_path / "urls.txt", *urls)
    ended = script(
        f'ulimit -n {files}; exec "$@"', listed, "--max", "200", "--per-host", "200", "--jsonl"
    )
    assert ended.returncode == 0
    assert [record["ok"] for record in records(ended.stdout)] == [True] * 200
    lowered = re.search(r"--max lowered from 200 to (\d+)", complaint(ended))
    assert lowered is not None
    assert 1 <= server.busiest <= int(lowered[1])


# Outputs


def test_json_is_one_document_with_results_and_summary(site: Server) -> None:
    ended = crawl(site.url("/ok"), site.url("/gone"), "ftp://x", "--json", "--ordered")
    document = json.loads(ended.stdout)
    summary = document["summary"]
    assert (ended.returncode, ended.stderr) == (1, "")
    assert list(document) == ["schema", "results", "summary"]
    assert [record["outcome"] for record in document["results"]] == [
        "responded",
        "responded",
        "invalid",
    ]
    counts = ("total", "passed", "failed", "invalid", "unreached", "complete", "exit_code")
    assert [summary[key] for key in counts] == [3, 1, 1, 1, 0, True, 1]


def test_every_output_gets_every_record(site: Server, tmp_path: Path) -> None:
    outputs = ["-o", "a.jsonl", "--output", "b.JSON", "-o", "c.jsonl"]
    ended = crawl(site.url("/ok"), site.url("/gone"), "--jsonl", *outputs, cwd=tmp_path)
    shown = in_order(records(ended.stdout))
    assert len(shown) == 2
    for name in ("a.jsonl", "c.jsonl"):
        lines = records((tmp_path / name).read_text("utf-8"))
        assert in_order(lines) == shown
    document = json.loads((tmp_path / "b.JSON").read_text("utf-8"))
    assert in_order(document["results"]) == shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.JSON", "c.jsonl"]


def test_a_file_is_written_in_addition_to_the_table(site: Server, tmp_path: Path) -> None:
    ended = crawl(site.url("/ok"), "-o", "out.jsonl", cwd=tmp_path)
    assert ended.stdout.startswith("URL ")
    assert [record["ok"] for record in records((tmp_path / "out.jsonl").read_text())] == [True]


def test_an_output_file_is_replaced_not_appended_to(site: Server, tmp_path: Path) -> None:
    write(tmp_path / "out.jsonl", "x" * 10_000)
    write(tmp_path / "out.json", "x" * 10_000)
    crawl(site.url("/ok"), "-o", "out.jsonl", "-o", "out.json", cwd=tmp_path)
    assert len(records((tmp_path / "out.jsonl").read_text("utf-8"))) == 1
    assert len(json.loads((tmp_path / "out.json").read_text("utf-8"))["results"]) == 1


@pytest.mark.parametrize("other", ["out.jsonl", "./out.jsonl", "link.jsonl"])
def test_one_file_cannot_be_two_outputs(site: Server, tmp_path: Path, other: str) -> None:
    (tmp_path / "link.jsonl").symlink_to("out.jsonl")
    ended = crawl(site.url("/ok"), "-o", "out.jsonl", "-o", other, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert other in complaint(ended)
    assert site.requests == []


@pytest.mark.parametrize("output", ["urls.jsonl", "./urls.jsonl", "link.jsonl"])
def test_a_list_cannot_be_an_output(site: Server, tmp_path: Path, output: str) -> None:
    listed = write(tmp_path / "urls.jsonl", site.url("/ok"))
    (tmp_path / "link.jsonl").symlink_to("urls.jsonl")
    before = listed.read_text("utf-8")
    ended = crawl("urls.jsonl", "-o", output, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert output in complaint(ended)
    assert listed.read_text("utf-8") == before
    assert site.requests == []


def test_a_hard_link_to_a_list_cannot_be_an_output(site: Server, tmp_path: Path) -> None:
    listed = write(tmp_path / "urls.txt", site.url("/ok"))
    (tmp_path / "hard.jsonl").hardlink_to(listed)
    before = listed.read_text("utf-8")
    ended = crawl("urls.txt", "-o", "hard.jsonl", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert listed.read_text("utf-8") == before


def test_a_redirected_standard_input_cannot_be_an_output(site: Server, tmp_path: Path) -> None:
    listed = write(tmp_path / "urls.jsonl", site.url("/ok"))
    before = listed.read_text("utf-8")
    with listed.open() as opened:
        ended = crawl("-o", "urls.jsonl", cwd=tmp_path, stdin=opened)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert listed.read_text("utf-8") == before


def test_ordered_writes_records_in_input_order(server: Server, tmp_path: Path) -> None:
    """The response to the first URL comes after all others have been requested."""
    server.on("/last", once(lambda: server.counts["/ok"] == 20))
    server.on("/ok", reply())
    urls = [server.url("/last"), *(server.url(f"/ok?{number}") for number in range(20))]
    listed = write(tmp_path / "urls.txt", *urls)
    ended = crawl(listed, "--jsonl", "--ordered", "-o", "out.json", cwd=tmp_path)
    document = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert [record["input"] for record in records(ended.stdout)] == urls
    assert [record["input"] for record in document["results"]] == urls


def test_jsonl_writes_records_as_they_finish(server: Server, tmp_path: Path) -> None:
    server.on("/last", once(lambda: server.counts["/ok"] == 20))
    server.on("/ok", reply())
    urls = [server.url("/last"), *(server.url(f"/ok?{number}") for number in range(20))]
    ended = crawl(write(tmp_path / "urls.txt", *urls), "--jsonl")
    shown = [record["input"] for record in records(ended.stdout)]
    assert sorted(shown) == sorted(urls)
    assert shown[0] != server.url("/last")


def test_quiet_prints_nothing(site: Server) -> None:
    variables = environment(HTTP_PROXY=site.origin, NO_PROXY="127.0.0.1")
    ended = crawl(site.url("/ok"), site.url("/gone"), "-q", env=variables)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "")


def test_verbose_prints_the_engine_and_the_event_loop(site: Server) -> None:
    ended = crawl(site.url("/ok"), "-v", "--jsonl")
    assert (ended.returncode, len(records(ended.stdout))) == (0, 1)
    assert "engine direct" in complaint(ended)


def test_quiet_checks_the_whole_list(site: Server, tmp_path: Path) -> None:
    urls = [site.url(f"/ok?{number}") for number in range(200)]
    ended = crawl(write(tmp_path / "urls.txt", *urls), "-q")
    assert (ended.returncode, site.counts) == (0, {"/ok": 200})


def test_quiet_still_writes_the_requested_outputs(site: Server, tmp_path: Path) -> None:
    ended = crawl(site.url("/ok"), "--quiet", "--jsonl", "-o", "out.jsonl", cwd=tmp_path)
    assert len(records(ended.stdout)) == 1
    assert len(records((tmp_path / "out.jsonl").read_text("utf-8"))) == 1
    assert ended.stderr == ""


def test_a_run_emits_no_warning(site: Server, tmp_path: Path) -> None:
    variables = environment(PYTHONWARNINGS="always")
    ended = crawl(site.url("/ok"), "-o", "out.json", cwd=tmp_path, env=variables)
    assert (ended.returncode, ended.stderr) == (0, "")
