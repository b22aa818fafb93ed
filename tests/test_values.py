"""Texts of options: their value, or an error that gives no secret away."""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.cli import values
from crawler.core import semantics
from crawler.core.summary import Tolerance
from crawler.engine.transports.settings import Engine

PROPERTY = settings(derandomize=True, database=None, deadline=None)


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("least", "text", "number"),
    [(1, "1", 1), (0, "0", 0), (1, "200", 200), (1, "007", 7), (1, "10000000", 10_000_000)],
)
def test_a_count_is_a_whole_number(least: int, text: str, number: int) -> None:
    assert values.count(least)(text) == number


@pytest.mark.parametrize(
    ("least", "text"),
    [
        (1, ""), (1, "0"), (1, "-1"), (1, "+1"), (1, "1.0"), (1, "1e3"), (1, " 1"), (1, "1_000"),
        (1, "ten"), (1, "\u0661"), (1, "²"), (5, "4"), (1, "10000001"), (1, "99999999"),
        (1, "9" * 10_000), (1, "1\n"),
    ],
    ids=lambda value: str(value)[:12],
)  # fmt: skip
def test_text_that_is_not_a_count_is_refused(least: int, text: str) -> None:
    with pytest.raises(ValueError, match=rf"^is not a whole number (of|from) .*{least}"):
        values.count(least)(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1", 1.0), ("0.5", 0.5), (".5", 0.5), ("2.", 2.0), ("010", 10.0), ("100000000", 1e8)],
)
def test_seconds_may_have_a_fraction(text: str, seconds: float) -> None:
    assert values.seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "", "0", "0.0", ".", "-1", "+1", "1e3", "nan", "inf", "infinity", "1 ", "5s", "1,5",
        "\u0661", "1_0", "100000001", "9" * 10_000, "." + "0" * 500 + "1", "0x1", "1\n",
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_text_that_is_not_a_positive_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a number of seconds above 0$"):
        values.seconds(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0), ("0.0", 0.0), ("00", 0.0), ("0.", 0.0), (".0", 0.0), ("0.5", 0.5), ("60", 60.0),
        (".5", 0.5), ("100000000", 1e8),
    ],
)  # fmt: skip
def test_a_pause_may_be_zero(text: str, seconds: float) -> None:
    assert values.pause(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", ".", "-1", "-0", "+0", "1e3", "nan", "inf", "0 ", "0s", "0\n", "\u0660", "100000001"],
)
def test_text_that_is_not_a_pause_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a number of seconds from 0$"):
        values.pause(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1", 1.0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("0.0001", 0.0001),
        ("9999999", 9_999_999.0),
    ],
)
def test_a_rate_is_a_number_of_requests_per_second(text: str, rate: float) -> None:
    assert values.rate(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "0", "0.0", "0.00001", "-1", "+1", "1e3", "nan", "inf", "5/s", "1/2", " 5", "5\n",
        "\u0665", "1,5", "9" * 10_000,
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_text_that_is_not_a_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a number of requests per second, such as"):
        values.rate(text)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("2%", 0.02),
        ("0%", 0.0),
        ("100%", 1.0),
        ("100.0%", 1.0),
        ("0.5%", 0.005),
        ("12.25%", 0.1225),
    ],
)
def test_a_share_is_a_percentage(text: str, share: float) -> None:
    assert values.share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%",
        "2",
        "0.02",
        "-2%",
        "+2%",
        "101%",
        "100.1%",
        "1e1%",
        "nan%",
        "2%%",
        "2%\n",
        "\u0662%",
    ],
)
def test_text_that_is_not_a_percentage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a percentage such as 2%$"):
        values.share(text)


@pytest.mark.parametrize(
    ("text", "tolerance"),
    [
        ("0", Tolerance(count=0)),
        ("7", Tolerance(count=7)),
        ("10000000", Tolerance(count=10_000_000)),
        ("0%", Tolerance(share=0.0)),
        ("5%", Tolerance(share=0.05)),
    ],
)
def test_a_tolerance_is_a_number_or_a_percentage(text: str, tolerance: Tolerance) -> None:
    assert values.tolerance(text) == tolerance


def tolerated(text: str) -> float:
    tolerance = values.tolerance(text)
    return tolerance.count or tolerance.share


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", "1e3", "some", "10000001", "5 %%", "5pc", "\u0665"]
)
def test_text_that_is_neither_a_number_nor_a_percentage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is (neither a whole number nor|not) a percentage such"):
        values.tolerance(text)


@pytest.mark.parametrize("text", ["101%", "x%", "%"])
def test_an_impossible_percentage_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a percentage such as"):
        values.tolerance(text)


@PROPERTY
@given(
    st.text(st.sampled_from("0123456789.%-+ \n") | st.characters(), max_size=10),
    st.sampled_from([values.pause, values.rate, values.share, tolerated]),
)
def test_any_text_is_a_non_negative_number_or_is_refused(
    text: str, convert: Callable[[str], float]
) -> None:
    try:
        value = convert(text)
    except ValueError as exc:
        complaint = str(exc)
    else:
        assert 0 <= value <= 1e8
        return
    assert complaint.startswith(("is not ", "is neither "))


@pytest.mark.parametrize("name", ["direct", "native", "httpx"])
def test_an_engine_is_one_of_three(name: str) -> None:
    assert values.engine(name) == name


def test_stock_is_a_synonym_of_httpx() -> None:
    assert values.engine("stock") is Engine.HTTPX


@pytest.mark.parametrize("name", ["", "Direct", "direct ", "curl", "Stock"])
def test_text_that_is_not_an_engine_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^is not direct, native or httpx$"):
        values.engine(name)


@pytest.mark.parametrize("path", ["a.json", "a.jsonl", "/b/C.JSON", "a.csv.jsonl"])
def test_the_suffix_of_a_path_is_its_format(path: str) -> None:
    assert values.output(path) == path


@pytest.mark.parametrize("path", ["", "json", "a.json.gz", "a.xml", "a.json/"])
def test_a_path_without_a_known_suffix_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"must end in \.json or \.jsonl"):
        values.output(path)


def test_a_file_with_a_certificate_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    assert values.pem(str(path)) == str(path)


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\0\xff" * 100])
def test_a_file_without_a_certificate_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="contains no certificate in PEM format"):
        values.pem(str(path))


def test_a_certificate_file_that_is_missing_or_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        values.pem(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="cannot be read: "):
        values.pem(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://host:3128", "http://host:3128"),
        ("https://host:3128/", "https://host:3128/"),
        ("host:3128", "http://host:3128"),
        ("127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://[::1]:3128", "http://[::1]:3128"),
        ("HTTP://host", "HTTP://host"),
        ("user:pw@host:3128", "http://user:pw@host:3128"),
        ("http://user:pw@host:3128", "http://user:pw@host:3128"),
    ],
)
def test_a_proxy_is_a_url_whose_scheme_defaults_to_http(text: str, proxy: str) -> None:
    assert values.proxy(text) == proxy


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "http://", "http:///", "ftp://host", "http://host/path", "http://a b", "host port",
        "http://host:port", "http://host:0", "http://host:65536", "http://host:-1", "http://:3128",
        "http://[::1", "http://user:pw@", "http://a,b", "://host", "http://host:3128?x",
        "http://host\n",
    ],
)  # fmt: skip
def test_text_that_is_not_a_proxy_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a proxy URL such as"):
        values.proxy(text)


@pytest.mark.parametrize("text", ["socks5://host:1080", "socks5h://host:1080"])
def test_a_socks_proxy_is_accepted_if_it_is_supported(text: str) -> None:
    if importlib.util.find_spec("socksio") is None:
        with pytest.raises(ValueError, match=r"crawler\[socks\]"):
            values.proxy(text)
    else:
        assert values.proxy(text) == text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ()),
        (["A: b"], (("A", "b"),)),
        (["A:b", "A: c"], (("A", "b"), ("A", "c"))),
        (["X-Time: 10:30:00"], (("X-Time", "10:30:00"),)),
        (["A:"], (("A", ""),)),
        (["A: \t b c \t"], (("A", "b c"),)),
        (["A: é☃\tb"], (("A", "é☃\tb"),)),
        (["A: \udce9"], (("A", "\udce9"),)),
        (["A : b"], (("A", "b"),)),
        (["!#$%&'*+.^_`|~0-9: x"], (("!#$%&'*+.^_`|~0-9", "x"),)),
    ],
)
def test_a_header_is_a_name_and_a_value(
    given: list[str], expected: tuple[tuple[str, str], ...]
) -> None:
    assert tuple(pair for text in given for pair in values.headers(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "A", "A b", ": b", " : b", "A b: c", "É: b", "A\r\nB: c", "(x): y"]
)
def test_text_that_is_not_a_header_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not of the form 'Name: value'"):
        values.headers(text)


@pytest.mark.parametrize("char", ["\r", "\n", "\0", "\x08", "\x0b", "\x1b", "\x7f"])
def test_a_control_character_in_a_header_value_is_refused(char: str) -> None:
    with pytest.raises(ValueError, match="has a character in its value") as refused:
        values.headers(f"X-Key: {SECRET}{char}x")
    assert "X-Key" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization Bearer s3cr3t",
        "Authorization Basic s3cr3t: x",
        "Authorization=s3cr3t",
        "Authorization=Bearer s3cr3t",
        "X-Api-Key/s3cr3t",
        "X-Api-Key: s3cr3t\n",
        "X-Api-Key: \0s3cr3t",
        "Cookie s3cr3t",
    ],
)
def test_the_value_of_a_header_is_never_shown(text: str) -> None:
    try:
        ((_, value),) = values.headers(text)
    except ValueError as exc:
        complaint = str(exc)
    else:
        complaint = ""
        assert value == SECRET
    assert SECRET not in complaint


def test_headers_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    path.write_bytes(b"# mine\r\nA: b\r\n\r\n  C: d # e\r\n# F: g\nH: \xc3\xa9")
    assert values.headers(f"@{path}") == (("A", "b"), ("C", "d # e"), ("H", "é"))


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"Authorization Bearer s3cr3t", "is not of the form"),
        (b"s3cr3t", "is not of the form"),
        (b"X-Key: s3cr3t\0", "has a character in its value"),
    ],
)
def test_an_invalid_line_of_a_header_file_is_reported_by_its_number_alone(
    tmp_path: Path, line: bytes, rule: str
) -> None:
    path = tmp_path / "headers"
    path.write_bytes(b"A: b\n\n" + line + b"\n")
    with pytest.raises(ValueError, match=rule) as refused:
        values.headers(f"@{path}")
    assert str(refused.value).startswith(f"{path}, line 3: ")
    assert SECRET not in str(refused.value)


def test_an_unreadable_header_file_is_reported_with_its_path(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    latin = tmp_path / "latin"
    latin.write_bytes(b"A: caf\xe9 s3cr3t")
    with pytest.raises(ValueError, match="cannot be read: No such file") as refused:
        values.headers(f"@{missing}")
    assert str(missing) in str(refused.value)
    with pytest.raises(ValueError, match="cannot be read: it is not UTF-8 text") as refused:
        values.headers(f"@{latin}")
    assert str(latin) in str(refused.value)
    assert SECRET not in str(refused.value)


@PROPERTY
@given(
    st.text(st.sampled_from("0123456789.:/@[]-+ \t\r\nexA") | st.characters(), max_size=12),
    st.sampled_from([values.count(1), values.seconds, semantics.parse_method, values.proxy]),
)
def test_any_text_is_converted_or_breaks_a_rule(
    text: str, convert: Callable[[str], object]
) -> None:
    try:
        assert convert(text)
    except ValueError as exc:
        complaint = str(exc)
    else:
        return
    assert complaint.startswith(("is not ", "needs "))


@PROPERTY
@given(st.text(st.sampled_from("AaX-: \t\r\n") | st.characters(), max_size=12))
def test_any_accepted_header_can_be_sent_as_it_is(text: str) -> None:
    try:
        taken = values.headers(f"X{text}")
    except ValueError:
        return
    ((name, value),) = taken
    assert name.isascii()
    assert not set(name) & set(" \t\r\n:")
    assert not set(value) & set("\0\r\n")


@pytest.mark.parametrize("unit", ["1", "1.", ".", "a", "a:", ":", "/", "@", " ", "-"])
@pytest.mark.parametrize(
    "convert",
    [
        values.count(1), values.seconds, semantics.parse_method, values.proxy, values.pause,
        values.rate, values.share, values.tolerance,
    ],
    ids=["count", "seconds", "method", "proxy", "pause", "rate", "share", "tolerance"],
)  # fmt: skip
def test_hostile_text_costs_little(convert: Callable[[str], object], unit: str) -> None:
    text = unit * (40_000 // len(unit)) + "\0"
    before = time.process_time()
    with pytest.raises(ValueError, match=r"is n(ot|either) a"):
        convert(text)
    assert time.process_time() - before < 1


def test_a_pem_file_with_an_invalid_certificate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n", "utf-8")
    with pytest.raises(ValueError, match="contains no usable certificate"):
        values.authorities(str(path))


def test_a_pem_file_with_an_authority_is_accepted(ca_file: Path) -> None:
    assert values.authorities(str(ca_file)) == str(ca_file)


@pytest.mark.parametrize("path", ["", "-"])
def test_text_that_is_not_a_file_name_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a file name$"):
        values.file(path)
