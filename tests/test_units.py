"""Sizes as typed, and sizes and durations as shown."""

import time
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.core.units import duration, exact_size, parse_size, size

PROPERTY = settings(derandomize=True, database=None, deadline=None)

UNITS = {
    "": 1,
    "B": 1,
    "K": 1000,
    "KB": 1000,
    "M": 1000**2,
    "MB": 1000**2,
    "G": 1000**3,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("4096", 4096),
        ("512B", 512),
        ("500KB", 500_000),
        ("500kb", 500_000),
        ("10MB", 10_000_000),
        ("10 MB", 10_000_000),
        (" 1GB ", 1_000_000_000),
        ("1.5GiB", 1_610_612_736),
        ("64KiB", 65_536),
        ("0.5K", 500),
        ("1.001KB", 1_001),
        ("1.005MB", 1_005_000),
        ("1.9", 1),
        ("999999999999999", 999_999_999_999_999),
    ],
)
def test_a_size_is_parsed_with_its_unit(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "MB", "-1", "+1", "1e3", "1,000", "1.", ".5", "1.5.2", "0x10", "1 0", "1  KB",
        "10XB", "10TB", "10KBB", "ten", "nan", "inf", "\u0661\u0660", "1_000", "1" * 16, "1K\nB",
        "1\0",
    ],
)  # fmt: skip
def test_an_invalid_size_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a size such as 500KB, 10MB or 1GB$"):
        parse_size(text)


@PROPERTY
@given(st.integers(0, 10**14), st.sampled_from(sorted(UNITS)))
def test_a_whole_number_of_any_unit_is_exact(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * UNITS[unit]


@PROPERTY
@given(st.integers(0, 10**12), st.sampled_from(["KB", "MB", "GB"]))
def test_a_decimal_fraction_of_a_unit_is_exact(count: int, unit: str) -> None:
    text = f"{Decimal(count) / UNITS[unit]:f}"
    assert parse_size(f"{text} {unit}") == count


@PROPERTY
@given(st.integers(0, 999_949_999_999))
def test_a_formatted_size_is_parsed_as_nearly_the_same(count: int) -> None:
    shown = size(count)
    unit = UNITS[shown.split()[1].upper()]
    assert abs(parse_size(shown) - count) * 20 <= unit
    assert len(shown) <= len("999.9 MB")


@PROPERTY
@given(st.text(st.sampled_from("0123456789.kKmMgGiIbB ") | st.characters(), max_size=12))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    try:
        assert parse_size(text) >= 0
    except ValueError as exc:
        complaint = str(exc)
    else:
        return
    assert complaint == "is not a size such as 500KB, 10MB or 1GB"


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (None, "-"),
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (1_549, "1.5 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (10_000_000, "10.0 MB"),
        (999_949_999, "999.9 MB"),
        (999_950_000, "1.0 GB"),
        (10**12, "1.0 TB"),
        (1_234 * 10**12, "1,234.0 TB"),
    ],
)
def test_a_size_is_formatted_with_one_unit(count: int | None, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0.0, "0.0 ms"),
        (0.0004, "0.4 ms"),
        (0.00994, "9.9 ms"),
        (0.00996, "10 ms"),
        (0.035, "35 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (1.25, "1.25 s"),
        (59.994, "59.99 s"),
        (99.99, "99.99 s"),
        (99.996, "1 min 40 s"),
        (125.0, "2 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7384.0, "2 h 03 min"),
        (360_000.0, "100 h 00 min"),
    ],
)
def test_a_duration_is_formatted_in_a_suitable_unit(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize("unit", ["1", "1.", ".", " ", "K", "1 K"])
def test_hostile_sizes_are_cheap_to_reject(unit: str) -> None:
    before = time.process_time()
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(unit * (65_000 // len(unit)) + "!")
    assert time.process_time() - before < 1


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (4096, "4096"), (500_000, "500KB"), (10_000_000, "10MB")],
)
def test_an_exact_size_is_read_back_without_loss(count: int, text: str) -> None:
    assert exact_size(count) == text
    assert parse_size(text) == count
