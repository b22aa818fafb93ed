"""Output settings -> open outputs: how each file is written, and what is refused."""

import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from samples import EVERY, summary

from crawler.report.formats import FORMATS
from crawler.report.outputs import Output, OutputError, OutputSettings, open_outputs
from crawler.report.sinks import DocumentSink, Ordered, ReplacingSink

CHECK = next(iter(EVERY.values()))


class List(NamedTuple):
    """A list that is not open yet."""

    name: str
    fd: int | None = None


def opened(*sources: List, **settings: object) -> list[Output]:
    """Open the outputs of a run that writes nothing to standard output."""
    outputs: list[Output] = []
    known = OutputSettings(stdout=None, **settings)  # type: ignore[arg-type]  # as the tests say
    open_outputs(outputs, known, sources, threading.Event())
    return outputs


def test_without_settings_nothing_is_opened() -> None:
    assert opened() == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_appears_early_only_if_its_format_is_streamed(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"out.{name}"
    (output,) = opened(files=(str(path),))
    output.sink.accept(CHECK)
    output.sink.flush()
    assert path.exists() is FORMATS[name].streamed
    output.sink.finish(summary(CHECK))
    assert path.exists()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_can_be_written_in_input_order(tmp_path: Path, name: str) -> None:
    (output,) = opened(files=(str(tmp_path / f"out.{name}"),), ordered=True)
    assert isinstance(output.sink, Ordered)
    output.stream.discard()


def test_the_failed_list_may_be_the_list_itself_and_then_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_text("https://a.example/\n")
    (replacing,) = opened(List(str(path)), failed_to=str(path))
    (other,) = opened(List(str(path)), failed_to=str(tmp_path / "failed.txt"))
    assert isinstance(replacing.sink, ReplacingSink)
    assert type(other.sink) is DocumentSink
    replacing.stream.discard()
    other.stream.discard()
    assert path.read_text() == "https://a.example/\n"


@pytest.mark.parametrize(
    ("files", "failed_to", "message"),
    [
        (("urls.txt.json",), None, "urls.txt.json is both a list and an output"),
        (("a.json", "b.jsonl", "a.json"), None, "a.json is given as an output more than once"),
        (("a.json",), "a.json", "a.json is given as an output more than once"),
        (("a.json", "no/b.json"), None, "cannot write no/b.json: No such file or directory"),
    ],
    ids=["a list", "twice", "twice as the failed list", "a missing directory"],
)
def test_a_refused_output_leaves_no_file_behind(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: tuple[str, ...],
    failed_to: str | None,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("urls.txt.json").write_text("https://a.example/\n")
    with pytest.raises(OutputError) as refused:
        opened(List("urls.txt.json"), files=files, failed_to=failed_to)
    assert str(refused.value) == message
    whole = {path.name for path in tmp_path.iterdir()} - {"b.jsonl"}  # a streamed file stays
    assert whole == {"urls.txt.json"}
