"""The documents against the program: commands run, and tables, blocks and links are correct."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from loopback import Server, reply
from shell import Ended, crawl, environment, write

from crawler.core.expect import CLASSES, judge
from crawler.core.summary import CrawlStats, Tally
from crawler.models import Check, ErrorKind, Expectation, Outcome, Result, Target
from crawler.report import record

ROOT = Path(__file__).parents[1]
PATHS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
DOCUMENTS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in PATHS}
README, REFERENCE = DOCUMENTS["README.md"], DOCUMENTS["docs/reference.md"]
ARCHITECTURE = DOCUMENTS["docs/architecture.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BUILD = (ROOT / ".ci" / "run").read_text("utf-8")
INSTALL = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/crawl --demo"
UVX = "uvx --from . crawl --demo"
EDITABLE = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]'"
TEST = "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest"
UV_TEST = "uv run --extra test pytest"
MEASURE = "pip install --upgrade --upgrade-strategy eager -e '.[fast,bench]'"
PACKAGES = "apt install nginx curl wget2 aria2 gcc"
INSTALLS = {
    *(INSTALL, UVX, "pip install ./crawl"),
    *(EDITABLE, TEST, UV_TEST),
    *(MEASURE, PACKAGES, "pip install -e '.[test]'"),
}
CHECKS = ".venv/bin/ruff format . && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/pytest"
EXAMPLE = "https://example.com"


class Command(NamedTuple):
    """A line of a shell block, or of a workflow step, and the document it stands in."""

    document: str
    text: str

    @property
    def installs(self) -> bool:
        """Whether it creates an environment instead of running in one."""
        return self.text.split()[0] in ("python3", "pip", "uv", "uvx", "apt")


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def table(heading: str, text: str = REFERENCE) -> list[tuple[str, ...]]:
    """Return the rows of the first table under a heading, without its head."""
    section = text.partition(f"\n## {heading}\n")[2]
    found = re.search(r"^\|.*?\n(?!\|)", section, re.DOTALL | re.MULTILINE)
    assert found is not None
    rows = found[0].splitlines()[2:]
    return [tuple(cell.strip(" `") for cell in row.strip("|").split(" | ")) for row in rows]


def commands() -> list[Command]:
    """Return every shell command of every document, those of workflow steps included."""
    found = []
    for name, text in DOCUMENTS.items():
        lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
        steps = [step for block in blocks(text, "yaml") for step in re.findall(r"run: (.*)", block)]
        found += [Command(name, re.sub(r"  +# .*", "", line)) for line in (*lines, *steps)]
    return found


def commands_of(document: str) -> list[str]:
    return [command.text for command in commands() if command.document == document]


RUN = [command for command in commands() if not command.installs]
CRAWLS = [command for command in RUN if re.match(r"crawl |grep ", command.text)]
TESTS = [command for command in RUN if command.text.startswith(".venv/bin/pytest tests/")]
BENCHMARKS = [command for command in RUN if "python -m benchmarks" in command.text]


# Installation


def test_the_readme_is_short_and_the_demo_and_a_list_come_first() -> None:
    assert len(README.splitlines()) <= 150
    assert commands_of("README.md")[:3] == [INSTALL, UVX, "crawl urls.example.txt --max 10"]


def test_every_command_is_run_by_a_test_or_by_the_build() -> None:
    assert {command.text for command in commands() if command.installs} <= INSTALLS
    rest = {command.text for command in RUN if command not in (*CRAWLS, *TESTS, *BENCHMARKS)}
    assert rest == {".venv/bin/pytest", CHECKS}


def test_the_build_runs_what_the_documents_install_and_check() -> None:
    assert re.search(rf"^{re.escape(TEST)}( \|\| exit)?$", BUILD, re.MULTILINE)
    assert re.search(rf"^{re.escape(INSTALL)} \|\| ", BUILD, re.MULTILINE)
    for part in CHECKS.replace("format .", "format --check .").split(" && "):
        assert re.search(rf"(^|&& ){re.escape(part)}", BUILD, re.MULTILINE), part


def test_the_installed_package_has_the_command_and_the_extras_that_are_named() -> None:
    text = "".join(DOCUMENTS.values())
    lists = re.findall(r"'\.\[([\w,]+)\]'|--extra (\w+)", text)
    extras = {name for one, other in lists for name in (one or other).split(",")}
    assert extras <= set(PROJECT["optional-dependencies"])
    assert {"fast", "http2", "socks"} <= extras
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


@pytest.mark.parametrize("command", CRAWLS, ids=": ".join)
def test_a_command_does_what_the_document_says(
    site: Server, tmp_path: Path, command: Command
) -> None:
    """Lists and URLs are those of a server on loopback."""
    text = command.text
    if "jq" in shlex.split(text) and shutil.which("jq") is None:
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
    ended = run_script(text.replace(EXAMPLE, site.origin), tmp_path, variables)
    passes = "--wait" in text  # the only one whose URLs all pass
    assert bool(ended.stderr) is passes
    assert ended.stdout != ""
    fails = text.startswith("crawl") and " | " not in text and "echo" not in text
    assert ended.returncode == (1 if fails and not passes else 0)
    assert site.counts["/health" if passes else "/1"] == 1


@pytest.mark.parametrize("command", TESTS, ids=": ".join)
def test_a_command_that_runs_tests_runs_some(command: Command) -> None:
    python = f"{shlex.quote(sys.executable)} -m pytest -p no:cacheprovider "
    text = command.text.replace(".venv/bin/pytest ", python)
    ended = run_script(text, ROOT, environment())
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.search(r"[1-9]\d* passed", ended.stdout)


@pytest.mark.parametrize("command", BENCHMARKS, ids=": ".join)
def test_a_command_that_measures_takes_its_arguments(command: Command) -> None:
    """None runs in full: policies get no seeds, the others print their help."""
    text = re.sub(r"^\S+", shlex.quote(sys.executable), command.text)
    text = re.sub(r"--runs \d+", "--runs 0", text) if "policies" in text else f"{text} --help"
    ended = run_script(text, ROOT, environment())
    assert (ended.returncode, ended.stderr) == (0, "")


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
    ended = run_python(blocks(REFERENCE, "python")[0].replace(EXAMPLE, site.origin))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.splitlines()) == [
        f"False 404 {site.url('/missing')}",
        f"True 200 {site.url('/')}",
    ]


def test_the_python_example_has_ten_lines() -> None:
    assert len([line for line in blocks(REFERENCE, "python")[0].splitlines() if line]) <= 10


def test_the_example_that_leaves_the_loop_early_runs(site: Server) -> None:
    head = "import asyncio\nfrom contextlib import aclosing\nfrom crawler import crawl\n"
    urls = [site.url("/missing"), site.url("/1"), site.url("/2")]
    body = f"urls = {urls}\n{blocks(REFERENCE, 'python')[1]}"
    code = f"{head}async def main():\n{textwrap.indent(body, '    ')}\nasyncio.run(main())"
    ended = run_python(code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert site.counts["/missing"] == 1


# Reference


def test_the_help_block_is_the_real_one() -> None:
    shown = [block for block in blocks(REFERENCE, "text") if block.startswith("Usage:")]
    assert shown == [crawl("--help").stdout]


def test_the_output_of_the_demo_is_a_real_one() -> None:
    """Ports, times and the words of a reason differ; rows and counts do not."""
    (shown,) = [block for block in blocks(README, "text") if block.startswith("URL")]
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
    assert [row[0] for row in table("The record")] == list(record.dump(check))


def test_the_record_table_names_the_timings(check: Check) -> None:
    (row,) = [row for row in table("The record") if row[0] == "timings_ms"]
    named = re.findall(r"`?(\w+)`", row[2])
    assert named == list(record.dump(check)["timings_ms"])


def test_the_summary_table_has_the_keys_of_a_summary() -> None:
    summary = record.dump_summary(Tally().summary(CrawlStats(elapsed=0.0)))
    assert [row[0] for row in table("The summary")] == list(summary)


def test_the_summary_table_names_the_quantiles() -> None:
    summary = record.dump_summary(Tally().summary(CrawlStats(elapsed=0.0)))
    (row,) = [row for row in table("The summary") if row[0] == "latency_ms"]
    assert re.findall(r"`?(\w+)`", row[2]) == list(summary["latency_ms"])


def test_the_table_of_error_kinds_has_all_of_them() -> None:
    assert [row[0] for row in table("Error kinds")] == list(ErrorKind)


def test_the_table_of_classes_has_all_of_them() -> None:
    assert [row[0] for row in table("Classes")] == list(CLASSES)


def test_the_table_of_exit_codes_has_all_of_them() -> None:
    assert [row[0] for row in table("Exit codes")] == ["0", "1", "2", "3", "129", "130", "143"]


# Architecture


def test_every_module_that_the_architecture_names_exists() -> None:
    prose = re.sub(r"^```.*?^```$", "", ARCHITECTURE, flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"`([\w/.]+(?:\.py|/))`(?! \(new\))", prose)) - {"crawler/"}
    missing = [
        name for name in named if not ((ROOT / "crawler" / name).exists() or (ROOT / name).exists())
    ]
    assert named
    assert missing == []


def test_the_table_of_states_has_all_of_them() -> None:
    for _, owner, states in table("States", ARCHITECTURE):
        found = re.fullmatch(r"(\w+)` in `([\w/]+)\.py", owner)
        assert found is not None, owner
        module = importlib.import_module(f"crawler.{found[2].replace('/', '.')}")
        assert states.split(", ") == [state.name for state in getattr(module, found[1])]


def test_no_change_on_paper_touches_more_than_four_files() -> None:
    changes = table("Six changes on paper", ARCHITECTURE)
    assert len(changes) == 6
    assert all(1 < len(re.findall(r"[\w/]+(?:\.py|/)`", row[1])) <= 4 for row in changes)


def test_a_transport_can_be_tried_as_the_architecture_shows() -> None:
    (code,) = blocks(ARCHITECTURE, "python")
    ended = run_python(code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True 204\n", "")


# Links


def headings(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ (.*)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_link_leads_to_a_file_and_a_heading_that_exist(name: str) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", DOCUMENTS[name]):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        if not target.exists() or (anchor and anchor not in headings(target.read_text("utf-8"))):
            broken.append(link)
    assert broken == []


def test_the_readme_leads_to_every_document() -> None:
    named = set(re.findall(r"\]\(([^)#\s]+)", "".join(DOCUMENTS.values())))
    names = {Path(link).name for link in named if not link.startswith("https://")}
    assert {Path(name).name for name in DOCUMENTS} - {"README.md"} <= names
