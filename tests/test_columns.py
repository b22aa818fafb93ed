"""Columns of text: aligned, folded to their widths, and nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from samples import steady

from crawler.report.columns import Layout, fold

TEXT = st.text(st.sampled_from("ab-é漢e\u0301 "), max_size=60)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("short", ["short"]),
        ("one two three", ["one two", "three"]),
        ("0123456789abc", ["01234567", "89abc"]),
        ("a 0123456789", ["a", "01234567", "89"]),
        ("0123456789 a b", ["01234567", "89 a b"]),
        ("12345678 a", ["12345678", "a"]),
        ("漢字漢字漢字", ["漢字漢字", "漢字"]),
        ("x漢字漢字漢字", ["x漢字漢", "字漢字"]),
    ],
    ids=[
        "empty", "fits", "between words", "long word", "long word after another",
        "word after a long one", "exact", "wide", "wide character that does not fit",
    ],
)  # fmt: skip
def test_a_text_is_folded_between_words_if_possible(text: str, lines: list[str]) -> None:
    assert fold(text, 8, cell_len) == lines


@steady
@given(TEXT, st.integers(2, 30))
def test_folding_loses_no_text_and_respects_the_width(text: str, width: int) -> None:
    lines = fold(text, width, cell_len)
    assert max(map(cell_len, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_column_narrower_than_a_wide_character_gets_one_per_line() -> None:
    assert fold("漢字", 1, cell_len) == ["漢", "字"]


def layout_of(*widths: int) -> Layout:
    right = [column % 2 == 1 for column in range(len(widths))]
    return Layout(widths=widths, right_aligned=right, edge="<", gap="|", measure=cell_len)


def test_cells_are_aligned_without_trailing_spaces() -> None:
    layout = layout_of(4, 4, 4)
    assert list(layout.lines(("a", "b", "c"), [None] * 3)) == ["<a   |   b|c"]
    assert list(layout.lines(("漢", "字", ""), [None] * 3)) == ["<漢  |  字|"]
    assert layout.width == 14


def test_folded_cells_stay_in_their_columns() -> None:
    lines = list(layout_of(3, 2, 4).lines(("abcde", "1", "one two"), [None] * 3))
    assert lines == ["<abc| 1|one", "<de |  |two"]


def test_escape_codes_have_no_width() -> None:
    def paint(text: str) -> str:
        return f"[{text}]"

    assert list(layout_of(3, 2).lines(("a", "b"), [paint, None])) == ["<[a]  | b"]
    assert list(layout_of(1, 3).lines(("ab", "c"), [None, paint])) == ["<a|  [c]", "<b|"]
