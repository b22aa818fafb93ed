"""A document of results -> Markdown: the circumstances, a table of clients, and the floors."""

import re
from collections.abc import Mapping
from typing import Any

from benchmarks import figures
from benchmarks.figures import CLIENTS
from benchmarks.markdown import table

_NONE = "-"


def markdown(content: Mapping[str, Any]) -> str:
    """Return the text that docs/performance.md quotes."""
    about = content["about"]
    share = figures.others(content)
    others = "an unknown part of it" if share is None else f"{share:.0%} of it"
    facts = [
        f"Measured on {about['date']} with `{about['command']}`.",
        f"Machine: {about['machine']}; other processes used {others} (median of all runs).",
        f"Software: {about['software']}.",
    ]
    parts = ["\n".join(facts), _clients(content), _floors(content)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _clients(content: Mapping[str, Any]) -> str:
    """Return a table of rates and CPU times, with a column for each workload."""
    shown = figures.shown(content)
    startup = figures.named(content, "startup")
    by_workload = [{one.client: one for one in figures.of(workload)} for workload in shown]
    started = {one.client: one for one in figures.of(startup)} if startup else {}
    rows = []
    for client in CLIENTS:
        found = [measured.get(client) for measured in by_workload]
        begun = started.get(client)
        if not (any(found) or begun):
            continue
        cells = [
            f"{one.median:,.0f} / {one.best:,.0f} ({one.cpu:,.0f})" if one else _NONE
            for one in found
        ]
        ms = [f"{begun.wall * 1000:.0f}" if begun else _NONE] if startup else []
        peak = max((one.peak for one in (*found, begun) if one), default=0.0)
        rows.append((_label(client, (*found, begun)), *cells, *ms, f"{peak:.0f}"))
    columns = ("client", *(figures.title(workload) for workload in shown))
    return table((*columns, *(["10 URLs, ms"] if startup else []), "peak, MB"), rows)


def _label(client: str, found: tuple[figures.Figure | None, ...]) -> str:
    """Return the name of a client, with its version."""
    label = next(one.label for one in found if one)
    version = re.search(r"(?<= )\d[\w.]*", label)
    name, _, options = CLIENTS[client].partition(" ")
    return " ".join(part for part in (name, version and version[0], options) if part)


def _floors(content: Mapping[str, Any]) -> str:
    keys = ("workload", "figure", "bound", "measured", "best", "verdict")
    rows = [tuple(str(floor[key]) for key in keys) for floor in content["floors"]]
    columns = ("workload", "figure", "floor", "measured", "best runs", "verdict")
    return table(columns, rows, words=3) if rows else ""
