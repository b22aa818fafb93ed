"""Internal errors, and a system without threads: one line, results written, exit code 2."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import Server, reply
from shell import PATIENCE, Ended, complaint, environment, records, write

NO_THREADS = """
import threading

def refuse(thread):
    raise RuntimeError("can't start new thread")

threading.Thread.start = refuse
"""
MAIN = """
import sys
from crawler.__main__ import main
main()
"""
REASON = "cannot start a thread: too many processes, or too little memory"


def run(before: str, *args: object, prefix: tuple[str, ...] = ()) -> Ended:
    """Run `crawl` with these arguments in an interpreter that has run `before`."""
    command = [*prefix, sys.executable, "-P", "-c", before + MAIN, *map(str, args)]
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )


def simulated(*args: object) -> Ended:
    return run(NO_THREADS, *args)


def limited(*args: object) -> Ended:
    """Run as a user who may have one process with one thread."""
    if os.getuid() != 0 or not (shutil.which("setpriv") and shutil.which("prlimit")):
        pytest.skip("only root can become a user without other processes")
    reading = "+dac_override,+dac_read_search"
    become = ("setpriv", "--reuid=54321", "--clear-groups", f"--inh-caps={reading}")
    prefix = ("prlimit", "--nproc=1:1", *become, f"--ambient-caps={reading}")
    return run("", *args, prefix=prefix)


either = pytest.mark.parametrize("crawl", [simulated, limited], ids=["simulated", "by limit"])


@either
def test_a_list_that_cannot_be_read_for_lack_of_threads_is_one_line_and_exit_code_2(
    crawl: Callable[..., Ended], tmp_path: Path
) -> None:
    urls = write(tmp_path / "urls.txt", "http://127.0.0.1:1/")
    tmp_path.chmod(0o777)
    done = crawl(urls, "--jsonl", "-o", tmp_path / "out.json")
    assert (done.returncode, done.stdout, complaint(done)) == (2, "", REASON)
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["results"] == []
    assert (document["summary"]["exit_code"], document["summary"]["complete"]) == (2, False)


@either
def test_urls_that_need_no_thread_are_checked_without_one(
    crawl: Callable[..., Ended], server: Server, tmp_path: Path
) -> None:
    server.on("/", reply(200, b"good"))
    tmp_path.chmod(0o777)
    done = crawl(server.url("/"), "--jsonl", "-o", tmp_path / "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [record["ok"] for record in records(done.stdout)] == [True]
    assert json.loads((tmp_path / "out.json").read_text())["results"] == records(done.stdout)


@either
@pytest.mark.parametrize("engine", ["direct", "httpx"])
def test_a_lookup_without_a_thread_is_a_local_resource_error(
    crawl: Callable[..., Ended], server: Server, engine: str
) -> None:
    server.on("/", reply(200, b"good"))
    named = server.url("/", host="localhost")
    done = crawl(named, server.url("/"), "--jsonl", "--engine", engine)
    assert (done.returncode, done.stderr) == (1, "")
    found = {record["url"]: record for record in records(done.stdout)}
    error = found[named]["error"]
    assert error == {"kind": "local_resource", "phase": "dns", "detail": REASON}
    assert found[server.url("/")]["ok"]


@either
def test_https_needs_no_thread_to_load_the_certificates(
    crawl: Callable[..., Ended], tls_server: Server, ca_file: Path
) -> None:
    tls_server.on("/", reply(200, b"good"))
    done = crawl(tls_server.url("/"), "--jsonl", "--cacert", ca_file)
    assert (done.returncode, done.stderr) == (0, "")


FAULTS = {
    "in the list": "from crawler.core.urllist import UrlList as it; name = 'parse'",
    "in the schedule": "from crawler.engine.lanes import Lanes as it; name = 'take'",
    "in the verdict": "import crawler.app.collect as it; name = 'judge'",
}
FAULT = """
{where}
whole, calls = getattr(it, name), []

def broken(*args, **more):
    calls.append(name)
    if len(calls) > {good}:
        raise KeyError("a [/red] fault")
    return whole(*args, **more)

setattr(it, name, broken)
"""


@pytest.mark.parametrize("where", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("good", [0, 1], ids=["at once", "later"])
def test_an_internal_error_is_one_line_and_finished_checks_are_written(
    server: Server, tmp_path: Path, where: str, good: int
) -> None:
    urls = [server.on(f"/{n}", reply(200, b"good")) for n in range(20)]
    out = tmp_path / "out.json"
    first = write(tmp_path / "first.txt", *urls[:10])
    second = write(tmp_path / "second.txt", *urls[10:])
    fault = FAULT.format(where=where, good=good)
    done = run(fault, first, second, "--max", "1", "--jsonl", "-o", out)
    assert done.returncode == 2
    assert complaint(done) == "internal error: KeyError: 'a [/red] fault'"
    document = json.loads(out.read_text())
    assert document["results"] == records(done.stdout)
    assert (document["summary"]["exit_code"], document["summary"]["complete"]) == (2, False)
    assert sorted(os.listdir(tmp_path)) == ["first.txt", "out.json", "second.txt"]


def test_an_internal_error_has_its_traceback_with_verbose() -> None:
    fault = FAULT.format(where=FAULTS["in the verdict"], good=0)
    done = run(fault, "http://127.0.0.1:1/", "--jsonl", "--verbose", "--retries", "0")
    assert done.returncode == 2
    assert "crawl: internal error: KeyError: 'a [/red] fault'\ncrawl: Traceback" in done.stderr


def test_a_broken_format_does_not_affect_the_other_output(server: Server, tmp_path: Path) -> None:
    urls = [server.on(f"/{n}", reply(200, b"good")) for n in range(5)]
    where = "import crawler.report.jsonl as it; name = 'line'"
    fault = FAULT.format(where=where, good=0)
    listed = write(tmp_path / "urls.txt", *urls)
    done = run(fault, listed, "--jsonl", "-o", tmp_path / "out.json")
    assert (done.returncode, done.stdout) == (2, "")
    expected = "cannot write standard output: internal error: KeyError: 'a [/red] fault'"
    assert complaint(done) == expected
    assert len(json.loads((tmp_path / "out.json").read_text())["results"]) == 5


def test_an_internal_error_before_the_run_is_one_line() -> None:
    fault = FAULT.format(
        where="import crawler.cli.environment as it; name = 'check_certificates'", good=0
    )
    done = run(fault, "http://127.0.0.1:1/")
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint(done) == "internal error: KeyError: 'a [/red] fault'"


def test_a_missing_library_is_one_line() -> None:
    done = run("import sys; sys.modules['typer'] = None", "http://127.0.0.1:1/")
    assert done.returncode == 2
    assert complaint(done).startswith("internal error: ModuleNotFoundError: ")
