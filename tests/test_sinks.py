"""Checks to streams: whole lines in each write, complete documents, input order."""

import json
import select
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import EVERY, Recorder, check, responded, steady, summary, target

from crawler.core.summary import CrawlStats, Summary
from crawler.models import Check
from crawler.report import jsondocument, jsonl
from crawler.report.sinks import DocumentSink, LineSink, Ordered, ReplacingSink
from crawler.report.streams import open_file, open_list

CHECKS = list(EVERY.values())


def numbered(index: int) -> Check:
    return check(responded(target(index)))


# Lines


@pytest.mark.parametrize(
    ("form", "of"), [("jsonl", LineSink), ("json", DocumentSink)], ids=["lines", "document"]
)
def test_a_pipe_gets_whole_lines_in_each_write(
    form: str, of: type[LineSink | DocumentSink]
) -> None:
    """No more at once than it accepts in one write, so that it never contains a part of a line."""
    stream = Recorder()
    sink: LineSink | DocumentSink
    sink = LineSink(stream, jsonl.line) if form == "jsonl" else DocumentSink(stream, jsondocument)
    for one in CHECKS:
        sink.accept(one)
    sink.flush()
    lengths = [len(text) for text in stream.writes]
    assert 1 < len(lengths) < len(CHECKS)
    assert max(lengths) <= select.PIPE_BUF
    if form == "jsonl":
        assert stream.text == "".join(jsonl.line(one) for one in CHECKS)
        assert [text for text in stream.writes if not text.endswith("\n")] == []


def test_a_file_gets_all_lines_that_are_there_in_one_write(tmp_path: Path) -> None:
    stream = Recorder()
    stream.max_write = open_file(str(tmp_path / "out.jsonl"), whole=False).max_write
    sink = LineSink(stream, jsonl.line)
    for _ in range(2):
        for one in CHECKS:
            sink.accept(one)
        sink.flush()
    assert stream.writes == ["".join(jsonl.line(one) for one in CHECKS)] * 2


def test_a_line_longer_than_one_write_is_written_alone() -> None:
    stream = Recorder()
    sink = LineSink(stream, jsonl.line)
    long = check(responded(target(url=f"https://a.example/{'x' * 10_000}")))
    for one in (CHECKS[0], long, CHECKS[0]):
        sink.accept(one)
    sink.flush()
    assert stream.writes == [jsonl.line(one) for one in (CHECKS[0], long, CHECKS[0])]


def test_flushing_an_empty_buffer_writes_nothing() -> None:
    stream = Recorder()
    LineSink(stream, jsonl.line).flush()
    assert stream.text == ""


def test_the_stream_is_closed_at_the_end() -> None:
    stream = Recorder("out.jsonl")
    sink = LineSink(stream, jsonl.line)
    sink.accept(CHECKS[0])
    assert (stream.closed, stream.writes) == (False, [])
    sink.finish(summary())
    assert (stream.closed, len(stream.writes), sink.name) == (True, 1, "out.jsonl")


def test_a_line_is_in_the_file_once_it_is_flushed(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = LineSink(open_file(str(path), whole=False), jsonl.line)
    for count, one in enumerate(CHECKS, 1):
        sink.accept(one)
        sink.flush()
        assert len(path.read_text().splitlines()) == count
    sink.finish(summary())


# Documents


@pytest.mark.parametrize("count", [0, 1, len(CHECKS)], ids=["none", "one", "many"])
def test_a_document_is_complete_with_any_number_of_checks(tmp_path: Path, count: int) -> None:
    path = tmp_path / "out.json"
    sink = DocumentSink(open_file(str(path), whole=True), jsondocument)
    for one in CHECKS[:count]:
        sink.accept(one)
    end = summary(*CHECKS[:count])
    sink.finish(end)
    elements = [jsondocument.element(one, place == 0) for place, one in enumerate(CHECKS[:count])]
    text = path.read_text()
    assert text == "".join([jsondocument.begin(), *elements, jsondocument.end(end)])
    assert len(json.loads(text)["results"]) == count


def test_a_document_is_written_as_checks_finish() -> None:
    stream = Recorder("out.json")
    sink = DocumentSink(stream, jsondocument)
    sink.accept(CHECKS[0])
    sink.flush()
    sink.accept(CHECKS[1])
    sink.flush()
    head, *elements = [jsondocument.begin(), *map(jsonl.line, CHECKS[:2])]
    assert "".join(stream.writes) + "\n" == head + ",\n".join(e.rstrip() for e in elements) + "\n"
    sink.finish(summary())
    assert (stream.closed, sink.name) == (True, "out.json")


# Order


class IndexSink:
    """A sink that keeps the indices of the checks it accepts."""

    name = "kept"

    def __init__(self) -> None:
        self.indices: list[int] = []
        self.summaries: list[Summary] = []

    def accept(self, check: Check) -> None:
        self.indices.append(check.result.target.index)

    def accept_deferred(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def finish(self, summary: Summary) -> None:
        self.summaries.append(summary)


@steady
@given(st.integers(0, 12).flatmap(lambda count: st.permutations(range(count))))
def test_checks_are_forwarded_in_input_order_whatever_the_completion_order(
    arrivals: list[int],
) -> None:
    kept = IndexSink()
    sink = Ordered(kept)
    for count, index in enumerate(arrivals, 1):
        sink.accept(numbered(index))
        while sink.accept_deferred():
            pass
        come = set(arrivals[:count])
        assert kept.indices == [index for index in range(count) if set(range(index + 1)) <= come]
    sink.finish(summary())
    assert kept.indices == sorted(arrivals)


def test_checks_that_waited_for_the_same_one_are_forwarded_one_by_one() -> None:
    kept = IndexSink()
    sink = Ordered(kept)
    for index in reversed(range(5)):
        sink.accept(numbered(index))
    assert kept.indices == [0]
    assert [sink.accept_deferred() for _ in range(5)] == [True] * 4 + [False]
    assert kept.indices == list(range(5))


def test_deferred_checks_are_forwarded_at_the_end() -> None:
    kept = IndexSink()
    sink = Ordered(kept)
    for index in reversed(range(5)):
        sink.accept(numbered(index))
    sink.finish(summary())
    assert kept.indices == list(range(5))


def test_checks_after_a_gap_are_forwarded_in_order_at_the_end() -> None:
    kept = IndexSink()
    sink = Ordered(kept)
    for index in (4, 0, 2):
        sink.accept(numbered(index))
    assert kept.indices == [0]
    sink.finish(summary())
    assert (kept.indices, kept.summaries, sink.name) == ([0, 2, 4], [summary()], "kept")


# The list itself


@pytest.mark.parametrize(
    ("stats", "unchanged"),
    [
        ({}, False),
        ({"list_read": False}, True),
        ({"list_failed": True}, True),
    ],
    ids=["read", "not read to its end", "not a list"],
)
def test_a_list_is_replaced_only_if_it_was_read_to_its_end(
    tmp_path: Path, stats: dict[str, Any], unchanged: bool
) -> None:
    path = tmp_path / "urls.txt"
    path.write_text("the list\n")
    sink = ReplacingSink(open_list(str(path)), jsondocument)
    sink.accept(CHECKS[0])
    sink.finish(summary(CHECKS[0], stats=CrawlStats(elapsed=1.0, **stats)))
    assert (sink.unchanged, path.read_text() == "the list\n") == (unchanged, unchanged)
    assert [entry.name for entry in tmp_path.iterdir()] == ["urls.txt"]
