"""A document of results -> an SVG chart: rates of the clients, a panel for each workload.

A bar is the median of the runs, the line at its end reaches to the best. Panels have scales
of their own: lengths are comparable within one panel only. The picture has a background of
its own, light or dark as the reader's system prefers, so it can be read on any page.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from benchmarks import figures
from benchmarks.figures import CLIENTS, Figure

_HEADING = "URLs per second, 100 at once"
_OURS = ("direct", "native")
_LEFT_OUT = ("httpx loop", "httpx")
_HEADS = ("wget2", "aria2")  # they send HEAD
_COLUMNS = 2
_WIDTH, _MARGIN, _GAP = 920, 32, 48  # pixels, as everything here
_PANEL = (_WIDTH - 2 * _MARGIN - (_COLUMNS - 1) * _GAP) // _COLUMNS
_LABELS = 156  # the width of the clients' names, gap included
_VALUES = 56  # the width kept free for a value, gap included
_ROW, _BAR = 22, 12
_PANEL_HEAD, _AFTER, _HEAD, _FOOT = 34, 24, 82, 44
_LEAST_LINE = 2  # a shorter one would not be seen
_SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
_STYLE = f"""\
text {{ font-family: {_SANS}; font-size: 12px; fill: #57606a; }}
.page {{ fill: #ffffff; stroke: #d0d7de; }}
.heading {{ font-size: 18px; font-weight: 600; fill: #1f2328; }}
.title {{ font-size: 13px; font-weight: 600; fill: #1f2328; }}
.value {{ font-variant-numeric: tabular-nums; }}
.ours {{ fill: #1f2328; font-weight: 600; }}
.bar {{ fill: #c3cbd4; }}
.bar.ours {{ fill: #0969da; }}
.best {{ stroke: #8c959f; stroke-width: 1.5; }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #9198a1; }}
  .page {{ fill: #0d1117; stroke: #30363d; }}
  .heading, .title, text.ours {{ fill: #f0f6fc; }}
  .bar {{ fill: #3d444d; }}
  .bar.ours {{ fill: #4493f8; }}
  .best {{ stroke: #848d97; }}
}}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A client, its median, and its best run; `best` is where a line at the end ends."""

    client: str
    median: float
    best: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A title over bars."""

    title: str
    bars: tuple[Bar, ...]


def svg(content: Mapping[str, Any]) -> str:
    """Return the chart as a document of its own."""
    panels = list(_panels(content))
    rows = [panels[n : n + _COLUMNS] for n in range(0, len(panels), _COLUMNS)]
    heights = [_PANEL_HEAD + _ROW * max(len(one.bars) for one in row) + _AFTER for row in rows]
    height = _HEAD + sum(heights) + _FOOT
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>',
        f"<title>{_HEADING}</title>",
        f"<style>\n{_STYLE}\n</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
        _text(_MARGIN, 42, _HEADING, "heading"),
        _text(_MARGIN, 63, _explanation(content)),
    ]
    top = _HEAD
    for row, tall in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            parts += _panel(_MARGIN + column * (_PANEL + _GAP), top, panel)
        top += tall
    parts += [_text(_MARGIN, height - 24, _circumstances(content)), "</svg>"]
    return "\n".join(parts) + "\n"


def _panels(content: Mapping[str, Any]) -> Iterator[Panel]:
    """Yield a panel of rates for each workload, and one of CPU times."""
    for workload in figures.shown(content):
        bars = (Bar(client=f.client, median=f.median, best=f.best) for f in _found(workload))
        yield Panel(title=figures.title(workload), bars=tuple(bars))
    one_host = figures.named(content, "one-host")
    if one_host is not None:
        bars = (Bar(client=f.client, median=f.cpu, best=f.cpu) for f in _found(one_host))
        yield Panel(title="One host: CPU time per URL in µs, less is better", bars=tuple(bars))


def _found(workload: Mapping[str, Any]) -> Iterator[Figure]:
    return (one for one in figures.of(workload) if one.client not in _LEFT_OUT)


def _explanation(content: Mapping[str, Any]) -> str:
    found = [one for workload in figures.shown(content) for one in _found(workload)]
    runs = max((one.runs for one in found), default=0)
    text = "One run each."
    if runs > 1:
        text = f"Bars: median of {runs} alternating runs. Lines: the best run."
    if any(one.client in _HEADS for one in found):
        text += " wget2 and aria2c send HEAD, the others GET."
    return text


def _circumstances(content: Mapping[str, Any]) -> str:
    about = content["about"]
    used = figures.others(content)
    shared = "" if used is None else f", of which other processes used {used:.0%}"
    machine = about["machine"].partition(",")[0]
    return f"{about['date']} · {machine}{shared} · {about['software']}"


def _panel(left: int, top: int, panel: Panel) -> Iterator[str]:
    yield _text(left, top + 20, panel.title, "title")
    scale = (_PANEL - _LABELS - _VALUES) / max((one.best for one in panel.bars), default=1.0)
    for number, one in enumerate(panel.bars):
        yield from _bar(left, top + _PANEL_HEAD + number * _ROW, one, scale)


def _bar(left: int, top: int, one: Bar, scale: float) -> Iterator[str]:
    ours = "ours" if one.client in _OURS else ""
    start, middle = left + _LABELS, top + _ROW / 2
    end, best = start + one.median * scale, start + one.best * scale
    name = CLIENTS[one.client]
    yield _text(left, middle + 4, name, ours)
    yield (
        f'<rect class="{f"bar {ours}".strip()}" x="{start}" y="{middle - _BAR / 2:g}"'
        f' width="{one.median * scale:.1f}" height="{_BAR}" rx="2"/>'
    )
    if best - end >= _LEAST_LINE:
        yield (
            f'<path class="best" d="M{end:.1f} {middle:g}H{best:.1f}m0 -3v6" fill="none">'
            f"<title>{escape(name)}: best {one.best:,.0f}</title></path>"
        )
    yield _text(best + 6, middle + 4, f"{one.median:,.0f}", f"value {ours}".strip())


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    attributes = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.5g}" y="{y:g}"{attributes}>{escape(text)}</text>'
