"""The registry of formats: which suffix stands for which, and how each is written."""

import pytest
from samples import EVERY, Recorder, summary

from crawler.report import formats
from crawler.report.formats import FORMATS, JSON, JSONL

FORMAT = pytest.mark.parametrize("name", FORMATS)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("report.json", JSON),
        ("report.jsonl", JSONL),
        ("REPORT.JSON", JSON),
        ("a.json/b.jsonl", JSONL),
        ("report.2026.json", JSON),
        (".json", JSON),
    ],
)
def test_the_suffix_of_a_file_is_its_format(path: str, name: str) -> None:
    assert formats.from_path(path) == name


@pytest.mark.parametrize(
    "path", ["report", "json", "report.txt", "report.json.gz", "report.json/", "a.json/b", "", "."]
)
def test_an_unknown_suffix_is_an_error_that_names_the_known_ones(path: str) -> None:
    with pytest.raises(ValueError, match=r"^must end in \.json or \.jsonl$"):
        formats.from_path(path)


def test_three_suffixes_are_a_list_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "csv", FORMATS[JSONL])
    assert formats.suffixes() == ".json, .jsonl or .csv"


@FORMAT
@pytest.mark.parametrize("count", [0, 1, len(EVERY)], ids=["none", "one", "every outcome"])
def test_every_format_is_written_in_whole_lines(name: str, count: int) -> None:
    stream = Recorder()
    sink = FORMATS[name].open_sink(stream)
    checks = list(EVERY.values())[:count]
    for one in checks:
        sink.accept(one)
    sink.finish(summary(*checks))
    assert stream.closed
    assert stream.text.isascii()
    assert stream.text == "" or stream.text.endswith("\n")


@FORMAT
def test_the_first_check_of_a_streamed_format_is_a_line_of_its_own(name: str) -> None:
    stream = Recorder()
    sink = FORMATS[name].open_sink(stream)
    sink.accept(next(iter(EVERY.values())))
    sink.flush()
    lines_are_complete = stream.text.endswith("\n") and "\n" not in stream.text[:-1]
    assert lines_are_complete is FORMATS[name].streamed
