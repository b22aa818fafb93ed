"""Loops over Python clients, which count statuses only, and the least time of a start."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks import peers
from benchmarks.clients.client import Client, Load, missing, versioned
from benchmarks.measure import Run

AIOHTTP, HTTPX_LOOP, PYREQWEST = "aiohttp", "httpx loop", "pyreqwest"
IMPORT = "import typer"
_PEERS = Path(next(iter(peers.__path__)))


def event_loop() -> str:
    """Return the event loop that crawl uses here; the other Python clients use the same."""
    return "asyncio" if find_spec("uvloop") is None else "uvloop"


def aiohttp() -> Client:
    return _loop(AIOHTTP, "aiohttp", "loop")


def httpx() -> Client:
    return _loop(HTTPX_LOOP, "httpx", "AsyncClient, default limits")


def pyreqwest() -> Client:
    return _loop(PYREQWEST, "pyreqwest", "loop")


def import_baseline() -> Client:
    """Return the least work of a command line program that uses typer."""
    return Client(
        name=IMPORT,
        label=f"python -c 'import typer' ({versioned('typer')})",
        command=lambda _load: [sys.executable, "-c", "import typer"],
        succeeded=None,
        missing=missing("typer"),
    )


def _loop(name: str, package: str, form: str) -> Client:
    def command(load: Load) -> list[str]:
        script = str(_PEERS / f"{package}_loop.py")
        parts = [sys.executable, script, str(load.url_file), str(load.concurrency), event_loop()]
        return [*parts, *([str(load.ca)] if load.ca else [])]

    return Client(
        name=name,
        label=f"{versioned(package)} {form} ({event_loop()})",
        command=command,
        succeeded=_counted,
        missing=missing(package),
    )


def _counted(run: Run) -> int:
    return int(json.loads(run.out.read_text("ascii")).get("200", 0))
