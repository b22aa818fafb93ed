"""Start-up cost: heavy libraries are imported only if they are needed."""

import os
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
# asyncio itself imports ssl, concurrent.futures and logging.
UNUSED_BY_A_PLAIN_RUN = {
    "certifi",
    "crawler.app.rounds",
    "crawler.engine.fetch",
    "crawler.engine.hedging",
    "crawler.engine.sender",
    "crawler.engine.transports.direct",
    "crawler.engine.transports.proxy",
    "crawler.engine.transports.request",
    "crawler.report.failedlist",
    "crawler.report.jsondocument",
    "crawler.report.progress",
    "crawler.report.table",
    "crawler.report.terminal",
    "email.utils",
    "hashlib",
    "httpcore",
    "httpx",
    "idna",
    "pyreqwest",
    "random",
    "rich",
    "tempfile",
    "urllib.request",
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


def test_a_plain_run_imports_only_what_it_uses() -> None:
    modules = imported("http://127.0.0.1:1/", "--jsonl")
    assert "crawler.engine.plainattempt" in modules
    assert modules & UNUSED_BY_A_PLAIN_RUN == set()


@pytest.mark.parametrize(
    ("option", "module"),
    [
        (["--engine", "httpx"], "httpx"),
        (["--hedge"], "crawler.engine.hedging"),
        (["--failed-to", os.devnull], "crawler.report.failedlist"),
        ([], "rich"),
    ],
    ids=["httpx", "hedge", "failed", "table"],
)
def test_what_a_plain_run_does_without_is_imported_when_it_is_used(
    option: list[str], module: str
) -> None:
    assert module in imported("http://127.0.0.1:1/", *option)


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
