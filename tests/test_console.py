"""What a person at a shell sees: the table, colours, the progress bar."""

import os
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest
from loopback import Server, delayed, reply
from shell import (
    C_LOCALE,
    crawl,
    environment,
    on_terminal,
    once,
    plain,
    records,
    wait_until,
    write,
)

ESCAPE = "\x1b"


# The table


def test_the_table_has_a_row_for_each_url_and_a_total(site: Server) -> None:
    ended = crawl(site.url("/ok"), site.url("/gone"), "ftp://127.0.0.1/")
    lines = ended.stdout.splitlines()
    assert lines[0].split() == ["URL", "Status", "Size", "Latency", "Reason"]
    assert re.fullmatch(rf"{re.escape(site.url('/ok'))} +200 +5 B +[0-9.]+ m?s", lines[1])
    assert lines[2].startswith(f"{site.url('/gone')} ")
    assert "status 410 is not in 200-399" in lines[2]
    assert "is not an http:// or https:// URL" in lines[3]
    assert lines[-1] == "Total: 3 URLs, 1 success, 1 failed, 1 invalid"
    assert (ended.returncode, ended.stderr) == (1, "")


def test_the_table_is_in_input_order(server: Server) -> None:
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
    """A list of 151 URLs of which 60 fail."""
    bad = [site.url(f"/gone?{number}") for number in range(60)]
    good = [site.url(f"/ok?{number}") for number in range(91)]
    return write(tmp_path / "urls.txt", *bad, *good)


def test_a_longer_table_shows_the_first_failures_and_the_slowest_urls(
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


def test_all_shows_all_rows(long_list: Path) -> None:
    ended = crawl(long_list, "--all")
    rows = [line.split()[0] for line in ended.stdout.splitlines() if line.startswith("http")]
    assert rows == long_list.read_text("utf-8").split()


LONG = "x" * 1_500


@pytest.mark.parametrize("columns", [None, "0", "20", "-5", "wide"])
def test_the_table_is_never_cut_without_a_terminal(site: Server, columns: str | None) -> None:
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


def test_text_that_the_locale_cannot_encode_is_escaped(site: Server) -> None:
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


def test_a_url_argument_is_decoded_as_utf_8_in_every_locale(site: Server) -> None:
    site.on("/caf%C3%A9", reply())
    ended = crawl(site.url("/café"), env=environment(**C_LOCALE))
    assert (ended.returncode, site.counts) == (0, {"/caf%C3%A9": 1})


_COLOUR = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3|4|9|10)[0-9](?:;[0-9]+)*m")


# A terminal


def test_a_terminal_gets_a_table_with_coloured_statuses(site: Server) -> None:
    ended = on_terminal(site.url("/ok"), site.url("/gone"))
    assert ended.returncode == 1
    assert f"{ESCAPE}[32m200" in ended.stdout
    assert f"{ESCAPE}[31m410" in ended.stdout
    assert "Total: 2 URLs, 1 success, 1 failed" in plain(ended.stdout)


def test_no_color_disables_colours(site: Server) -> None:
    variables = environment(TERM="xterm-256color", NO_COLOR="1")
    ended = on_terminal(site.url("/ok"), site.url("/gone"), env=variables)
    assert "410" in ended.stdout
    assert not _COLOUR.search(ended.stdout + ended.stderr)


def test_a_dumb_terminal_gets_no_control_codes(site: Server) -> None:
    ended = on_terminal(site.url("/ok"), site.url("/gone"), env=environment(TERM="dumb"))
    assert "Total: 2 URLs, 1 success, 1 failed" in ended.stdout
    assert ended.stderr == ""
    assert ESCAPE not in ended.stdout


def test_a_terminal_in_the_c_locale_gets_ascii_only(site: Server) -> None:
    variables = environment(TERM="xterm-256color", **C_LOCALE)
    ended = on_terminal(site.url("/ok"), env=variables)
    assert ended.returncode == 0
    assert "Total: 1 URL, 1 success, 0 failed" in plain(ended.stdout)
    assert (ended.stdout + ended.stderr).isascii()


@pytest.mark.parametrize("columns", ["0", "20", "-5", "wide"])
def test_a_terminal_of_any_width_shows_url_and_status(site: Server, columns: str) -> None:
    """If a URL is folded, its parts are in lines below one another."""
    variables = environment(TERM="xterm-256color", COLUMNS=columns)
    ended = on_terminal(site.url("/ok"), "--no-progress", env=variables)
    lines = plain(ended.stdout).splitlines()
    words = {line.split()[0] for line in lines if line.split()}
    assert ended.returncode == 0
    assert any(len(word) > 3 and site.url("/ok").startswith(word) for word in words)
    assert any("200" in line.split() for line in lines)


def test_a_long_url_is_shown_in_full_on_a_terminal(site: Server) -> None:
    ended = on_terminal(site.url("/ok?" + "q" * 300), columns=80, env=environment(TERM="dumb"))
    assert ended.stdout.count("q") == 300
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_a_progress_bar_is_shown_on_standard_error(site: Server) -> None:
    slow = site.on("/slow", delayed(0.8, reply()))
    ended = on_terminal(site.url("/ok"), site.url("/gone"), slow)
    bar = plain(ended.stderr)
    assert "2/3  1 passed  1 failed  1 in flight" in bar
    assert re.search(r"\d/s", bar)
    assert " left" in bar
    assert "in flight" not in ended.stdout


def test_the_progress_bar_of_a_pipe_is_a_counter(site: Server) -> None:
    """The number of URLs is unknown while a pipe is open."""
    closed = threading.Event()
    slow = site.on("/slow", once(closed.is_set))
    reading, writing = os.pipe()
    os.write(writing, f"{site.url('/ok')}\n{slow}\n".encode())

    def during(process: subprocess.Popen[str]) -> None:
        os.close(reading)
        wait_until(lambda: site.counts["/slow"] == 1)
        time.sleep(0.8)  # in which the bar is drawn
        os.close(writing)
        closed.set()

    ended = on_terminal("-", stdin=reading, during=during)
    assert ended.returncode == 0
    assert re.search(r"(?<![/0-9])1  1 passed  0 failed  1 in flight", plain(ended.stderr))


@pytest.mark.parametrize("option", ["--no-progress", "-q"])
def test_the_progress_bar_can_be_turned_off(site: Server, option: str) -> None:
    ended = on_terminal(site.url("/ok"), option)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_json_lines_on_a_terminal_are_not_mixed_with_a_progress_bar(site: Server) -> None:
    ended = on_terminal(site.url("/ok"), "--jsonl", columns=4000)
    assert [record["ok"] for record in records(ended.stdout)] == [True]
    assert plain(ended.stderr) == "crawl: Total: 1 URL, 1 success, 0 failed\n"
