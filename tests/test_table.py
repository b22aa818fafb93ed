"""The table and the lines under it: on a terminal, and as plain text."""

import re
import unicodedata
from collections.abc import Callable, Iterable

import pytest
from samples import (
    BY_KIND,
    BY_OUTCOME,
    EVERY,
    Recorder,
    Try,
    check,
    failed,
    in_a_row,
    invalid,
    responded,
    summary,
    target,
    unreached,
)
from terminals import CODE, Terminal

from crawler.core.summary import CrawlStats
from crawler.models import Attempt, Check, Classes, ErrorKind, Expectation, Failure, Outcome
from crawler.report.closing import last_line
from crawler.report.table import TableSink

UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
pytestmark = pytest.mark.usefixtures("terminal_variables")


def table(
    checks: Iterable[Check],
    *,
    terminal: Terminal | None = None,
    all_rows: bool = False,
    stats: CrawlStats | None = None,
) -> str:
    """Return all output for these checks, as the targets of one list."""
    stream = Recorder()
    sink = TableSink(stream, terminal=terminal, all_rows=all_rows)
    numbered = in_a_row(checks)
    for one in numbered:
        sink.accept(one)
    sink.finish(summary(*numbered, stats=stats))
    assert stream.closed is bool(numbered)
    return stream.text


def good(index: int, latency: float = 0.25) -> Check:
    return check(responded(target(index, url=f"https://good.example/{index}"), latency=latency))


def bad(index: int) -> Check:
    return check(failed(ErrorKind.RESET, target(index, url=f"https://bad.example/{index}")))


def urls(text: str) -> list[str]:
    """Return the first cell of each row."""
    return re.findall(r"^(https?://\S+)", text, re.MULTILINE)


# Plain text


def five() -> list[Check]:
    why = Failure(kind=ErrorKind.INVALID_URL, phase=None, detail="line 4: no http:// URL")
    wrong = invalid(target(url="ftp://d.example/"))
    return [
        check(responded(target(url="https://a.example/"))),
        check(responded(target(url="https://b.example/"), status=404, size=0, latency=0.035)),
        check(failed(ErrorKind.TIMEOUT, target(url="https://c.example/"), latency=1.5)),
        check(type(wrong)(target=wrong.target, outcome=wrong.outcome, attempt=Attempt(error=why))),
        check(unreached(target(url="https://e.example/"))),
    ]


def test_without_a_terminal_the_table_is_plain_text() -> None:
    assert table(five(), stats=CrawlStats(elapsed=2.0, duplicates=1)) == (
        "URL                 Status         Size  Latency  Reason\n"
        "https://a.example/  200          1.3 kB   250 ms\n"
        "https://b.example/  404             0 B    35 ms  status 404 is not in 200-399\n"
        "https://c.example/  timeout           -   1.50 s  it ended in timeout\n"
        "ftp://d.example/    invalid url       -        -  line 4: no http:// URL\n"
        "https://e.example/  unreached         -        -  not checked: the run ended first\n"
        "\n"
        "Failures: 1 status 404, 1 timeout, 1 invalid url\n"
        "Latency: p50 35 ms, p95 250 ms, p99 250 ms, max 250 ms\n"
        "Transfer: 1.3 kB in 2.00 s, 1.5 URLs/s\n"
        "Skipped: 1 duplicate\n"
        "Total: 5 URLs, 1 success, 2 failed, 1 invalid, 1 unreached\n"
    )


def test_a_table_without_failures_has_no_reason_column() -> None:
    assert table([good(0), good(1)]) == (
        "URL                     Status    Size  Latency\n"
        "https://good.example/0  200     1.3 kB   250 ms\n"
        "https://good.example/1  200     1.3 kB   250 ms\n"
        "\n"
        "Latency: p50 250 ms, p95 250 ms, p99 250 ms, max 250 ms\n"
        "Transfer: 2.5 kB in 2.00 s, 1.0 URLs/s\n"
        "Total: 2 URLs, 2 success, 0 failed\n"
    )


def test_without_urls_there_is_no_table() -> None:
    assert table([]) == ""


@pytest.mark.parametrize(
    "variables",
    [
        {"COLUMNS": "0"},
        {"COLUMNS": "1"},
        {"COLUMNS": "40"},
        {"COLUMNS": "soon"},
        {"FORCE_COLOR": "1"},
        {"TTY_COMPATIBLE": "1"},
        {"TERM": "dumb"},
        {"NO_COLOR": "1"},
    ],
    ids=lambda variables: " ".join(f"{name}={value}" for name, value in variables.items()),
)
def test_no_environment_variable_changes_plain_text(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = table(EVERY.values())
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert table(EVERY.values()) == expected


def test_plain_text_has_one_line_per_url_and_no_escape_codes() -> None:
    text = table(EVERY.values())
    rows = text.partition("\n\n")[0].splitlines()
    assert len(rows) == 1 + len(EVERY)
    assert UNSAFE.findall(text) == []


@pytest.mark.parametrize("length", [200, 16_000], ids=["long", "longest"])
def test_plain_text_is_never_folded(length: int) -> None:
    url = f"https://a.example/{'x' * length}"
    why = Failure(kind=ErrorKind.RESET, phase=None, detail="why " * length)
    text = table(
        [
            check(responded(target(url=url))),
            check(failed(ErrorKind.RESET, error=why)),
        ]
    )
    assert text.splitlines()[1].startswith(f"{url}  200 ")
    assert text.splitlines()[2].endswith(f"  {('why ' * length).rstrip()}")


def test_rows_are_in_input_order_whatever_the_completion_order() -> None:
    stream = Recorder()
    sink = TableSink(stream, terminal=None, all_rows=False)
    for index in (2, 0, 3, 1):
        sink.accept(good(index))
    sink.finish(summary(*map(good, range(4))))
    assert urls(stream.text) == [f"https://good.example/{index}" for index in range(4)]


def test_the_size_of_a_truncated_body_has_a_plus() -> None:
    text = table([check(responded(size=10_000_000, truncated=True))])
    assert "  10.0 MB+  " in text


def test_a_password_is_masked() -> None:
    url = "https://user:hunter2@a.example/"
    why = Failure(kind=ErrorKind.BAD_REDIRECT, phase=None, detail=f"leads to '{url}'")
    text = table([check(failed(ErrorKind.BAD_REDIRECT, target(url=url), error=why))])
    assert "hunter2" not in text
    assert text.count("https://user:***@a.example/") == 2


# Warnings and flaky passes


LENIENT = Expectation(warn_on=Classes(names=frozenset({"timeout", "redirect"})))
STRICT = Expectation(fail_on=Classes(names=frozenset({"flaky"})))
REFUSED = Try(method="GET", kind=ErrorKind.CONNECT_REFUSED)


def warned(index: int) -> Check:
    of = target(index, url=f"https://warned.example/{index}", expectation=LENIENT)
    return check(failed(ErrorKind.TIMEOUT, of))


def flaky(
    index: int, *tries: Try, expectation: Expectation | None = None, latency: float = 0.25
) -> Check:
    url = f"https://flaky.example/{index}"
    of = target(index, url=url, expectation=expectation or Expectation())
    retried = tries or (REFUSED,)
    return check(responded(of, flaky=True, retried=retried, latency=latency))


def row(of: Check) -> str:
    return table([of]).splitlines()[1]


def test_a_warning_is_shown_with_its_reason() -> None:
    assert row(warned(0)).endswith("  warning: it ended in timeout")
    assert "  timeout  " in row(warned(0))


def test_a_flaky_pass_shows_how_the_first_attempt_failed() -> None:
    second = Try(method="GET", kind=ErrorKind.TIMEOUT)
    assert row(flaky(0, REFUSED, second)).endswith("  flaky: connect refused on the first attempt")
    assert row(flaky(0, Try(method="GET", status=503))).endswith(
        "  flaky: status 503 on the first attempt"
    )


def test_a_flaky_failure_shows_both_reasons() -> None:
    shown = row(flaky(0, expectation=STRICT))
    assert shown.endswith("  flaky is in --fail-on; flaky: connect refused on the first attempt")


def test_a_retried_pass_needs_no_remark() -> None:
    again = check(
        responded(
            target(url="https://a.example/"),
            retried=(REFUSED,),
        )
    )
    assert row(again).endswith("  250 ms")


def test_a_table_with_a_warning_has_a_reason_column() -> None:
    assert table([good(0), warned(1)]).splitlines()[0].endswith("Latency  Reason")


def test_bot_protection_is_named_in_its_row_and_in_the_breakdown() -> None:
    text = table([check(responded(status=403, blocked_by="cloudflare"))] * 2)
    assert "  blocked by bot protection (cloudflare, status 403)\n" in text
    assert "Failures: 2 blocked by bot protection" in text.splitlines()


def test_a_warning_is_not_counted_among_the_failures() -> None:
    assert "Failures:" not in table([warned(0), flaky(1)])


def test_untrusted_text_in_a_warning_is_escaped_and_masked() -> None:
    detail = "leads to 'https://user:hunter2@a.example/'\x1b[31m\r\n::error::"
    why = Failure(kind=ErrorKind.TIMEOUT, phase=None, detail=detail)
    of = target(expectation=LENIENT)
    text = table([check(failed(ErrorKind.TIMEOUT, of, error=why))])
    assert "warning: leads to 'https://user:***@a.example/'" in text
    assert UNSAFE.findall(text) == []
    assert len(text.partition("\n\n")[0].splitlines()) == 2


# Untrusted text

NASTY = {
    "closing tag": ("[/red]", "[/red]"),
    "link": ("[link=https://evil.example]x[/link]", "[link=https://evil.example]x[/link]"),
    "backslash": ("a\\[bold]", "a\\[bold]"),
    "emoji code": (":smile:", ":smile:"),
    "escape": ("a\x1b[31mb", "a\\x1b[31mb"),
    "title": ("a\x1b]0;title\x07b", "a\\x1b]0;title\\x07b"),
    "C1": ("a\x9b31mb", "a\\x9b31mb"),
    "bidi": ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
    "line ends": ("a\r\nb\x85c\u2028d", "a\\x0d\\x0ab\\x85c\\u2028d"),
    "tab": ("a\tb", "a\\x09b"),
    "surrogate": ("a\udc80b", "a\\x80b"),
    "wide": ("漢字" * 3, "漢字" * 3),
    "combining": ("e\u0301", "e\u0301"),
    "CI command": ("##vso[task.complete]", "\\x23#vso[task.complete]"),
    "CI line": ("::error::x", "\\x3a:error::x"),
}

nasty = pytest.mark.parametrize(("text", "shown"), NASTY.values(), ids=NASTY)


def nasty_check(text: str) -> Check:
    why = Failure(kind=ErrorKind.INVALID_URL, phase=None, detail=f"'{text}' is not a URL")
    wrong = invalid(target(url=text, input=text))
    return check(
        type(wrong)(target=wrong.target, outcome=wrong.outcome, attempt=Attempt(error=why))
    )


@nasty
def test_untrusted_text_is_escaped_in_plain_text(text: str, shown: str) -> None:
    row = table([nasty_check(text)]).splitlines()[1]
    assert re.match(rf"{re.escape(shown)}  +invalid url", row)
    assert "is not a URL" in row
    assert UNSAFE.findall(row) == []


@nasty
def test_untrusted_text_is_escaped_on_a_terminal(
    text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    written = table([nasty_check(text)], terminal=Terminal())
    assert shown in written
    assert UNSAFE.findall(CODE.sub("", written)) == []


def cells(text: str) -> int:
    """Return the width of a text in terminal columns."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def test_wide_characters_keep_the_columns_aligned() -> None:
    checks = [nasty_check("漢字" * length) for length in (1, 5, 20)]
    rows = table(checks).splitlines()[1:4]
    assert len({cells(row.partition("invalid url")[0]) for row in rows}) == 1


@pytest.mark.parametrize("text", ["漢字" * 100, "x" * 200], ids=["wide", "narrow"])
def test_no_line_is_wider_than_the_terminal(text: str) -> None:
    lines = CODE.sub("", table([nasty_check(text)], terminal=Terminal())).splitlines()
    assert max(map(cells, lines)) <= 100
    assert sum(line.count(text[:1]) for line in lines) == 2 * text.count(text[:1])


# Selected rows


def test_up_to_a_hundred_rows_all_are_shown() -> None:
    text = table(good(index) for index in range(100))
    assert urls(text) == [f"https://good.example/{index}" for index in range(100)]
    assert "--all" not in text


def test_of_more_rows_the_first_fifty_failures_and_the_ten_slowest_are_shown() -> None:
    checks = [bad(n) if n % 2 else good(n, latency=n / 1000) for n in range(200)]
    text = table(checks)
    failures = [n for n in range(200) if n % 2][:50]
    slowest = [n for n in range(200) if not n % 2][-10:]
    names = ["bad" if n % 2 else "good" for n in range(200)]
    assert urls(text) == [f"https://{names[n]}.example/{n}" for n in sorted(failures + slowest)]
    line = "Shown: the first 50 failures and the slowest 10; 140 more not shown (use --all)."
    assert line in text.splitlines()


def test_the_first_failures_are_the_first_in_input_order() -> None:
    stream = Recorder()
    sink = TableSink(stream, terminal=None, all_rows=False)
    for index in reversed(range(200)):
        sink.accept(bad(index))
    sink.finish(summary(*map(bad, range(200))))
    assert urls(stream.text) == [f"https://bad.example/{index}" for index in range(50)]


@pytest.mark.parametrize(
    ("failures", "passes", "line"),
    [
        (1, 150, "Shown: 1 failure and the slowest 10; 140 more not shown (use --all)."),
        (
            7,
            150,
            "Shown: 7 failures and the slowest 10; 140 more not shown (use --all).",
        ),
        (0, 150, "Shown: the slowest 10; 140 more not shown (use --all)."),
        (0, 5000, "Shown: the slowest 10; 4,990 more not shown (use --all)."),
    ],
    ids=["one failure", "some failures", "no failure", "thousands"],
)
def test_the_number_of_rows_not_shown_is_reported(failures: int, passes: int, line: str) -> None:
    checks = [*map(bad, range(failures)), *map(good, range(failures, failures + passes))]
    assert line in table(checks).splitlines()


@pytest.mark.parametrize("passes", [0, 3], ids=["none", "three"])
def test_only_the_slowest_that_are_shown_are_reported(passes: int) -> None:
    text = table([*map(bad, range(120)), *map(good, range(120, 120 + passes))])
    assert len(urls(text)) == 50 + passes
    assert "slowest 10" not in text


def test_unreached_urls_are_not_reported_as_the_slowest() -> None:
    text = table([check(unreached(target(index))) for index in range(150)])
    assert urls(text) == []
    assert "slowest" not in text


@pytest.mark.parametrize("flagged", [warned, flaky], ids=["warnings", "flaky"])
def test_of_many_flagged_rows_the_first_twenty_are_shown(
    flagged: Callable[[int], Check],
) -> None:
    checks = [flagged(n) if n < 90 else good(n, latency=n / 1000) for n in range(200)]
    text = table(checks)
    places = [int(url.rpartition("/")[2]) for url in urls(text)]
    assert places == [*range(20), *range(190, 200)]
    line = (
        "Shown: the first 20 with warnings or flaky and the slowest 10; "
        "170 more not shown (use --all)."
    )
    assert line in text.splitlines()


def test_failures_do_not_crowd_out_flagged_rows() -> None:
    checks = [
        *map(bad, range(150)),
        warned(150),
        flaky(151, latency=0.01),
        *map(good, range(152, 300)),
    ]
    shown = urls(table(checks))
    assert len(shown) == 50 + 2 + 10
    assert {"https://warned.example/150", "https://flaky.example/151"} <= set(shown)
    text = table(checks)
    assert "the first 50 failures" in text
    assert " 2 with warnings or flaky" in text
    assert "the slowest 10; 238 more not shown" in text


def test_a_slow_flagged_row_is_shown_only_once() -> None:
    checks = [flaky(n, latency=9.0) if n < 5 else good(n) for n in range(150)]
    shown = urls(table(checks))
    assert len(shown) == len(set(shown)) == 15


def test_all_shows_everything() -> None:
    text = table([bad(n) if n % 2 else good(n) for n in range(300)], all_rows=True)
    assert len(urls(text)) == 300
    assert "--all" not in text


# After a signal


@pytest.mark.parametrize("terminal", [None, Terminal()], ids=["plain", "terminal"])
def test_a_long_table_is_cut_short_by_a_signal_and_says_so(
    terminal: Terminal | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawler.report.table._RENDER_LIMIT", 0.0)
    stream = Recorder()
    stream.interrupted = True
    sink = TableSink(stream, terminal=terminal, all_rows=True)
    checks = [good(index) for index in range(1000)]
    for one in checks:
        sink.accept(one)
    sink.finish(summary(*checks, stats=CrawlStats(elapsed=2.0, interrupted=2)))
    text = CODE.sub("", stream.text)
    rows = [line.split()[0] for line in text.splitlines() if line.strip().startswith("https://")]
    assert rows == [f"https://good.example/{index}" for index in range(100)]
    assert "Table cut short by the signal: 900 more rows not shown.\n\nLatency: " in text
    assert text.endswith("\nTotal: 1,000 URLs, 1,000 success, 0 failed\n")
    assert (stream.cut_short, stream.closed) == (True, True)


def test_a_short_table_is_complete_after_a_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("crawler.report.table._RENDER_LIMIT", 60.0)
    stream = Recorder()
    stream.interrupted = True
    sink = TableSink(stream, terminal=None, all_rows=True)
    checks = [good(index) for index in range(1000)]
    for one in checks:
        sink.accept(one)
    sink.finish(summary(*checks))
    assert (len(urls(stream.text)), stream.cut_short) == (1000, False)
    assert "cut short" not in stream.text


def test_a_long_table_is_written_as_it_is_rendered() -> None:
    """A reader gets the first rows early, and a slow one makes visible progress."""
    stream = Recorder()
    sink = TableSink(stream, terminal=None, all_rows=True)
    checks = [good(index) for index in range(1000)]
    for one in checks:
        sink.accept(one)
    sink.finish(summary(*checks))
    assert len(stream.writes) >= 10
    assert max(len(urls(text)) for text in stream.writes) == 100


# Closing lines


@pytest.mark.parametrize(
    ("checks", "line"),
    [
        ([good(0), good(1), good(2)], "Total: 3 URLs, 3 success, 0 failed"),
        ([bad(0)], "Total: 1 URL, 0 success, 1 failed"),
        ([good(0), check(invalid())], "Total: 2 URLs, 1 success, 0 failed, 1 invalid"),
        ([good(0), check(unreached())], "Total: 2 URLs, 1 success, 0 failed, 1 unreached"),
        ([good(0)] * 1234, "Total: 1,234 URLs, 1,234 success, 0 failed"),
        ([good(0), flaky(1)], "Total: 2 URLs, 2 success, 0 failed, 1 flaky"),
        ([good(0), warned(1)], "Total: 2 URLs, 2 success, 0 failed, 1 warning"),
        ([warned(0), warned(1)], "Total: 2 URLs, 2 success, 0 failed, 2 warnings"),
        (
            [flaky(0, expectation=STRICT), warned(1), check(invalid()), check(unreached())],
            "Total: 4 URLs, 1 success, 1 failed, 1 flaky, 1 warning, 1 invalid, 1 unreached",
        ),
        (
            [check(responded(status=403, blocked_by="cloudflare"))],
            "Total: 1 URL, 0 success, 1 failed",
        ),
    ],
    ids=[
        "success", "failed", "invalid", "unreached", "many", "flaky", "warning", "warnings", "all",
        "blocked",
    ],
)  # fmt: skip
def test_the_closing_line_has_all_counts(checks: list[Check], line: str) -> None:
    assert last_line(summary(*checks)) == line
    assert table(checks).endswith(f"\n{line}\n")


def test_the_latency_line_shows_measured_values() -> None:
    text = table(good(index, latency=(index + 1) / 100) for index in range(100))
    assert "Latency: p50 500 ms, p95 950 ms, p99 990 ms, max 1.00 s" in text.splitlines()


def test_without_a_response_there_is_no_latency_line() -> None:
    assert "Latency:" not in table([bad(0)])


def test_failures_are_counted_by_kind_the_most_frequent_first() -> None:
    kinds = [ErrorKind.DNS_NOT_FOUND, ErrorKind.TIMEOUT, ErrorKind.TIMEOUT]
    checks = [check(failed(kind)) for kind in kinds]
    checks += [check(responded(status=404))] * 3
    assert "Failures: 3 status 404, 2 timeout, 1 dns not found" in table(checks).splitlines()


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_error_kind_is_named_in_its_row_and_in_the_breakdown(kind: ErrorKind) -> None:
    text = table([BY_KIND[kind]])
    name = kind.value.replace("_", " ")
    assert f"  {name}  " in text.splitlines()[1]
    assert f"Failures: 1 {name}" in text.splitlines()


def test_a_run_of_zero_seconds_has_no_rate() -> None:
    text = table([BY_OUTCOME[Outcome.UNREACHED]], stats=CrawlStats(elapsed=0.0))
    assert "Transfer: 0 B in 0.0 ms" in text.splitlines()


# On a terminal


def colour(text: str, cell: str) -> str | None:
    """Return the escape codes right before a cell, None if there are none."""
    match = re.search(r"\x1b\[([0-9;]+)m" + re.escape(cell), text)
    return match[1] if match else None


def test_the_status_is_coloured_by_its_class() -> None:
    statuses = [200, 204, 301, 304, 404, 410, 500, 503]
    text = table([check(responded(status=status)) for status in statuses], terminal=Terminal())
    found = [colour(text, str(status)) for status in statuses]
    assert None not in found
    assert found[::2] == found[1::2]
    assert len({found[0], found[4], found[6]}) == 3


def test_a_status_of_an_unknown_class_is_shown() -> None:
    assert "999" in table([check(responded(status=999))], terminal=Terminal())


def test_errors_and_unreached_urls_are_coloured() -> None:
    checks = [BY_OUTCOME[Outcome.ERROR], BY_OUTCOME[Outcome.UNREACHED]]
    text = table(checks, terminal=Terminal())
    assert None not in (colour(text, "timeout"), colour(text, "unreached"))


def test_the_colour_of_the_closing_line_shows_success_or_failure() -> None:
    one = colour(table([good(0)], terminal=Terminal()), "Total: ")
    other = colour(table([bad(0)], terminal=Terminal()), "Total: ")
    assert None not in (one, other)
    assert one != other


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_a_terminal_without_colours_gets_no_colour_codes(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "dumb")
    text = table(EVERY.values(), terminal=Terminal())
    codes = [part for code in CODE.findall(text) for part in code[2:-1].split(";")]
    assert [part for part in codes if part not in ("0", "1", "2")] == []


def test_an_ascii_terminal_gets_ascii_only() -> None:
    assert table(EVERY.values(), terminal=Terminal("ascii")).isascii()


CYRILLIC = "".join(map(chr, range(0x410, 0x450)))
GREEK = "αβγδε ζηθικ λμνξο πρστυ φχψω"


@pytest.mark.parametrize("length", [2, 25, 64], ids=["short URL", "medium URL", "long URL"])
@pytest.mark.parametrize("width", [0, 20, 40, 60, 80, 100, 120])
def test_no_text_is_lost_at_any_terminal_width(
    width: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each letter of the URL and of the reason is unique, so that each can be looked for."""
    monkeypatch.setenv("COLUMNS", str(width))
    path = CYRILLIC[:length]
    error = Failure(kind=ErrorKind.TOO_MANY_REDIRECTS, phase=None, detail=GREEK)
    of = target(url=f"https://a.example/{path}")
    result = failed(ErrorKind.TOO_MANY_REDIRECTS, of, error=error, latency=0.25)
    text = CODE.sub("", table([check(result)], terminal=Terminal()))
    rows = text.partition("Failures:")[0]
    assert [letter for letter in path + GREEK if letter not in rows] == []
    assert "250 ms" in rows
    assert len(rows.splitlines()) <= 20


def test_a_long_url_is_folded_not_truncated_on_a_terminal() -> None:
    url = f"https://a.example/{'0123456789' * 30}"
    text = CODE.sub("", table([check(responded(target(url=url)))], terminal=Terminal()))
    lines = [line.split()[0] for line in text.splitlines() if line.split()]
    assert url in "".join(lines)
