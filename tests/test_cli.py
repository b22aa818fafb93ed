"""The command line up to the crawl's end: targets, options, complaints, what is shown where."""

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from loopback import Server, delayed, redirect, refusing_port, reply, silent
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
    wait_until,
    write,
)

from crawler.cli.command import main
from crawler.models import ErrorKind

ESCAPE = "\x1b"
C_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
SECRET = "hunter2"


@pytest.fixture
def site(server: Server) -> Server:
    """A server with a good and a bad page."""
    server.on("/ok", reply(200, b"hello"))
    server.on("/gone", reply(410))
    return server


def origins(ended: Ended) -> list[tuple[Any, ...]]:
    """Return index, source, line, input and outcome of each record, in order of index."""
    keys = ("index", "source", "line", "input", "outcome")
    return [tuple(record[key] for key in keys) for record in in_order(records(ended.stdout))]


def in_order(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda record: record["index"])


# Targets


def test_a_list_whose_urls_all_pass_exits_0(site: Server, tmp_path: Path) -> None:
    listed = write(tmp_path / "urls.txt", site.url("/ok?1"), site.url("/ok?2"))
    ended = crawl(listed, "--jsonl")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [record["ok"] for record in records(ended.stdout)] == [True, True]


def test_one_url_that_fails_makes_exit_code_1(site: Server) -> None:
    ended = crawl(site.url("/ok"), site.url("/gone"), "--jsonl", "--ordered")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert [(record["ok"], record["status"]) for record in records(ended.stdout)] == [
        (True, 200),
        (False, 410),
    ]


def test_an_invalid_line_makes_exit_code_1_and_the_rest_goes_on(
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


def test_urls_files_and_standard_input_may_be_mixed(site: Server, tmp_path: Path) -> None:
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


def test_a_pipe_gives_results_before_it_is_closed(site: Server) -> None:
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
def test_a_pipe_may_end_long_before_its_urls_are_checked(
    server: Server, targets: list[str]
) -> None:
    """Connections are opened when standard input has been read to its end."""
    server.on("/ok", reply(200, b"", "Connection: close"))
    text = "".join(f"{server.url(f'/ok?{number}')}\n" for number in range(100))
    ended = crawl(*targets, "--jsonl", text=text)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [record["ok"] for record in records(ended.stdout)] == [True] * 100


def test_a_fifo_gives_results_before_its_writer_closes_it(site: Server, tmp_path: Path) -> None:
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


def test_a_url_listed_twice_is_asked_once_and_counted(site: Server, tmp_path: Path) -> None:
    listed = write(tmp_path / "urls.txt", site.url("/ok"), site.url("/ok"), site.url("/ok"))
    ended = crawl(listed, "--json")
    document = json.loads(ended.stdout)
    assert site.counts == {"/ok": 1}
    assert (document["summary"]["total"], document["summary"]["duplicates"]) == (1, 2)


def test_repeat_asks_a_url_as_often_as_it_is_listed(site: Server, tmp_path: Path) -> None:
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
def test_a_list_that_cannot_be_read_is_named_before_any_request(
    site: Server, tmp_path: Path, name: str, rule: str
) -> None:
    ended = crawl(site.url("/ok"), name, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert name in complaint(ended)
    assert rule in complaint(ended)
    assert site.requests == []


def test_a_list_without_permission_to_read_is_named_before_any_request(
    site: Server, tmp_path: Path
) -> None:
    write(tmp_path / "urls.txt", site.url("/ok?1")).chmod(0o000)
    ended = bound(site.url("/ok"), "urls.txt", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert complaint(ended) == "cannot read urls.txt: Permission denied"
    assert site.requests == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_list_that_is_utf_16_is_one_complaint_with_the_line(
    tmp_path: Path, encoding: str
) -> None:
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


def test_an_empty_list_still_makes_a_json_document() -> None:
    ended = crawl("--json", text="")
    document = json.loads(ended.stdout)
    assert document["results"] == []
    assert (document["summary"]["total"], document["summary"]["exit_code"]) == (0, 2)


def test_no_target_at_a_terminal_is_a_usage_error() -> None:
    ended = on_terminal()
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "crawl --help" in complaint(ended)


def test_standard_input_is_read_only_once() -> None:
    ended = crawl("-", "-", text="")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "standard input" in complaint(ended)


# Options


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
        ("--engine", "turbo", "direct, native or stock"),
        ("-o", "report.txt", "end in .json or .jsonl"),
        ("-o", "report", "end in .json or .jsonl"),
    ],
)
def test_a_bad_value_is_one_line_with_the_value_and_the_rule(
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
def test_a_bad_header_is_one_line_with_the_rule(
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


def test_a_value_cannot_break_the_line_that_complains_of_it() -> None:
    ended = crawl("http://127.0.0.1:1/", "--max", f"1\n::error::{ESCAPE}[31m")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert r"'1\x0a::error::\x1b[31m'" in complaint(ended)


def test_version_is_that_of_the_package() -> None:
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
def test_accept_says_which_statuses_pass(site: Server, accept: str, code: int) -> None:
    assert crawl(site.url("/gone"), "--accept", accept).returncode == code


def test_method_is_what_the_server_is_asked_with(site: Server) -> None:
    ended = crawl(site.url("/ok"), "--method", "head", "--jsonl")
    (record,) = records(ended.stdout)
    assert (record["method"], record["size"], record["content_length"]) == ("HEAD", 0, 5)
    assert site.last("/ok").method == "HEAD"


def test_a_header_is_sent_and_replaces_the_default_one(site: Server) -> None:
    crawl(site.url("/ok"), "-H", "X-Token:  a: b ", "--header", "user-agent: tester")
    sent = site.last("/ok").headers
    assert [value for name, value in sent if name == "X-Token"] == ["a: b"]
    assert [value for name, value in sent if name.lower() == "user-agent"] == ["tester"]


def test_headers_can_stand_in_a_file(site: Server, tmp_path: Path) -> None:
    write(tmp_path / "headers", "# for the test", "X-One: 1", "", "X-Two: 2")
    crawl(site.url("/ok"), "-H", "@headers", cwd=tmp_path)
    request = site.last("/ok")
    assert (request.header("X-One"), request.header("X-Two")) == ("1", "2")


def test_a_bad_line_of_a_header_file_is_named_by_file_and_line(tmp_path: Path) -> None:
    write(tmp_path / "headers", "X-One: 1", "hunter2")
    ended = crawl("http://127.0.0.1:1/", "-H", "@headers", cwd=tmp_path)
    assert ended.returncode == 2
    assert "headers, line 2:" in complaint(ended)
    assert "hunter2" not in complaint(ended)


@pytest.mark.parametrize(("accept", "code"), [("200-399", 0), ("200-299", 1)])
def test_no_follow_judges_the_redirect_itself(site: Server, accept: str, code: int) -> None:
    moved = site.on("/moved", redirect("/gone"))
    ended = crawl(moved, "--no-follow", "--accept", accept, "--jsonl")
    (record,) = records(ended.stdout)
    assert ended.returncode == code
    assert (record["status"], record["final_url"], record["redirects"]) == (302, moved, [])
    assert site.counts == {"/moved": 1}


@pytest.mark.parametrize(("most", "code"), [(2, 0), (1, 1), (0, 1)])
def test_max_redirects_bounds_the_redirects_of_one_url(site: Server, most: int, code: int) -> None:
    site.on("/2", redirect("/1"))
    site.on("/1", redirect("/ok"))
    ended = crawl(site.url("/2"), "--max-redirects", str(most), "--jsonl")
    (record,) = records(ended.stdout)
    assert ended.returncode == code
    assert len(record["redirects"]) == most


def test_a_body_is_read_up_to_max_body_and_passes(site: Server) -> None:
    site.on("/large", reply(200, bytes(3_000_000)))
    ended = crawl(site.url("/large"), site.url("/ok"), "--max-body", "500KB", "--jsonl")
    assert ended.returncode == 0
    large, small = in_order(records(ended.stdout))
    assert (large["ok"], large["truncated"], small["truncated"]) == (True, True, False)
    assert 500_000 <= large["size"] < 3_000_000
    assert small["size"] == 5


def test_timeout_is_for_the_whole_attempt(site: Server) -> None:
    ended = crawl(site.on("/hang", silent()), "--timeout", "0.2", "--jsonl")
    (record,) = records(ended.stdout)
    assert ended.returncode == 1
    assert record["error"]["kind"] == ErrorKind.TIMEOUT
    assert 190 <= record["latency_ms"] < 10_000


def test_max_urls_are_fetched_at_once_and_no_more(server: Server, tmp_path: Path) -> None:
    server.on("/meet", once(lambda: server.counts["/meet"] >= 7))
    urls = [server.url(f"/meet?{number}") for number in range(30)]
    ended = crawl(write(tmp_path / "urls.txt", *urls), "--max", "7", "--per-host", "30")
    assert ended.returncode == 0
    assert server.busiest == 7


def test_per_host_urls_are_fetched_at_once_from_one_host(server: Server, tmp_path: Path) -> None:
    server.on("/meet", once(lambda: server.counts["/meet"] >= 3))
    urls = [server.url(f"/meet?{number}") for number in range(30)]
    ended = crawl(write(tmp_path / "urls.txt", *urls), "--max", "20", "--per-host", "3")
    assert ended.returncode == 0
    assert server.busiest == 3


def test_a_low_soft_limit_of_open_files_is_raised(server: Server, tmp_path: Path) -> None:
    server.on("/meet", once(lambda: server.counts["/meet"] >= 100))
    urls = [server.url(f"/meet?{number}") for number in range(100)]
    listed = write(tmp_path / "urls.txt", *urls)
    ended = script('ulimit -Sn 64; exec "$@"', listed, "--max", "100", "--per-host", "100")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("files", [64, 40])
def test_too_few_open_files_lower_max_with_one_warning_and_blame_no_url(
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


# TLS


def test_a_certificate_of_an_unknown_authority_fails(tls_server: Server) -> None:
    ended = crawl(tls_server.on("/ok", reply()), "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["error"]["kind"]) == (1, ErrorKind.TLS_UNTRUSTED)


@pytest.mark.parametrize("option", ["-k", "--insecure"])
def test_insecure_accepts_any_certificate(tls_server: Server, option: str) -> None:
    ended = crawl(tls_server.on("/ok", reply()), option)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_cacert_makes_an_authority_known(tls_server: Server, ca_file: Path) -> None:
    ended = crawl(tls_server.on("/ok", reply()), "--cacert", ca_file)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_ssl_cert_file_makes_an_authority_known(tls_server: Server, ca_file: Path) -> None:
    variables = environment(SSL_CERT_FILE=str(ca_file))
    ended = crawl(tls_server.on("/ok", reply()), env=variables)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSL_CERT_FILE", "/no/such.pem"),
        ("SSL_CERT_FILE", os.devnull),
        ("SSL_CERT_FILE", ""),
        ("SSL_CERT_DIR", "/no/such"),
        ("HTTP_PROXY", "ftp://127.0.0.1"),
        ("http_proxy", "http://"),
        ("HTTPS_PROXY", "http://127.0.0.1:port"),
        ("ALL_PROXY", "a b"),
    ],
)
def test_a_bad_variable_is_named_before_any_request(
    site: Server, variable: str, value: str
) -> None:
    ended = crawl(site.url("/ok"), env=environment(**{variable: value}))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert variable in complaint(ended)
    assert site.requests == []


# Proxies


class Behind(NamedTuple):
    """A proxy, and the one URL for which it answers: nobody listens there."""

    proxy: Server
    url: str


@pytest.fixture
def behind(server: Server) -> Iterator[Behind]:
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}/ok"
        server.on(url, reply(200, b"from the proxy"))
        yield Behind(server, url)


def test_proxy_is_asked_in_place_of_the_host(behind: Behind) -> None:
    ended = crawl(behind.url, "--proxy", behind.proxy.origin, "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["size"], ended.stderr) == (0, 14, "")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_of_the_environment_is_asked_and_named_once(behind: Behind, variable: str) -> None:
    ended = crawl(behind.url, env=environment(**{variable: behind.proxy.origin}))
    assert ended.returncode == 0
    assert variable in complaint(ended)
    assert behind.proxy.origin in complaint(ended)


def test_a_proxy_for_both_schemes_is_named_once(behind: Behind) -> None:
    variables = environment(ALL_PROXY=behind.proxy.origin)
    ended = crawl(behind.url, "https://127.0.0.1:1/", "--jsonl", env=variables)
    assert "ALL_PROXY" in complaint(ended)


def test_a_proxy_of_the_environment_may_lack_its_scheme(behind: Behind) -> None:
    variables = environment(HTTP_PROXY=f"127.0.0.1:{behind.proxy.port}")
    assert crawl(behind.url, env=variables).returncode == 0


def test_the_proxy_option_wins_over_the_environment(behind: Behind) -> None:
    variables = environment(HTTP_PROXY="http://127.0.0.1:1")
    ended = crawl(behind.url, "--proxy", behind.proxy.origin, env=variables)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_no_proxy_ignores_the_proxies_of_the_environment(site: Server) -> None:
    variables = environment(HTTP_PROXY="http://127.0.0.1:1", ALL_PROXY="not a proxy")
    ended = crawl(site.url("/ok"), "--no-proxy", env=variables)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("value", ["127.0.0.1", "example.test,127.0.0.1", "*"])
def test_a_host_named_in_no_proxy_is_asked_without_one(site: Server, value: str) -> None:
    variables = environment(HTTP_PROXY="http://127.0.0.1:1", NO_PROXY=value)
    assert crawl(site.url("/ok"), env=variables).returncode == 0


def test_a_header_of_a_request_cannot_set_the_proxy_of_a_cgi_script(site: Server) -> None:
    variables = environment(HTTP_PROXY="http://127.0.0.1:1", REQUEST_METHOD="GET")
    ended = crawl(site.url("/ok"), env=variables)
    assert (ended.returncode, ended.stderr) == (0, "")


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


def test_a_file_is_written_beside_the_table(site: Server, tmp_path: Path) -> None:
    ended = crawl(site.url("/ok"), "-o", "out.jsonl", cwd=tmp_path)
    assert ended.stdout.startswith("URL ")
    assert [record["ok"] for record in records((tmp_path / "out.jsonl").read_text())] == [True]


def test_an_output_is_replaced_not_continued(site: Server, tmp_path: Path) -> None:
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


def test_ordered_gives_records_in_the_order_of_the_list(server: Server, tmp_path: Path) -> None:
    """The first URL is answered only once all others have been asked."""
    server.on("/last", once(lambda: server.counts["/ok"] == 20))
    server.on("/ok", reply())
    urls = [server.url("/last"), *(server.url(f"/ok?{number}") for number in range(20))]
    listed = write(tmp_path / "urls.txt", *urls)
    ended = crawl(listed, "--jsonl", "--ordered", "-o", "out.json", cwd=tmp_path)
    document = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert [record["input"] for record in records(ended.stdout)] == urls
    assert [record["input"] for record in document["results"]] == urls


def test_jsonl_gives_records_as_they_finish(server: Server, tmp_path: Path) -> None:
    server.on("/last", once(lambda: server.counts["/ok"] == 20))
    server.on("/ok", reply())
    urls = [server.url("/last"), *(server.url(f"/ok?{number}") for number in range(20))]
    ended = crawl(write(tmp_path / "urls.txt", *urls), "--jsonl")
    shown = [record["input"] for record in records(ended.stdout)]
    assert sorted(shown) == sorted(urls)
    assert shown[0] != server.url("/last")


def test_quiet_says_nothing_but_the_exit_code(site: Server) -> None:
    variables = environment(HTTP_PROXY=site.origin, NO_PROXY="127.0.0.1")
    ended = crawl(site.url("/ok"), site.url("/gone"), "-q", env=variables)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "")


def test_verbose_says_what_the_run_uses(site: Server) -> None:
    ended = crawl(site.url("/ok"), "-v", "--jsonl")
    assert (ended.returncode, len(records(ended.stdout))) == (0, 1)
    assert "engine direct" in complaint(ended)


def test_quiet_checks_the_whole_list(site: Server, tmp_path: Path) -> None:
    urls = [site.url(f"/ok?{number}") for number in range(200)]
    ended = crawl(write(tmp_path / "urls.txt", *urls), "-q")
    assert (ended.returncode, site.counts) == (0, {"/ok": 200})


def test_quiet_still_writes_what_was_asked_for(site: Server, tmp_path: Path) -> None:
    ended = crawl(site.url("/ok"), "--quiet", "--jsonl", "-o", "out.jsonl", cwd=tmp_path)
    assert len(records(ended.stdout)) == 1
    assert len(records((tmp_path / "out.jsonl").read_text("utf-8"))) == 1
    assert ended.stderr == ""


def test_a_run_gives_no_warning(site: Server, tmp_path: Path) -> None:
    variables = environment(PYTHONWARNINGS="always")
    ended = crawl(site.url("/ok"), "-o", "out.json", cwd=tmp_path, env=variables)
    assert (ended.returncode, ended.stderr) == (0, "")


# The table


def test_the_table_has_a_line_for_each_url_and_a_total(site: Server) -> None:
    ended = crawl(site.url("/ok"), site.url("/gone"), "ftp://127.0.0.1/")
    lines = ended.stdout.splitlines()
    assert lines[0].split() == ["URL", "Status", "Size", "Latency", "Reason"]
    assert re.fullmatch(rf"{re.escape(site.url('/ok'))} +200 +5 B +[0-9.]+ m?s", lines[1])
    assert lines[2].startswith(f"{site.url('/gone')} ")
    assert "status 410 is not in 200-399" in lines[2]
    assert "is not an http:// or https:// URL" in lines[3]
    assert lines[-1] == "Total: 3 URLs, 1 success, 1 failed, 1 invalid"
    assert (ended.returncode, ended.stderr) == (1, "")


def test_the_table_is_in_the_order_of_the_list(server: Server) -> None:
    server.on("/last", once(lambda: server.counts["/ok"] == 1))
    server.on("/ok", reply())
    urls = [server.url("/last"), server.url("/ok")]
    lines = crawl(*urls).stdout.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == urls


def test_up_to_100_rows_are_shown(site: Server, tmp_path: Path) -> None:
    urls = [site.url(f"/ok?{number}") for number in range(100)]
    ended = crawl(write(tmp_path / "urls.txt", *urls))
    assert [line.split()[0] for line in ended.stdout.splitlines()[1:101]] == urls


@pytest.fixture
def long_list(site: Server, tmp_path: Path) -> Path:
    """A list of 151 URLs, 60 of which fail."""
    bad = [site.url(f"/gone?{number}") for number in range(60)]
    good = [site.url(f"/ok?{number}") for number in range(91)]
    return write(tmp_path / "urls.txt", *bad, *good)


def test_of_more_rows_the_first_failures_and_the_slowest_are_shown(
    site: Server, long_list: Path
) -> None:
    slow = site.on("/slow", once(lambda: site.counts["/ok"] == 91))
    ended = crawl(slow, long_list, "--max", "50")
    lines = ended.stdout.splitlines()
    rows = [line.split()[0] for line in lines[1:] if line.startswith("http")]
    assert rows[0] == slow
    assert [row for row in rows if "/gone" in row] == [
        site.url(f"/gone?{number}") for number in range(50)
    ]
    assert len(rows) == 60
    (left_out,) = [line for line in lines if "--all" in line]
    assert re.search(r"\b92\b", left_out)
    assert lines[-1] == "Total: 152 URLs, 92 success, 60 failed"


def test_all_shows_every_row(long_list: Path) -> None:
    ended = crawl(long_list, "--all")
    rows = [line.split()[0] for line in ended.stdout.splitlines() if line.startswith("http")]
    assert rows == long_list.read_text("utf-8").split()


LONG = "x" * 1_500


@pytest.mark.parametrize("columns", [None, "0", "20", "-5", "wide"])
def test_the_table_is_never_cut_where_there_is_no_terminal(
    site: Server, columns: str | None
) -> None:
    variables = environment() if columns is None else environment(COLUMNS=columns)
    ended = crawl(site.url(f"/ok?{LONG}"), f"ftp://127.0.0.1/{LONG}", env=variables)
    lines = ended.stdout.splitlines()
    assert lines[1].startswith(f"{site.url(f'/ok?{LONG}')} ")
    assert lines[2].startswith(f"ftp://127.0.0.1/{LONG} ")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"NO_COLOR": "1"},
        {"TERM": "dumb"},
        {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"},
        C_LOCALE,
    ],
    ids=["plain", "NO_COLOR", "TERM=dumb", "colour forced", "LC_ALL=C"],
)
def test_a_pipe_gets_no_control_codes(site: Server, changes: dict[str, str]) -> None:
    ended = crawl(site.url("/ok"), site.url("/gone"), env=environment(**changes))
    assert ended.returncode == 1
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[-1] == "Total: 2 URLs, 1 success, 1 failed"
    assert ESCAPE not in ended.stdout


def test_text_that_the_locale_lacks_is_escaped(site: Server) -> None:
    site.on("/caf%C3%A9", reply())
    text = f"{site.url('/café')}\nftp://café/\n"
    ended = crawl(text=text, env=environment(**C_LOCALE))
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "ftp://caf\\xe9/" in ended.stdout
    assert site.counts == {"/caf%C3%A9": 1}


def test_json_is_the_same_in_every_locale(site: Server) -> None:
    text = "ftp://café/\n"
    ended = [crawl("--jsonl", text=text, env=environment(**c)) for c in ({}, C_LOCALE)]
    assert records(ended[0].stdout) == records(ended[1].stdout)


def test_an_argument_is_utf_8_in_every_locale(site: Server) -> None:
    site.on("/caf%C3%A9", reply())
    ended = crawl(site.url("/café"), env=environment(**C_LOCALE))
    assert (ended.returncode, site.counts) == (0, {"/caf%C3%A9": 1})


# A terminal


_COLOUR = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3|4|9|10)[0-9](?:;[0-9]+)*m")


def plain(text: str) -> str:
    """Return text as a terminal shows it."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_terminal_gets_a_table_with_statuses_in_colour(site: Server) -> None:
    ended = on_terminal(site.url("/ok"), site.url("/gone"))
    assert ended.returncode == 1
    assert f"{ESCAPE}[32m200" in ended.stdout
    assert f"{ESCAPE}[31m410" in ended.stdout
    assert "Total: 2 URLs, 1 success, 1 failed" in plain(ended.stdout)


def test_no_color_gives_a_terminal_no_colour(site: Server) -> None:
    variables = environment(TERM="xterm-256color", NO_COLOR="1")
    ended = on_terminal(site.url("/ok"), site.url("/gone"), env=variables)
    assert "410" in ended.stdout
    assert not _COLOUR.search(ended.stdout + ended.stderr)


def test_a_dumb_terminal_gets_no_control_codes(site: Server) -> None:
    ended = on_terminal(site.url("/ok"), site.url("/gone"), env=environment(TERM="dumb"))
    assert "Total: 2 URLs, 1 success, 1 failed" in ended.stdout
    assert ended.stderr == ""
    assert ESCAPE not in ended.stdout


def test_a_terminal_in_the_c_locale_is_no_crash(site: Server) -> None:
    variables = environment(TERM="xterm-256color", **C_LOCALE)
    ended = on_terminal(site.url("/ok"), env=variables)
    assert ended.returncode == 0
    assert "Total: 1 URL, 1 success, 0 failed" in plain(ended.stdout)
    assert (ended.stdout + ended.stderr).isascii()


@pytest.mark.parametrize("columns", ["0", "20", "-5", "wide"])
def test_a_terminal_of_any_width_shows_url_and_status(site: Server, columns: str) -> None:
    """Where a URL is folded, its pieces stand one below the other."""
    variables = environment(TERM="xterm-256color", COLUMNS=columns)
    ended = on_terminal(site.url("/ok"), "--no-progress", env=variables)
    lines = plain(ended.stdout).splitlines()
    words = {line.split()[0] for line in lines if line.split()}
    assert ended.returncode == 0
    assert any(len(word) > 3 and site.url("/ok").startswith(word) for word in words)
    assert any("200" in line.split() for line in lines)


def test_a_long_url_is_whole_on_a_terminal(site: Server) -> None:
    ended = on_terminal(site.url("/ok?" + "q" * 300), columns=80, env=environment(TERM="dumb"))
    assert ended.stdout.count("q") == 300
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_a_bar_on_standard_error_shows_the_progress(site: Server) -> None:
    slow = site.on("/slow", delayed(0.8, reply()))
    ended = on_terminal(site.url("/ok"), site.url("/gone"), slow)
    bar = plain(ended.stderr)
    assert "2/3  1 passed  1 failed  1 in flight" in bar
    assert re.search(r"\d/s", bar)
    assert " left" in bar
    assert "in flight" not in ended.stdout


def test_the_bar_of_a_pipe_is_a_counter(site: Server) -> None:
    """While a pipe is open, nobody knows how many URLs there will be."""
    closed = threading.Event()
    slow = site.on("/slow", once(closed.is_set))
    reading, writing = os.pipe()
    os.write(writing, f"{site.url('/ok')}\n{slow}\n".encode())

    def during(process: subprocess.Popen[str]) -> None:
        os.close(reading)
        wait_until(lambda: site.counts["/slow"] == 1)
        time.sleep(0.8)  # the bar is drawn meanwhile
        os.close(writing)
        closed.set()

    ended = on_terminal("-", stdin=reading, during=during)
    assert ended.returncode == 0
    assert re.search(r"(?<![/0-9])1  1 passed  0 failed  1 in flight", plain(ended.stderr))


@pytest.mark.parametrize("option", ["--no-progress", "-q"])
def test_no_bar_where_none_is_wanted(site: Server, option: str) -> None:
    ended = on_terminal(site.url("/ok"), option)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_json_lines_on_a_terminal_are_not_crossed_by_a_bar(site: Server) -> None:
    ended = on_terminal(site.url("/ok"), "--jsonl", columns=4000)
    assert [record["ok"] for record in records(ended.stdout)] == [True]
    assert plain(ended.stderr) == "crawl: Total: 1 URL, 1 success, 0 failed\n"


# Secrets


def leaks(ended: Ended, *files: Path) -> list[str]:
    """Return the lines of all outputs in which the secret stands."""
    shown = [ended.stdout, ended.stderr, *(path.read_text("utf-8") for path in files)]
    assert any(shown)
    return [line for text in shown for line in text.splitlines() if SECRET in line]


@pytest.mark.parametrize("form", [[], ["--jsonl"]], ids=["table", "jsonl"])
def test_no_secret_of_a_list_is_shown(site: Server, tmp_path: Path, form: list[str]) -> None:
    address = site.origin.partition("//")[2]
    lines = [
        f"http://user:{SECRET}@{address}/ok",
        f"http://{SECRET}@{address}/gone",
        f"http://user:p@ss:{SECRET}@{address}/ok",
        f"http://user:{SECRET}@127.0.0.1:1/",
        f"http://user:{SECRET}@127.0.0.1:99999/",
        f"http://user:{SECRET} x@127.0.0.1/",
        f"ftp://user:{SECRET}@127.0.0.1/",
        f"user:{SECRET}@127.0.0.1",
        site.on("/leads-on", redirect(f"http://user:{SECRET}@{address}/gone")),
        site.on("/leads-astray", redirect(f"ftp://user:{SECRET}@127.0.0.1/")),
    ]
    listed = write(tmp_path / "urls.txt", *lines)
    files = tmp_path / "out.json", tmp_path / "out.jsonl"
    ended = crawl(listed, *form, "-o", files[0], "-o", files[1])
    assert len(records(files[1].read_text("utf-8"))) == len(lines)
    assert leaks(ended, *files) == []


@pytest.mark.parametrize(
    "form",
    [[], ["--all"], ["--json"], ["--jsonl"], ["--jsonl", "-v", "--wait", "1"]],
    ids=["table", "all", "json", "jsonl", "wait"],
)
def test_no_secret_of_a_query_is_shown(site: Server, tmp_path: Path, form: list[str]) -> None:
    secrets = f"access_token={SECRET}&X-Amz-Signature={SECRET}&Mine={SECRET}#code={SECRET}"
    site.on("/loop", redirect(f"/loop?{secrets}"))
    site.on("/astray", redirect(f"ftp://127.0.0.1/?{secrets} {SECRET}"))
    site.on("/onward", redirect(f"/gone?{secrets}"))
    lines = [
        f"{site.origin}/ok?{secrets}",
        f"{site.origin}/gone?{secrets}",
        f"{site.origin}/loop?{secrets}",
        site.url("/astray"),
        site.url("/onward"),
        f"http://127.0.0.1:1/?{secrets}",
        f"http://127.0.0.1:99999/?{secrets} {SECRET}",
        f"ftp://127.0.0.1/?{secrets}",
    ]
    listed = write(tmp_path / "urls.txt", *lines)
    files = [tmp_path / "out.json", tmp_path / "out.jsonl"]
    options: list[str | Path] = ["--mask", "mine", "--retries", "0", "-o", files[0], "-o", files[1]]
    ended = crawl(listed, *form, *options, "--failed-to", tmp_path / "again.txt")
    again = (tmp_path / "again.txt").read_text("utf-8")

    assert len(records(files[1].read_text("utf-8"))) == len(lines)
    assert leaks(ended, *files) == []
    assert [line for line in again.splitlines() if SECRET in line and line.startswith("#")] == []
    assert f"\n{lines[1]}\n" in again


def test_progress_on_a_terminal_shows_no_secret_of_a_query(site: Server) -> None:
    ended = on_terminal(f"{site.origin}/gone?token={SECRET}", "--wait", "1")
    assert "token=***" in plain(ended.stdout)
    assert leaks(ended) == []


@pytest.mark.parametrize("name", ["", "a b", "a=b", "?token", "a&b", "_-"])
def test_what_is_no_name_of_a_parameter_is_a_usage_error(name: str) -> None:
    ended = crawl("http://127.0.0.1:1/", "--mask", name)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "is not the name of a query parameter" in complaint(ended)


@pytest.mark.parametrize(
    "args",
    [
        ["{origin}/gone", "-H", f"Authorization: Bearer {SECRET}"],
        ["{origin}/ok", "-H", f"X-Key: {SECRET}\n"],
        ["{origin}/ok", "-H", f"Bearer {SECRET}"],
        ["{origin}/ok", "-H", f"Authorization Bearer: {SECRET}"],
        [f"http://user:{SECRET}@{{address}}/ok"],
        [f"file://user:{SECRET}@{{address}}/ok"],
        [f"user:{SECRET}@{{address}}/ok.txt"],
        [f"{{address}}/ok.txt?token={SECRET}"],
        [f"{{address}}/ok.txt?mine=a {SECRET}", "--mask", "mine"],
        [f"file://{{address}}/ok?token={SECRET}"],
        ["{origin}/ok", "--proxy", f"http://user:{SECRET}@127.0.0.1:1"],
        ["{origin}/ok", "--proxy", f"ftp://user:{SECRET}@127.0.0.1:1"],
        ["{origin}/ok", "--proxy", f"user:{SECRET}@127.0.0.1:x"],
    ],
)
def test_no_secret_of_an_argument_is_shown(site: Server, tmp_path: Path, args: list[str]) -> None:
    address = site.origin.partition("//")[2]
    given = [arg.format(origin=site.origin, address=address) for arg in args]
    ended = crawl(*given, "-o", tmp_path / "out.json")
    assert leaks(ended, *tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", f"http://user:{SECRET}@127.0.0.1:1"),
        ("HTTP_PROXY", f"user:{SECRET}@127.0.0.1:1"),
        ("HTTP_PROXY", f"ftp://user:{SECRET}@127.0.0.1:1"),
        ("HTTP_PROXY", f"http://user:{SECRET}@127.0.0.1:x"),
        ("HTTP_PROXY", f"user:{SECRET}@127.0.0.1:x"),
        ("HTTP_PROXY", f"user:{SECRET}@"),
    ],
)
def test_no_secret_of_the_environment_is_shown(site: Server, variable: str, value: str) -> None:
    ended = crawl(site.url("/ok"), "--jsonl", env=environment(**{variable: value}))
    assert variable in complaint(ended)
    assert leaks(ended) == []


def test_the_password_of_a_proxy_reaches_the_proxy(behind: Behind) -> None:
    address = behind.proxy.origin.replace("//", f"//user:{SECRET}@")
    ended = crawl(behind.url, "--proxy", address)
    sent = behind.proxy.requests[-1].header("Proxy-Authorization")
    assert ended.returncode == 0
    assert sent == "Basic dXNlcjpodW50ZXIy"


# The demo


def test_the_demo_shows_every_kind_of_row_within_seconds() -> None:
    start = time.monotonic()
    ended = crawl("--demo")
    took = time.monotonic() - start
    rows = re.findall(
        r"^(http|ftp)://127\.0\.0\.1(?::\d+)?/(\S+) +(\w+(?: \w+)*)", ended.stdout, re.MULTILINE
    )
    assert rows == [
        ("http", "fast", "200"),
        ("http", "slow", "200"),
        ("http", "large", "200"),
        ("http", "gzip", "200"),
        ("http", "redirect-chain", "200"),
        ("http", "redirect-loop", "redirect loop"),
        ("http", "not-found", "404"),
        ("http", "server-error", "500"),
        ("http", "dripping", "timeout"),
        ("http", "closing-early", "body incomplete"),
        ("http", "no-answer", "disconnected"),
        ("http", "not-http", "protocol"),
        ("http", "nobody-listens", "connect refused"),
        ("ftp", "not-http", "invalid url"),
    ]
    assert ended.returncode == 1
    assert took < 8
