"""Arguments become open sources, or errors with the path and the reason."""

import os
import re
from pathlib import Path

import pytest

from crawler.core.urllist import ListError
from crawler.inputs.sources import open_source


def complaint(argument: str, stdin: int | None = None) -> str:
    with pytest.raises(ListError) as caught:
        open_source(argument, stdin)
    return str(caught.value)


def test_a_missing_file_is_an_error(home: Path) -> None:
    assert complaint("missing") == "cannot read missing: No such file or directory"


def test_a_missing_file_that_looks_like_a_host_adds_a_hint(home: Path) -> None:
    assert complaint("example.com/a") == (
        "cannot read example.com/a: No such file or directory"
        " (to check a URL, write https://example.com/a)"
    )


def test_a_directory_is_an_error(home: Path) -> None:
    (home / "lists").mkdir()
    assert complaint("lists") == "cannot read lists: Is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_an_error(home: Path) -> None:
    (home / "secret.txt").write_text("http://a/\n")
    (home / "secret.txt").chmod(0)
    assert complaint("secret.txt") == "cannot read secret.txt: Permission denied"


def test_an_impossible_file_name_is_an_error() -> None:
    assert re.match(
        r"cannot read a\\x00b: .*embedded null ", complaint("a\0b")
    )  # as Python decodes it


def test_a_file_name_is_shown_safely_and_without_a_password(home: Path) -> None:
    shown = complaint("user:hunter2@a\x1b[31mb")
    assert shown.startswith("cannot read user:***@a\\x1b[31mb: No such file or directory")


def test_a_closed_standard_input_is_an_error() -> None:
    assert complaint("-") == "nothing to check: standard input is closed"
