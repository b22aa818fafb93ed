"""Results <-> a JSON document, from which chart and summary are made.

Units: seconds (`wall`, `cpu`, `server_cpu`), bytes (`peak`), milliseconds (latencies), and
the share of the machine that other processes used (`others`). What was not measured is null.
"""

import json
from dataclasses import asdict
from typing import Any

from benchmarks.floors import Floor, verdict
from benchmarks.latency import EngineLatency
from benchmarks.machine import Circumstances
from benchmarks.measure import Run
from benchmarks.suite import Results
from benchmarks.turns import Outcome, Row

SCHEMA = 1


class DocumentError(Exception):
    """A text that is not a document of results; the text gives the reason."""


def dump(results: Results, about: Circumstances) -> str:
    """Return the document; an item of a list has a line of its own."""
    content = {
        "schema": SCHEMA,
        "about": asdict(about),
        "quick": results.quick,
        "workloads": [_outcome(outcome) for outcome in results.outcomes],
        "latencies": [_latency(recorded) for recorded in results.latencies],
        "floors": [_floor(floor, quick=results.quick) for floor in results.floors],
    }
    pairs = (f"{json.dumps(key)}: {_lines(value)}" for key, value in content.items())
    return "{\n" + ",\n".join(pairs) + "\n}\n"


def load(text: str) -> dict[str, Any]:
    """Return the content of a document. Raises DocumentError."""
    try:
        content = json.loads(text)
    except ValueError as exc:
        raise DocumentError(f"not JSON: {exc}") from exc
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise DocumentError(f"not a document of `python -m benchmarks --json`, schema {SCHEMA}")
    return content


def _lines(value: object) -> str:
    if not isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    items = (json.dumps(item, ensure_ascii=False) for item in value)
    return "[\n" + ",\n".join(items) + "\n]"


def _outcome(outcome: Outcome) -> dict[str, object]:
    workload = outcome.workload
    return {
        "name": workload.name,
        "title": workload.title,
        "urls": workload.urls,
        "rows": [_row(row) for row in outcome.rows],
    }


def _row(row: Row) -> dict[str, object]:
    return {
        "client": row.client.name,
        "label": row.client.label,
        "concurrency": row.concurrency,
        "urls": row.urls,
        "problem": row.problem,
        "runs": [_run(run) for run in row.runs],
    }


def _run(run: Run) -> dict[str, object]:
    return {
        "wall": round(run.wall, 4),
        "cpu": round(run.cpu, 4),
        "peak": run.peak,
        "server_cpu": None if run.server_cpu is None else round(run.server_cpu, 2),
        "others": None if run.others is None else round(run.others, 3),
    }


def _latency(recorded: EngineLatency) -> dict[str, object]:
    return {
        "client": recorded.engine,
        "concurrency": recorded.concurrency,
        "urls": recorded.urls,
        "problem": recorded.problem,
        "runs": [
            {"rate": round(rate, 1), "crawl": asdict(mine), "server": asdict(theirs)}
            for rate, mine, theirs in zip(
                recorded.rates, recorded.crawl, recorded.server, strict=True
            )
        ],
    }


def _floor(floor: Floor, *, quick: bool) -> dict[str, object]:
    return asdict(floor) | {"verdict": verdict(floor, quick=quick)}
