"""Start-up cost: heavy libraries are imported only if they are needed."""

import re
import subprocess
import sys

import pytest
from shell import COMMAND, unmeasured

HEAVY = {
    "asyncio",
    "certifi",
    "crawler.app.job",
    "crawler.report.record",
    "crawler.report.sinks",
    "httpcore",
    "httpx",
    "idna",
    "rich",
    "ssl",
}


def imported(*args: str) -> set[str]:
    """Return the modules that a run of `crawl` imports."""
    command = [sys.executable, "-X", "importtime", *COMMAND[1:], *args]
    ended = subprocess.run(
        command, env=unmeasured(), capture_output=True, encoding="utf-8", check=False, timeout=60
    )
    return set(re.findall(r"^import time:.*\| +([\w.]+)$", ended.stderr, re.MULTILINE))


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_import_nothing_heavy(option: str) -> None:
    modules = imported(option)
    assert "crawler.cli.command" in modules
    assert modules & HEAVY == set()


def test_an_invalid_option_imports_nothing_heavy() -> None:
    modules = imported("--max", "0", "http://127.0.0.1:1/")
    assert "crawler.cli.command" in modules
    assert modules & HEAVY == set()


def test_json_lines_do_not_import_rich() -> None:
    modules = imported("http://127.0.0.1:1/", "--jsonl")
    assert "httpx" in modules
    assert {name for name in modules if name.split(".")[0] == "rich"} == set()


def test_the_first_request_of_the_engine_httpx_imports_nothing() -> None:
    """An import at that moment would add to its latency: 20 ms, more on a busy machine."""
    code = """
import asyncio, sys, httpx
from crawler.engine.transports import ConnectionSettings, open_transport
from crawler.engine.transports.settings import Engine

async def main():
    transport = open_transport(ConnectionSettings(engine=Engine.HTTPX))
    before = set(sys.modules)
    try:
        await transport.handle_async_request(httpx.Request("GET", "http://127.0.0.1:1/"))
    except Exception:
        print(*sorted(set(sys.modules) - before))
    await transport.aclose()

asyncio.run(main())
"""
    command = [sys.executable, "-P", "-c", code]
    ended = subprocess.run(
        command, env=unmeasured(), capture_output=True, encoding="utf-8", check=True, timeout=60
    )
    assert ended.stdout == "\n"
