"""One record for each entry, of the schema, the same in every output."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from benchmarks.policies.program import Run

_KINDS = {
    *("invalid_url", "blocked", "dns_not_found", "dns_temporary", "connect_refused"),
    *("unreachable", "timeout", "tls_expired", "tls_not_yet_valid", "tls_hostname"),
    *("tls_untrusted", "tls_handshake", "reset", "disconnected", "protocol"),
    *("body_incomplete", "decode", "too_many_redirects", "redirect_loop", "bad_redirect"),
    *("local_resource", "internal"),
}
_PHASES = frozenset({"dns", "connect", "tls", "wait", "download", None})
_TIMINGS = ["queue", "dns", "connect", "tls", "wait", "download"]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _is_fault(line: str) -> bool:
    """Whether a line of standard error reports an exception, or a coroutine never awaited."""
    return "Traceback" in line or "RuntimeWarning" in line


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _or_null(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _timings(value: Any) -> bool:
    return list(value) == _TIMINGS and all(one is None or _number(one) for one in value.values())


def _error(value: Any) -> bool:
    if list(value) != ["kind", "phase", "detail"]:
        return False
    return value["kind"] in _KINDS and value["phase"] in _PHASES and bool(value["detail"])


def _retried(value: Any) -> bool:
    return all(
        list(one) == ["method", "kind", "status"]
        and (one["kind"] in _KINDS) != _count(one["status"])
        and _text(one["method"])
        for one in value
    )


SCHEMA: dict[str, Callable[[Any], bool]] = {
    "schema": lambda value: value == 1,
    "index": _count,
    "source": _or_null(_text),
    "line": _or_null(_count),
    "input": _text,
    "url": _text,
    "final_url": _or_null(_text),
    "method": _text,
    "ok": _or_null(_flag),
    "outcome": lambda value: value in ("responded", "error", "invalid", "unreached", "duplicate"),
    "status": _or_null(_count),
    "size": _or_null(_count),
    "latency_ms": _or_null(_number),
    "ttfb_ms": _or_null(_number),
    "timings_ms": _timings,
    "attempts": _count,
    "redirects": lambda value: all(list(one) == ["url", "status"] for one in value),
    "http_version": _or_null(_text),
    "remote_ip": _or_null(_text),
    "content_type": _or_null(_text),
    "content_length": _or_null(_count),
    "truncated": _flag,
    "error": _or_null(_error),
    "reasons": lambda value: all(_text(one) and one for one in value),
    "timestamp": _or_null(_text),
    "tls": _or_null(lambda value: "version" in value),
    "retried": _retried,
    "flaky": _flag,
    "hedged": _flag,
    "blocked_by": _or_null(_text),
    "warned": _flag,
}
"""The keys of schema 1 in their order; later ones may follow."""

_NEVER_SENT = ("status", "size", "latency_ms", "ttfb_ms", "final_url", "timestamp", "tls")
_RESPONDED = ("status", "size", "latency_ms", "ttfb_ms", "final_url", "timestamp")


def ended_by_itself(run: Run) -> list[str]:
    """The program ended by itself, with readable outputs and without an internal error."""
    found = list(run.broken)
    if run.code is None:
        found.append("it had to be killed")
    if run.code is not None and run.document is None:
        found.append("there is no JSON document")
    found += [f"standard error: {one}" for one in run.errors.splitlines() if _is_fault(one)]
    internal = [r for r in run.records if (r.get("error") or {}).get("kind") == "internal"]
    return found + [f"index {r['index']}: {r['error']['detail']}" for r in internal]


def ran_as_requested(run: Run) -> list[str]:
    """The engine and the event loop were those of the scenario."""
    expected = f"engine {run.scenario.engine_option}, event loop {run.scenario.loop}"
    return [] if expected in run.errors else [f"not {expected}: {run.errors[:200]}"]


def one_record_per_entry(run: Run) -> list[str]:
    """Each entry has exactly one record; after Ctrl-C, each one that was read."""
    entries = run.scenario.entries()
    found = []
    seen = sorted(record["index"] for record in run.records)
    if run.signalled is not None:
        entries = entries[: len(seen)]
    if seen != [entry.index for entry in entries]:
        due = {entry.index for entry in entries}
        twice = sorted({one for one, other in pairwise(seen) if one == other})
        found.append(
            f"{len(seen)} records of {len(due)} entries; "
            f"missing {sorted(due - set(seen))[:9]}, twice {twice[:9]}"
        )
    lines = {entry.index: entry.line for entry in entries}
    for record in run.records:
        line = lines.get(record["index"])
        if line != record["line"] or record["input"] != run.listed[(line or 1) - 1].strip():
            found.append(f"index {record['index']} is line {record['line']}, not {line}")
    return found


def record_schema(run: Run) -> list[str]:
    """Keys, their order, types, closed sets, and what must or must not be null."""
    found = []
    for record in run.records:
        place = f"index {record.get('index')}"
        if list(record)[: len(SCHEMA)] != list(SCHEMA):
            found.append(f"{place}: keys {list(record)}")
            continue
        wrong = [key for key, check in SCHEMA.items() if not check(record[key])]
        found += [f"{place}: {key} is {record[key]!r}" for key in wrong]
        found += [f"{place}: {complaint}" for complaint in _nulls(record)]
    return found


def _nulls(record: dict[str, Any]) -> list[str]:
    outcome = record["outcome"]
    found = []
    if outcome in ("invalid", "unreached"):
        found += [f"{outcome}, but {key}" for key in _NEVER_SENT if record[key] is not None]
        found += [f"{outcome}, but attempts"] * (record["attempts"] != 0)
    if outcome == "responded":
        found += [f"responded, but no {key}" for key in _RESPONDED if record[key] is None]
    if outcome == "error":
        found += ["an error, but size"] * (record["size"] is not None)
        found += ["an error without attempts"] * (record["attempts"] == 0)
    if (record["error"] is None) == (outcome in ("error", "invalid")):
        found.append(f"{outcome}, and the error is {record['error']}")
    if (record["ok"] is None) != (outcome in ("unreached", "duplicate")):
        found.append(f"{outcome}, and ok is {record['ok']}")
    if bool(record["reasons"]) == (record["ok"] is True):
        found.append(f"ok is {record['ok']}, and reasons are {record['reasons']}")
    return found


def outputs_agree(run: Run) -> list[str]:
    """Every output holds the same records, in input order with --ordered."""
    found = []
    options = run.scenario.options

    def key(record: dict[str, Any]) -> int:
        return int(record["index"])

    by_index = sorted(run.records, key=key)
    for name, other in (("document", (run.document or {}).get("results")), ("file", run.lines)):
        if other is not None and sorted(other, key=key) != by_index:
            found.append(f"the {name} differs from standard output")
    if options.ordered and run.records != by_index:
        found.append(f"not in order: {[key(record) for record in run.records][:20]}")
    if run.failed is not None and run.code != 130:
        due = sorted(run.listed[r["line"] - 1].strip() for r in run.records if r["ok"] is not True)
        if sorted(run.failed) != due:
            found.append(f"--failed-to has {len(run.failed)} lines, not {len(due)}")
    if options.failed_to and run.failed is None and run.code in (0, 1, 3):
        found.append("--failed-to wrote nothing")
    return found


ALL = (ended_by_itself, ran_as_requested, one_record_per_entry, record_schema, outputs_agree)
