"""The command line: options, their effect, usage errors, help."""

import os
import re
from importlib import metadata
from pathlib import Path

import pytest
from loopback import Server, redirect, reply, silent
from shell import (
    complaint,
    crawl,
    environment,
    in_order,
    once,
    records,
    write,
)

from crawler.cli.command import main
from crawler.models import ErrorKind

ESCAPE = "\x1b"


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--max", "0", "a whole number from 1 to 10,000,000"),
        ("--max", "-1", "a whole number from 1 to 10,000,000"),
        ("--max", "ten", "a whole number from 1 to 10,000,000"),
        ("--max", "1.5", "a whole number from 1 to 10,000,000"),
        ("--max", "", "a whole number from 1 to 10,000,000"),
        ("--max", "٣", "a whole number from 1 to 10,000,000"),
        ("--max", "1" * 30, "a whole number from 1 to 10,000,000"),
        ("--per-host", "0", "a whole number from 1 to 10,000,000"),
        ("--max-redirects", "-1", "a whole number from 0 to 10,000,000"),
        ("--timeout", "0", "a number of seconds above 0"),
        ("--timeout", "-1", "a number of seconds above 0"),
        ("--timeout", "nan", "a number of seconds above 0"),
        ("--timeout", "inf", "a number of seconds above 0"),
        ("--timeout", "soon", "a number of seconds above 0"),
        ("--max-body", "ten", "a size such as 500KB, 10MB or 1GB"),
        ("--max-body", "-1", "a size such as 500KB, 10MB or 1GB"),
        ("--max-body", "5QB", "a size such as 500KB, 10MB or 1GB"),
        ("--accept", "", "status such as 204, 2xx or 200-399"),
        ("--accept", "20", "status such as 204, 2xx or 200-399"),
        ("--accept", "2000", "status such as 204, 2xx or 200-399"),
        ("--accept", "200,ok", "status such as 204, 2xx or 200-399"),
        ("--accept", "300-200", "not a valid status range"),
        ("--accept", "099-200", "not a valid status range"),
        ("--method", "", "is not an HTTP method such as GET or HEAD"),
        ("--method", "G T", "is not an HTTP method such as GET or HEAD"),
        ("--method", "CONNECT", "is not an HTTP method such as GET or HEAD"),
        ("--cacert", "no/such.pem", "cannot be read: No such file or directory"),
        ("--cacert", os.devnull, "contains no certificate in PEM format"),
        ("--proxy", "ftp://127.0.0.1", "a proxy URL such as http://host:3128"),
        ("--proxy", "http://", "a proxy URL such as http://host:3128"),
        ("--proxy", "http://127.0.0.1:port", "a proxy URL such as http://host:3128"),
        ("--proxy", "http://127.0.0.1:65536", "a proxy URL such as http://host:3128"),
        ("--engine", "turbo", "direct, native or httpx"),
        ("-o", "report.txt", "end in .json or .jsonl"),
        ("-o", "report", "end in .json or .jsonl"),
    ],
)
def test_an_invalid_value_is_one_line_with_the_value_and_the_rule(
    capsys: pytest.CaptureFixture[str], option: str, value: str, rule: str
) -> None:
    assert main(["http://127.0.0.1:1/", option, value]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"crawl: [^\n]+\n", err)
    assert option in err
    assert f"'{value}'" in err
    assert rule in err


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("no colon", "of the form 'Name: value'"),
        (": value", "of the form 'Name: value'"),
        ("two words: value", "of the form 'Name: value'"),
        ("X-Lines: a\nb", "'X-Lines' has a character in its value that is not allowed in a header"),
        ("X-Bell: \x07", "'X-Bell' has a character in its value that is not allowed in a header"),
        ("@no/such", "no/such cannot be read: No such file or directory"),
    ],
)
def test_an_invalid_header_is_one_line_with_the_rule(
    capsys: pytest.CaptureFixture[str], value: str, rule: str
) -> None:
    assert main(["http://127.0.0.1:1/", "-H", value]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"crawl: [^\n]+\n", err)
    assert "-H" in err
    assert rule in err


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (["--no-such-option"], "--no-such-option"),
        (["--max"], "--max"),
        (["--json", "--jsonl"], "--json and --jsonl"),
        (["--demo", "http://127.0.0.1:1/"], "--demo"),
        (["--engine", "native", "--proxy", "http://127.0.0.1:1", "http://127.0.0.1:1/"], "native"),
    ],
    ids=["unknown", "value missing", "two formats", "demo with a target", "native with a proxy"],
)
def test_a_usage_error_is_one_line(
    capsys: pytest.CaptureFixture[str], args: list[str], shown: str
) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"crawl: [^\n]+\n", err)
    assert shown in err
    assert "Invalid value" not in err


def test_a_value_cannot_break_its_own_error_message() -> None:
    ended = crawl("http://127.0.0.1:1/", "--max", f"1\n::error::{ESCAPE}[31m")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert r"'1\x0a::error::\x1b[31m'" in complaint(ended)


def test_version_prints_the_version_of_the_package() -> None:
    ended = crawl("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        0,
        f"crawl {metadata.version('crawler')}\n",
        "",
    )


def test_help_has_every_option_on_one_line_within_100_columns() -> None:
    ended = crawl("--help", env=environment(COLUMNS="40"))
    assert (ended.returncode, ended.stderr) == (0, "")
    options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)", ended.stdout, re.MULTILINE)
    assert len(options) == len(set(options)) == ended.stdout.count("\n  -")
    assert max(map(len, ended.stdout.splitlines())) <= 100


@pytest.mark.parametrize(
    ("accept", "code"),
    [("410", 0), ("200,410", 0), ("4xx", 0), ("400-499", 0), ("200-399", 1), ("411-499", 1)],
)
def test_accept_decides_which_statuses_pass(site: Server, accept: str, code: int) -> None:
    assert crawl(site.url("/gone"), "--accept", accept).returncode == code


def test_method_is_the_method_of_the_request(site: Server) -> None:
    ended = crawl(site.url("/ok"), "--method", "head", "--jsonl")
    (record,) = records(ended.stdout)
    assert (record["method"], record["size"], record["content_length"]) == ("HEAD", 0, 5)
    assert site.last("/ok").method == "HEAD"


def test_a_header_is_sent_and_replaces_the_default_one(site: Server) -> None:
    crawl(site.url("/ok"), "-H", "X-Token:  a: b ", "--header", "user-agent: tester")
    sent = site.last("/ok").headers
    assert [value for name, value in sent if name == "X-Token"] == ["a: b"]
    assert [value for name, value in sent if name.lower() == "user-agent"] == ["tester"]


def test_headers_can_be_read_from_a_file(site: Server, tmp_path: Path) -> None:
    write(tmp_path / "headers", "# for the test", "X-One: 1", "", "X-Two: 2")
    crawl(site.url("/ok"), "-H", "@headers", cwd=tmp_path)
    request = site.last("/ok")
    assert (request.header("X-One"), request.header("X-Two")) == ("1", "2")


def test_an_invalid_line_of_a_header_file_is_reported_with_file_and_line(tmp_path: Path) -> None:
    write(tmp_path / "headers", "X-One: 1", "hunter2")
    ended = crawl("http://127.0.0.1:1/", "-H", "@headers", cwd=tmp_path)
    assert ended.returncode == 2
    assert "headers, line 2:" in complaint(ended)
    assert "hunter2" not in complaint(ended)


@pytest.mark.parametrize(("accept", "code"), [("200-399", 0), ("200-299", 1)])
def test_no_follow_checks_the_redirect_response_itself(
    site: Server, accept: str, code: int
) -> None:
    moved = site.on("/moved", redirect("/gone"))
    ended = crawl(moved, "--no-follow", "--accept", accept, "--jsonl")
    (record,) = records(ended.stdout)
    assert ended.returncode == code
    assert (record["status"], record["final_url"], record["redirects"]) == (302, moved, [])
    assert site.counts == {"/moved": 1}


@pytest.mark.parametrize(("most", "code"), [(2, 0), (1, 1), (0, 1)])
def test_max_redirects_limits_the_redirects_of_each_url(site: Server, most: int, code: int) -> None:
    site.on("/2", redirect("/1"))
    site.on("/1", redirect("/ok"))
    ended = crawl(site.url("/2"), "--max-redirects", str(most), "--jsonl")
    (record,) = records(ended.stdout)
    assert ended.returncode == code
    assert len(record["redirects"]) == most


def test_a_body_longer_than_max_body_is_truncated_and_passes(site: Server) -> None:
    site.on("/large", reply(200, bytes(3_000_000)))
    ended = crawl(site.url("/large"), site.url("/ok"), "--max-body", "500KB", "--jsonl")
    assert ended.returncode == 0
    large, small = in_order(records(ended.stdout))
    assert (large["ok"], large["truncated"], small["truncated"]) == (True, True, False)
    assert 500_000 <= large["size"] < 3_000_000
    assert small["size"] == 5


def test_timeout_limits_the_whole_attempt(site: Server) -> None:
    ended = crawl(site.on("/hang", silent()), "--timeout", "0.2", "--jsonl")
    (record,) = records(ended.stdout)
    assert ended.returncode == 1
    assert record["error"]["kind"] == ErrorKind.TIMEOUT
    assert 190 <= record["latency_ms"] < 10_000


@pytest.mark.parametrize("name", ["httpx", "stock"])
def test_the_engine_httpx_can_be_chosen_by_its_earlier_name_too(site: Server, name: str) -> None:
    ended = crawl(site.url("/ok"), "--engine", name, "-v")
    assert ended.returncode == 0
    assert "engine httpx, event loop" in ended.stderr


def test_max_limits_concurrent_requests(server: Server, tmp_path: Path) -> None:
    server.on("/meet", once(lambda: server.counts["/meet"] >= 7))
    urls = [server.url(f"/meet?{number}") for number in range(30)]
    ended = crawl(write(tmp_path / "urls.txt", *urls), "--max", "7", "--per-host", "30")
    assert ended.returncode == 0
    assert server.busiest == 7


def test_per_host_limits_concurrent_requests_to_a_host(server: Server, tmp_path: Path) -> None:
    server.on("/meet", once(lambda: server.counts["/meet"] >= 3))
    urls = [server.url(f"/meet?{number}") for number in range(30)]
    ended = crawl(write(tmp_path / "urls.txt", *urls), "--max", "20", "--per-host", "3")
    assert ended.returncode == 0
    assert server.busiest == 3
