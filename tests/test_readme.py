"""The README against the program: every command runs, every table and block is the real one."""

import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from loopback import Server, reply
from shell import Ended, crawl, environment, write

from crawler.core.expect import CLASSES, judge
from crawler.core.summary import Tally
from crawler.models import Check, CrawlStats, ErrorKind, Expectation, Outcome, Result, Target
from crawler.report import record

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
INSTALL = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/crawl --demo"
TEST = "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest"
UV = ["uvx --from . crawl --demo", "uv run --extra test pytest"]
EXAMPLE = "https://example.com"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def table(heading: str) -> list[tuple[str, ...]]:
    """Return the rows of the first table under a heading, without its head."""
    section = README.partition(f"{heading}\n")[2]
    found = re.search(r"^\|.*?\n(?!\|)", section, re.DOTALL | re.MULTILINE)
    assert found is not None
    rows = found[0].splitlines()[2:]
    return [tuple(cell.strip(" `") for cell in row.strip("|").split(" | ")) for row in rows]


def commands() -> list[str]:
    """Return every shell command, those of workflow steps included."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    steps = [step for block in blocks("yaml") for step in re.findall(r"run: (.*)", block)]
    return [*lines, *steps]


def installs(command: str) -> bool:
    """Whether a command makes an environment, rather than runs in one."""
    return command.split()[0] in ("python3", "pip", "uv", "uvx")


CRAWLS = [command for command in commands() if not installs(command)]


# Installation


def test_the_two_commands_come_first_and_the_uv_forms_and_a_list_follow() -> None:
    assert commands()[:5] == [INSTALL, TEST, *UV, "crawl urls.example.txt --max 10"]


def test_the_build_runs_the_test_command_as_it_stands() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert re.search(rf"^{re.escape(TEST)}( \|\| exit)?$", script, re.MULTILINE)


def test_what_is_installed_has_the_command_and_the_extras_that_are_named() -> None:
    extras = set(re.findall(r"'\.\[(\w+)\]'", README)) | set(re.findall(r"--extra (\w+)", README))
    assert extras <= set(PROJECT["optional-dependencies"])
    assert "test" in extras
    assert list(PROJECT["scripts"]) == ["crawl"]


def test_the_oldest_python_is_the_one_that_is_required() -> None:
    named = re.search(r"Python (3\.\d+) or newer", README)
    assert named is not None
    assert PROJECT["requires-python"] == f">={named[1]}"


# Commands


@pytest.fixture
def site(server: Server) -> Server:
    for path in ("/", "/health", "/1", "/2"):
        server.on(path, reply(200, b"hello"))
    return server


def test_the_example_list_shows_what_a_list_may_hold() -> None:
    lines = (ROOT / "urls.example.txt").read_text("utf-8").splitlines()
    urls = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert {
        "http://example.com",
        "http://httpbin.org/get",
        "http://httpbin.org/delay/2",
    } <= set(urls)
    assert any("://" not in url for url in urls)
    assert any(line.startswith("#") for line in lines)


@pytest.mark.parametrize("command", CRAWLS)
def test_a_command_does_what_it_is_for(site: Server, tmp_path: Path, command: str) -> None:
    """Lists and URLs are those of a server on loopback."""
    if "jq" in shlex.split(command) and shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    for name in ("urls.txt", "more.txt", "urls.example.txt"):
        write(tmp_path / name, site.url("/1"), site.url("/2"), site.url("/missing"))
    write(tmp_path / "headers.txt", "X-Token: abc")
    tools = tmp_path / "bin"
    tools.mkdir()
    program = write(
        tools / "crawl", "#!/bin/sh", f'exec {shlex.quote(sys.executable)} -P -m crawler "$@"'
    )
    program.chmod(0o755)
    variables = environment()
    variables["PATH"] = f"{tools}:{variables['PATH']}"
    ended = run_script(command.replace(EXAMPLE, site.origin), tmp_path, variables)
    passes = "--wait" in command  # the only one that asks for nothing that is missing
    assert bool(ended.stderr) is passes
    assert ended.stdout != ""
    fails = command.startswith("crawl") and " | " not in command and "echo" not in command
    assert ended.returncode == (1 if fails and not passes else 0)
    assert site.counts["/health" if passes else "/1"] == 1


def run_script(text: str, directory: Path, variables: dict[str, str]) -> Ended:
    return subprocess.run(
        ["bash", "-c", text],
        cwd=directory,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


# Python


def run_python(code: str) -> Ended:
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


def test_the_python_example_runs(site: Server) -> None:
    ended = run_python(blocks("python")[0].replace(EXAMPLE, site.origin))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.splitlines()) == [
        f"False 404 {site.url('/missing')}",
        f"True 200 {site.url('/')}",
    ]


def test_the_python_example_has_ten_lines() -> None:
    assert len([line for line in blocks("python")[0].splitlines() if line]) <= 10


def test_the_loop_that_is_left_early_runs(site: Server) -> None:
    head = "import asyncio\nfrom contextlib import aclosing\nfrom crawler import crawl\n"
    urls = [site.url("/missing"), site.url("/1"), site.url("/2")]
    body = f"urls = {urls}\n{blocks('python')[1]}"
    code = f"{head}async def main():\n{textwrap.indent(body, '    ')}\nasyncio.run(main())"
    ended = run_python(code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert site.counts["/missing"] == 1


# Reference


def test_the_help_block_is_the_real_one() -> None:
    shown = [block for block in blocks("text") if block.startswith("Usage:")]
    assert shown == [crawl("--help").stdout]


def test_the_output_of_the_demo_is_a_real_one() -> None:
    """Ports, times and the words of a reason differ; the rows and the counts are as they come."""
    (shown,) = [block for block in blocks("text") if block.startswith("URL")]
    assert gist(shown) == gist(crawl("--demo").stdout)


def gist(text: str) -> list[str]:
    """Return URL and status of each row, and the total."""
    *rows, total = text.splitlines()
    found = re.findall(
        r"^\w+://127\.0\.0\.1(?::\d+)?(/\S+) +(\S+(?: \S+)*)", "\n".join(rows), re.MULTILINE
    )
    return [*(" ".join(row) for row in found), total]


@pytest.fixture
def check() -> Check:
    target = Target(
        index=0,
        source=None,
        line=None,
        input="http://127.0.0.1/",
        url="http://127.0.0.1/",
        host="127.0.0.1",
        expectation=Expectation(),
        method="GET",
    )
    result = Result(target=target, outcome=Outcome.UNREACHED)
    return Check(result=result, verdict=judge(result))


def test_the_record_table_has_the_keys_of_a_record(check: Check) -> None:
    assert [row[0] for row in table("### The record")] == list(record.record(check))


def test_the_record_table_names_the_timings(check: Check) -> None:
    (row,) = [row for row in table("### The record") if row[0] == "timings_ms"]
    named = re.findall(r"`?(\w+)`", row[2])
    assert named == list(record.record(check)["timings_ms"])


def test_the_summary_table_has_the_keys_of_a_summary() -> None:
    summary = record.summary(Tally().summary(CrawlStats(elapsed=0.0)))
    assert [row[0] for row in table("### The summary")] == list(summary)


def test_the_summary_table_names_the_quantiles() -> None:
    summary = record.summary(Tally().summary(CrawlStats(elapsed=0.0)))
    (row,) = [row for row in table("### The summary") if row[0] == "latency_ms"]
    assert re.findall(r"`?(\w+)`", row[2]) == list(summary["latency_ms"])


def test_the_table_of_error_kinds_has_all_of_them() -> None:
    assert [row[0] for row in table("### Error kinds")] == list(ErrorKind)


def test_the_table_of_classes_has_all_of_them() -> None:
    assert [row[0] for row in table("### Classes")] == list(CLASSES)


def test_the_table_of_exit_codes_has_all_of_them() -> None:
    assert [row[0] for row in table("## In CI")] == ["0", "1", "2", "3", "129", "130", "143"]
