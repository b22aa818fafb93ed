"""`crawl` with each of its engines, and with other outputs than `--jsonl`."""

import json
import re

from benchmarks.clients.client import Client, Load, missing, script, versioned
from benchmarks.clients.loops import event_loop
from benchmarks.measure import Run

DIRECT, NATIVE, HTTPX = "direct", "native", "httpx"
TABLE, BESIDE = "table", "table and -o"


def command(engine: str, load: Load, output: list[str]) -> list[str]:
    """Return the command line of `crawl`; `output` are its options for that."""
    concurrency = str(load.concurrency)
    parts = [script("crawl") or "crawl", str(load.url_file), *output, "--engine", engine]
    parts += ["--max", concurrency, "--per-host", concurrency]
    return [*parts, "--cacert", str(load.ca)] if load.ca else parts


def with_engine(engine: str) -> Client:
    """Return `crawl --jsonl` with an engine."""
    using = f", {versioned('pyreqwest')}" if engine == NATIVE else ""
    return Client(
        name=engine,
        label=f"{versioned('crawler', 'crawl')} --engine {engine} ({event_loop()}{using})",
        command=lambda load: command(engine, load, ["--jsonl"]),
        succeeded=_records,
        missing=unavailable(engine),
    )


def outputs() -> list[Client]:
    """Return `crawl` with the table as its output, and with a file of records beside that."""

    def beside(load: Load) -> list[str]:
        return command(DIRECT, load, ["-o", str(load.url_file.with_suffix(".jsonl"))])

    return [
        Client(
            name=TABLE,
            label="crawl, table",
            command=lambda load: command(DIRECT, load, []),
            succeeded=_total,
            missing=unavailable(DIRECT),
        ),
        Client(
            name=BESIDE,
            label="crawl, table and -o FILE.jsonl",
            command=beside,
            succeeded=_total,
            missing=unavailable(DIRECT),
        ),
    ]


def unavailable(engine: str) -> str | None:
    """Return why an engine cannot be measured here, or None."""
    if script("crawl") is None:
        return "missing: crawl is not installed in this environment"
    return missing("pyreqwest") if engine == NATIVE else None


def _records(run: Run) -> int:
    with run.out.open(encoding="ascii") as lines:
        records = map(json.loads, lines)
        return sum(record["ok"] is True and record["status"] == 200 for record in records)


def _total(run: Run) -> int:
    """Return the successes of the closing line, 0 if anything else happened to a URL."""
    lines = run.out.read_text("utf-8").splitlines()
    found = re.fullmatch(r"Total: \S+ URLs, (\S+) success, 0 failed", lines[-1] if lines else "")
    return int(found[1].replace(",", "")) if found else 0
