"""Values that policy options refuse, each with one line."""

import re
from pathlib import Path

import pytest
from shell import (
    complaint,
    crawl,
)

from crawler.cli.command import main

SECONDS = "a number of seconds above 0"


PAUSE = "a number of seconds from 0"


PER_SECOND = "a number of requests per second"


NOT_A_CLASS = "neither an error kind, nor a status such as 429 or 5xx"


BAD_VALUES = [
    *(("--rate", value, PER_SECOND) for value in ("0", "-1", "nan", "inf", "fast", "", "1e3")),
    *(("--host-rate", value, PER_SECOND) for value in ("0", "-1", "nan", "10/s", "")),
    *(("--max-wait", value, PAUSE) for value in ("-1", "nan", "inf", "soon", "")),
    *(("--deadline", value, SECONDS) for value in ("0", "-1", "nan", "inf", "tomorrow", "")),
    *(("--retries", value, "a whole number from 0") for value in ("-1", "1.5", "many", "")),
    *(("--backoff", value, PAUSE) for value in ("-0.5", "nan", "inf", "x", "")),
    *(("--confirm-after", value, PAUSE) for value in ("-1", "nan", "later", "")),
    *(("--hedge-budget", value, "a percentage") for value in ("2", "101%", "-1%", "nan%", "")),
    *(("--wait", value, SECONDS) for value in ("0", "-1", "nan", "inf", "")),
    *(("--fail-on", value, NOT_A_CLASS) for value in ("", "nonsense", "429,", "timeout;dns")),
    *(("--warn-on", value, NOT_A_CLASS) for value in ("", "nonsense", "6", "429 5xx")),
    ("--fail-on", "500-400", "not a valid status range"),
    ("--warn-on", "500-400", "not a valid status range"),
    *(("--max-failures", value, "a whole number") for value in ("-1", "1.5", "few", "")),
    ("--max-failures", "101%", "a percentage"),
    ("--max-failures", "-1%", "a percentage"),
]


@pytest.mark.parametrize(("option", "value", "rule"), BAD_VALUES)
def test_a_bad_value_is_one_line_with_the_value_and_the_rule(
    capsys: pytest.CaptureFixture[str], option: str, value: str, rule: str
) -> None:
    assert main(["http://127.0.0.1:1/", option, value]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"crawl: [^\n]+\n", err)
    assert option in err
    assert f"'{value}'" in err
    assert rule in err


@pytest.mark.parametrize("value", ["", "missing/failed.txt", "."])
def test_a_bad_path_for_failed_lines_is_one_line(tmp_path: Path, value: str) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    ended = crawl("http://127.0.0.1:1/", "-q", "--failed-to", value, cwd=folder)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "failed" in complaint(ended) or "write" in complaint(ended)
    assert list(folder.iterdir()) == []


def test_head_and_another_method_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1/", "--head", "--method", "GET"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"crawl: [^\n]*--head and --method cannot be used together[^\n]*\n", err)
