"""Results of the benchmarks as a document, a chart and a summary, and those in the documents."""

import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

pytest.importorskip("benchmarks", reason="benchmarks/ is in a checkout only")
if sys.platform == "win32":
    pytest.skip("the benchmarks need a Unix", allow_module_level=True)

from benchmarks import chart, clients, document, show, summary, workloads
from benchmarks.document import DocumentError
from benchmarks.machine import Circumstances
from benchmarks.measure import Run
from benchmarks.suite import Results
from benchmarks.turns import Outcome, Row

DOCS = Path(__file__).parents[1] / "docs"
SVG = "{http://www.w3.org/2000/svg}"


def row(client: str, label: str, *walls: float, urls: int = 1_000) -> dict[str, Any]:
    costs = {"cpu": 0.1, "peak": 40_000_000, "server_cpu": None, "others": 0.04}
    return {
        "client": client,
        "label": label,
        "concurrency": 100,
        "urls": urls,
        "problem": None,
        "runs": [{"wall": wall, **costs} for wall in walls],
    }


def content() -> dict[str, Any]:
    rows = [
        row("direct", "crawl 1.2.3 --engine direct", 0.5, 1.0, 2.0),
        row("lychee", "lychee 0.24.2, throttles off", 2.0, 2.0, 2.0),
        row("curl", "curl 8.1 -Z") | {"problem": "missing: curl is not installed"},
    ]
    reached = {"workload": "one-host", "figure": "direct / lychee, rates", "best": "4.00"}
    return {
        "schema": 1,
        "about": {
            "date": "2026-11-25",
            "command": "python -m benchmarks",
            "machine": "2 cores of A & B, Linux 6",
            "software": "CPython 3.11.2 (Debian's)",
        },
        "quick": False,
        "workloads": [{"name": "one-host", "title": "One", "urls": 1_000, "rows": rows}],
        "latencies": [],
        "floors": [reached | {"bound": "at least 1.3", "measured": "2.00", "verdict": "pass"}],
    }


def test_bars_are_as_long_as_the_medians_and_their_lines_end_at_the_best() -> None:
    root = ET.fromstring(chart.svg(content()))
    bars = [one for one in root.iter(f"{SVG}rect") if "bar" in one.get("class", "")]
    rates, times = bars[:2], bars[2:]
    assert [one.get("class") for one in rates] == ["bar ours", "bar"]
    longest, other = (float(one.get("width", "")) for one in rates)
    assert longest == pytest.approx(2 * other, abs=0.1)
    assert len({one.get("width") for one in times}) == 1
    (line,) = root.iter(f"{SVG}path")
    end = float(line.get("d", "").partition("H")[2].partition("m")[0])
    start = float(rates[0].get("x", ""))
    assert end - start == pytest.approx(2 * longest, abs=0.2)


def test_a_chart_names_its_clients_and_where_they_were_measured() -> None:
    root = ET.fromstring(chart.svg(content()))
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert {"crawl", "lychee", "1,000", "500"} <= set(texts)
    assert "curl -Z" not in texts
    machine = "2 cores of A & B, of which other processes used 4%"
    assert f"2026-11-25 · {machine} · CPython 3.11.2 (Debian's)" in texts
    assert any("median of 3 alternating runs" in (text or "") for text in texts)


def test_a_summary_has_median_best_and_cpu_of_each_client_and_the_floors() -> None:
    lines = summary.markdown(content()).splitlines()
    assert (
        "Machine: 2 cores of A & B, Linux 6; other processes used 4% of it (median of all"
        in (lines[1])
    )
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    assert ["", "crawl 1.2.3", "1,000 / 2,000 (100)", "40", ""] in cells
    assert ["", "lychee 0.24.2", "500 / 500 (100)", "40", ""] in cells
    assert [
        *["", "one-host", "direct / lychee, rates", "at least 1.3", "2.00"],
        "4.00",
        "pass",
        "",
    ] in (cells)


def test_what_is_written_is_read_again() -> None:
    workload = workloads.all_workloads(quick=True)[0]
    made = Row(client=clients.by_name()["direct"], concurrency=100, urls=10)
    made.runs.append(
        Run(
            wall=0.51234,
            cpu=0.25,
            peak=40,
            status=0,
            server_cpu=None,
            others=0.5,
            out=DOCS,
            err=DOCS,
        )
    )
    results = Results(
        quick=True,
        outcomes=[Outcome(workload=workload, rows=(made,))],
        latencies=[],
        floors=[],
        tables=[],
    )
    about = Circumstances(date="2026-11-25", command="c", machine="m µ", software="s")
    loaded = document.load(document.dump(results, about))
    assert loaded["about"] == {
        "date": "2026-11-25",
        "command": "c",
        "machine": "m µ",
        "software": "s",
    }
    (one,) = loaded["workloads"][0]["rows"]
    assert one["runs"] == [
        {"wall": 0.5123, "cpu": 0.25, "peak": 40, "server_cpu": None, "others": 0.5}
    ]
    assert "crawl" in chart.svg(loaded)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', "\x00"])
def test_what_is_no_document_of_results_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DocumentError):
        document.load(text)
    file = tmp_path / "results.json"
    file.write_text(text)
    assert show.main(["chart", str(file)]) == 2
    assert str(file) in capsys.readouterr().err


def test_chart_and_figures_of_the_documents_are_those_of_their_run() -> None:
    results = document.load((DOCS / "performance.json").read_text("utf-8"))
    assert (DOCS / "performance.svg").read_text("utf-8") == chart.svg(results)
    assert summary.markdown(results) in (DOCS / "performance.md").read_text("utf-8")
