"""What did not pass, as a list: it gives the same URLs back, and gives no secret away."""

import stat
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import EVERY, check, failed, responded, steady, summary, target, unreached

from crawler.core.summary import CrawlStats
from crawler.core.urllist import MAX_LINE, Splitter, UrlList
from crawler.models import (
    Check,
    Classes,
    ErrorKind,
    Expectation,
    Failure,
    Result,
    Target,
    Verdict,
)
from crawler.report import failedlist as deadletters
from crawler.report.sinks import DocumentSink
from crawler.report.streams import open_list

A, B = "https://a.example/", "https://b.example/"
SECRET = "s3cr3t"
# Line ends, other controls, what steers terminals and CI runners, and a byte that is not UTF-8.
UGLY = "\r\n\0\x0b\x0c\x1b[31m\x85\u2028\u2029\ufeff\udcff # ##[error] ::x:: https://evil.example/"
LINES = st.lists(
    st.binary(max_size=8).map(lambda data: data.translate(None, b"\0"))
    | st.sampled_from(
        [
            A.encode(), b"b.example", b" https://c.example/x#y # note", b"ftp://d.example/", b"# x",
            b"https://u:p@e.example/", b"u:p@f.example", b"https://g.example/\xff", b"\xef\xbb\xbf",
            "bücher.example/ü".encode(), b"//h.example/?a#b", b"https://i.example:0/", b"\t\x0bj",
        ]
    ),
    max_size=8,
)  # fmt: skip


def parsed(data: bytes) -> list[Target | Result]:
    """Read bytes as a list in which each line counts."""
    splitter = Splitter()
    lines = splitter.feed(data) + splitter.feed(b"", final=True)
    return list(UrlList(repeat=True).parse(lines, source="urls.txt"))


def broken(entries: Iterable[Target | Result], why: str = "it broke") -> list[Check]:
    """Return the checks of a crawl in which every target failed for this reason."""
    error = Failure(kind=ErrorKind.RESET, phase=None, detail=why)
    return [
        check(entry if isinstance(entry, Result) else failed(error.kind, entry, error=error))
        for entry in entries
    ]


def letters(checks: Sequence[Check], stats: CrawlStats | None = None) -> bytes:
    parts = [deadletters.element(one, first=not place) for place, one in enumerate(checks)]
    end = deadletters.end(summary(*checks, stats=stats))
    return "".join([deadletters.begin(), *parts, end]).encode("utf-8", "surrogateescape")


def asked(entries: Iterable[Target | Result]) -> list[tuple[bool, str]]:
    """Return whether each entry is a URL, and which, or what is shown of it."""
    return [
        (True, entry.url) if isinstance(entry, Target) else (False, entry.target.input)
        for entry in entries
    ]


def test_each_line_that_did_not_pass_stands_behind_its_reason() -> None:
    entries = parsed(b"a.example # note\nftp://x/\nB.example/missing\nhttps://c.example/\n")
    first, second, third, fourth = entries
    assert isinstance(first, Target)
    assert isinstance(second, Result)
    assert isinstance(third, Target)
    assert isinstance(fourth, Target)
    checks = [
        check(failed(ErrorKind.TIMEOUT, first)),
        check(second),
        check(responded(third, status=404)),
        check(unreached(fourth)),
    ]
    assert letters(checks).decode() == (
        "# it ended in timeout\n"
        "a.example\n"
        "# urls.txt, line 2: 'ftp://x/' is not an http:// or https:// URL\n"
        "ftp://x/\n"
        "# status 404 is not in 200-399\n"
        "B.example/missing\n"
        "# not reached: the crawl ended first\n"
        "https://c.example/\n"
    )


@pytest.mark.parametrize("name", sorted(EVERY))
def test_what_passed_is_no_dead_letter_and_all_else_is(name: str) -> None:
    one = EVERY[name]
    assert (deadletters.element(one, first=True) == "") is (one.ok is True)


def test_what_only_warns_is_no_dead_letter() -> None:
    expectation = Expectation(warn_on=Classes(names=frozenset({"timeout"})))
    of = target(expectation=expectation)
    assert letters([check(failed(ErrorKind.TIMEOUT, of)), check(responded())]) == b""


def test_what_is_flaky_is_one_where_that_fails() -> None:
    expectation = Expectation(fail_on=Classes(names=frozenset({"flaky"})))
    flaky = check(responded(target(url=A, expectation=expectation), flaky=True))
    assert letters([flaky]).endswith(f"\n{A}\n".encode())


def test_all_reasons_stand_in_one_comment() -> None:
    one = Check(result=responded(target(url=A)), verdict=Verdict(reasons=("too\nslow", "too big")))
    assert letters([one]).decode() == f"# too\\x0aslow; too big\n{A}\n"


def test_where_everything_passed_there_is_nothing_to_ask_again() -> None:
    assert parsed(letters([check(responded())])) == []


def test_a_list_that_was_not_read_to_its_end_says_so_and_is_still_a_list() -> None:
    data = letters(broken(parsed(A.encode())), stats=CrawlStats(elapsed=1.0, list_read=False))
    assert b"not read" in data
    assert asked(parsed(data)) == [(True, A)]


@steady
@given(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_list_comes_back_as_the_same_urls_and_the_same_bad_lines(
    lines: list[bytes], end: bytes
) -> None:
    entries = parsed(end.join(lines))
    again = parsed(letters(broken(entries)))
    assert asked(again) == asked(entries)
    assert asked(parsed(letters(broken(again)))) == asked(entries)


@steady
@given(st.text(st.sampled_from(UGLY) | st.characters(exclude_categories=()), max_size=30))
def test_no_reason_is_ever_taken_for_a_line(why: str) -> None:
    data = letters(broken(parsed(f"{A}\n{B}".encode()), why or "x"))
    assert asked(parsed(data)) == [(True, A), (True, B)]
    assert len(data.splitlines()) == 4


def test_a_very_long_reason_is_no_bad_line() -> None:
    data = letters(broken(parsed(A.encode()), "why " * MAX_LINE))
    assert asked(parsed(data)) == [(True, A)]


def test_nothing_in_a_comment_can_harm_who_reads_it() -> None:
    comment = letters(broken(parsed(A.encode()), UGLY)).splitlines()[0].decode()
    assert comment.isascii()
    assert comment.isprintable()
    assert "##[" not in comment


@pytest.mark.parametrize(
    "line",
    [
        b"https://user:s3cr3t@h.example/x",
        b"https://s3cr3t@h.example/",
        b"HTTPS://user:s3cr3t@H.example",
        "https://user:s3cr3t@bücher.example/".encode(),
        b"https://user:s3cr3t%20x@h.example/",
    ],
)
def test_a_password_stands_in_the_line_as_it_was_written_and_not_in_the_comment(
    line: bytes,
) -> None:
    entries = parsed(line)
    data = letters(broken(entries, f"redirects back to {line.decode()}"))
    comment, written = data.splitlines()
    assert written == line
    assert SECRET.encode() not in comment
    assert asked(parsed(data)) == asked(entries)


@pytest.mark.parametrize(
    "line",
    [
        b"ftp://user:s3cr3t@h.example/",
        b"user:s3cr3t@h.example",
        b"https://user:s3cr3t x@h.example/",
        b"https://user:s3cr3t #x@h.example/",
        b"https://user:s3cr3t\t# x@h.example/",
    ],
)
def test_a_bad_line_hides_as_much_the_second_time(line: bytes) -> None:
    data = letters(broken(parsed(line)))
    (again,) = parsed(data)
    assert isinstance(again, Result)
    assert SECRET not in repr(again)
    assert asked([again]) == asked(parsed(line))


@pytest.mark.parametrize(
    "line",
    [
        b"https://a.example/caf\xe9",
        b"\xff\xfe",
        b"https://\xed\xa0\x80.example/",
        b"ftp://" + "é".encode() * 20_000,
    ],
    ids=["Latin-1", "no UTF-8", "a surrogate", "long"],
)
def test_bytes_come_back_as_they_were(line: bytes) -> None:
    entries = parsed(line)
    data = letters(broken(entries))
    assert data.splitlines()[1] == line
    assert asked(parsed(data)) == asked(entries)


def test_a_line_that_was_too_long_is_bad_the_second_time_too() -> None:
    entries = parsed(f"{A}{'x' * 70_000}\n{B}".encode())
    again = parsed(letters(broken(entries)))
    assert [good for good, _ in asked(again)] == [False, True]
    assert asked(again) == asked(entries)


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_an_argument_with_a_line_end_in_it_does_not_become_a_second_url(end: str) -> None:
    entry = UrlList().entry(f"https://a b/{end}{B}", source="argument")
    assert isinstance(entry, Result)
    assert [url for good, url in asked(parsed(letters([check(entry)]))) if good] == []


def test_what_the_library_was_given_is_written_as_it_is_shown() -> None:
    one = check(failed(ErrorKind.RESET, replace(target(url=A, input="a.example"), source=None)))
    assert letters([one]).decode().splitlines()[1] == "a.example"


def test_the_file_is_private_and_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "failed.txt"
    lines = b"https://u:p@a.example/\nhttps://b.example/\xff\n"
    checks = broken(parsed(lines))
    sink = DocumentSink(open_list(str(path)), deadletters)
    for one in checks:
        sink.accept(one)
    sink.flush()
    assert not path.exists()
    sink.finish(summary(*checks))
    assert path.read_bytes() == letters(checks)
    assert asked(parsed(path.read_bytes())) == asked(parsed(lines))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
