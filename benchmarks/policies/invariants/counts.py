"""The summary against the records, the verdicts against the facts, the exit code against both."""

import math
import statistics
from collections import Counter
from typing import Any

from benchmarks.policies import rules
from benchmarks.policies.program import Run

_WITHIN = 0.002  # share by which a percentile may exceed the exact one


def counts_add_up(run: Run) -> list[str]:
    """`total` is the sum of its parts, and the number of records."""
    summary = run.summary
    if not summary:
        return []
    parts = sum(summary[part] for part in ("passed", "failed", "invalid", "unreached"))
    if summary["total"] == parts == len(run.records):
        return []
    return [f"total {summary['total']}, parts {parts}, records {len(run.records)}"]


def summary_recomputed(run: Run) -> list[str]:
    """Each figure of the summary follows from the records and the list."""
    summary = run.summary
    if not summary:
        return []
    due = _recomputed(run)
    found = [f"{k}: {summary.get(k)!r}, not {v!r}" for k, v in due.items() if summary.get(k) != v]
    latencies = [r["latency_ms"] for r in run.records if r["outcome"] == "responded"]
    recorded: dict[str, float | None] = summary["latency_ms"]
    for name, value in _percentiles(latencies).items():
        figure = recorded[name]
        if value is None or figure is None:
            same = value is figure
        else:
            same = abs(figure - value) <= 0.01 + value * _WITHIN
        if not same:
            found.append(f"latency {name}: {figure}, not {value}")
    elapsed = summary["elapsed_s"]
    if elapsed > 0.01:  # it is rounded to a millisecond
        rate = (summary["passed"] + summary["failed"]) / elapsed
        if abs((summary["requests_per_s"] or 0.0) - rate) > 0.1 + rate * 0.001 / elapsed:
            found.append(f"requests_per_s: {summary['requests_per_s']}, not {rate:.1f}")
    return found


def _recomputed(run: Run) -> dict[str, Any]:
    records = run.records
    by_outcome = Counter(record["outcome"] for record in records)
    statuses = Counter(str(r["status"]) for r in records if r["status"] is not None)
    sent = [r for r in records if r["outcome"] in ("responded", "error")]
    unreached = by_outcome["unreached"]
    due: dict[str, Any] = {
        "passed": sum(r["ok"] is True for r in sent),
        "failed": sum(r["ok"] is False for r in sent),
        "invalid": by_outcome["invalid"],
        "unreached": unreached,
        "bytes": sum(r["size"] or 0 for r in records),
        "by_status": dict(sorted(statuses.items(), key=lambda one: int(one[0]))),
        "by_error": dict(Counter(r["error"]["kind"] for r in records if r["error"])),
        "exit_code": run.code,
        "flaky": sum(r["flaky"] for r in records),
        "warned": sum(r["warned"] for r in records),
        "blocked": sum(r["blocked_by"] is not None for r in records),
    }
    if run.signalled is None:
        due |= {"complete": not unreached, "duplicates": run.scenario.duplicates}
    elif unreached:
        due["complete"] = False
    return due


def _percentiles(values: list[float]) -> dict[str, float | None]:
    names = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
    if not values:
        return dict.fromkeys(("min", "mean", "max", *names))
    ordered = sorted(values)
    ranked = {n: ordered[max(1, math.ceil(s * len(values))) - 1] for n, s in names.items()}
    return {
        "min": ordered[0],
        "mean": statistics.fmean(values),
        "max": ordered[-1],
        **ranked,
    }


def verdicts_by_the_rules(run: Run) -> list[str]:
    """`ok` and `warned` follow from the facts, --accept, --fail-on and --warn-on."""
    found = []
    for record in run.records:
        due = rules.verdict(record, run.scenario.options)
        if (record["ok"], record["warned"]) != due:
            found.append(f"index {record['index']}: {record['ok']}, {record['warned']}, not {due}")
    return found


def exit_code_by_the_rules(run: Run) -> list[str]:
    """The exit code follows from the records (section 6 of the design)."""
    if run.code is None:
        return []
    complete = all(record["ok"] is not None for record in run.records)
    may_be = {
        rules.exit_code(
            run.records, run.scenario.options, complete=complete, interrupted=interrupted
        )
        for interrupted in {False, run.signalled is not None}
    }
    if run.signalled is not None and not complete:
        may_be = {130}  # otherwise it may have come too late to end anything
    return [] if run.code in may_be else [f"exit code {run.code}, not {sorted(may_be)}"]


ALL = (counts_add_up, summary_recomputed, verdicts_by_the_rules, exit_code_by_the_rules)
