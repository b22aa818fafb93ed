"""The list of failed entries: it reads back as the same URLs, and no comment holds a secret."""

import stat
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import EVERY, check, failed, responded, steady, summary, target, unreached

from crawler.core.summary import CrawlStats
from crawler.core.urllist import MAX_LINE, LineSplitter, UrlList
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
from crawler.report import failedlist
from crawler.report.sinks import DocumentSink
from crawler.report.streams import open_list

A, B = "https://a.example/", "https://b.example/"
SECRET = "s3cr3t"
# Line ends, other controls, commands of terminals and CI runners, and a byte that is not UTF-8.
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
    splitter = LineSplitter()
    lines = splitter.feed(data) + splitter.feed(b"", final=True)
    return list(UrlList(repeat=True).parse(lines, source="urls.txt"))


def broken(entries: Iterable[Target | Result], why: str = "it broke") -> list[Check]:
    """Return the checks of a crawl in which every target failed for this reason."""
    error = Failure(kind=ErrorKind.RESET, phase=None, detail=why)
    return [
        check(entry if isinstance(entry, Result) else failed(error.kind, entry, error=error))
        for entry in entries
    ]


def listing(checks: Sequence[Check], stats: CrawlStats | None = None) -> bytes:
    parts = [failedlist.element(one, first=not place) for place, one in enumerate(checks)]
    end = failedlist.end(summary(*checks, stats=stats))
    return "".join([failedlist.begin(), *parts, end]).encode("utf-8", "surrogateescape")


def shown(entries: Iterable[Target | Result]) -> list[tuple[bool, str]]:
    """Return whether each entry is a URL, and the URL or what is shown of it."""
    return [
        (True, entry.url) if isinstance(entry, Target) else (False, entry.target.input)
        for entry in entries
    ]


def test_each_failed_line_follows_its_reason() -> None:
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
    assert listing(checks).decode() == (
        "# it ended in timeout\n"
        "a.example\n"
        "# urls.txt, line 2: 'ftp://x/' is not an http:// or https:// URL\n"
        "ftp://x/\n"
        "# status 404 is not in 200-399\n"
        "B.example/missing\n"
        "# not checked: the run ended first\n"
        "https://c.example/\n"
    )


@pytest.mark.parametrize("name", sorted(EVERY))
def test_only_passed_checks_are_left_out(name: str) -> None:
    one = EVERY[name]
    assert (failedlist.element(one, first=True) == "") is (one.ok is True)


def test_a_warning_is_left_out() -> None:
    expectation = Expectation(warn_on=Classes(names=frozenset({"timeout"})))
    of = target(expectation=expectation)
    assert listing([check(failed(ErrorKind.TIMEOUT, of)), check(responded())]) == b""


def test_a_flaky_url_is_listed_if_flaky_fails() -> None:
    expectation = Expectation(fail_on=Classes(names=frozenset({"flaky"})))
    flaky = check(responded(target(url=A, expectation=expectation), flaky=True))
    assert listing([flaky]).endswith(f"\n{A}\n".encode())


def test_all_reasons_are_in_one_comment() -> None:
    one = Check(result=responded(target(url=A)), verdict=Verdict(reasons=("too\nslow", "too big")))
    assert listing([one]).decode() == f"# too\\x0aslow; too big\n{A}\n"


def test_if_everything_passed_the_list_is_empty() -> None:
    assert parsed(listing([check(responded())])) == []


def test_an_incomplete_list_says_so_and_is_still_a_list() -> None:
    data = listing(broken(parsed(A.encode())), stats=CrawlStats(elapsed=1.0, list_read=False))
    assert b"not read" in data
    assert shown(parsed(data)) == [(True, A)]


@steady
@given(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_list_reads_back_as_the_same_urls_and_the_same_invalid_lines(
    lines: list[bytes], end: bytes
) -> None:
    entries = parsed(end.join(lines))
    again = parsed(listing(broken(entries)))
    assert shown(again) == shown(entries)
    assert shown(parsed(listing(broken(again)))) == shown(entries)


@steady
@given(st.text(st.sampled_from(UGLY) | st.characters(exclude_categories=()), max_size=30))
def test_a_reason_is_never_read_as_an_entry(why: str) -> None:
    data = listing(broken(parsed(f"{A}\n{B}".encode()), why or "x"))
    assert shown(parsed(data)) == [(True, A), (True, B)]
    assert len(data.splitlines()) == 4


def test_a_very_long_reason_is_not_an_invalid_line() -> None:
    data = listing(broken(parsed(A.encode()), "why " * MAX_LINE))
    assert shown(parsed(data)) == [(True, A)]


def test_a_comment_holds_no_control_characters_and_no_ci_commands() -> None:
    comment = listing(broken(parsed(A.encode()), UGLY)).splitlines()[0].decode()
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
def test_a_password_is_kept_in_the_line_and_masked_in_the_comment(
    line: bytes,
) -> None:
    entries = parsed(line)
    data = listing(broken(entries, f"redirect loop: {line.decode()}"))
    comment, written = data.splitlines()
    assert written == line
    assert SECRET.encode() not in comment
    assert shown(parsed(data)) == shown(entries)


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
def test_an_invalid_line_is_masked_as_strictly_when_read_back(line: bytes) -> None:
    data = listing(broken(parsed(line)))
    (again,) = parsed(data)
    assert isinstance(again, Result)
    assert SECRET not in repr(again)
    assert shown([again]) == shown(parsed(line))


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
def test_bytes_are_preserved(line: bytes) -> None:
    entries = parsed(line)
    data = listing(broken(entries))
    assert data.splitlines()[1] == line
    assert shown(parsed(data)) == shown(entries)


def test_a_line_that_is_too_long_is_invalid_when_read_back_too() -> None:
    entries = parsed(f"{A}{'x' * 70_000}\n{B}".encode())
    again = parsed(listing(broken(entries)))
    assert [good for good, _ in shown(again)] == [False, True]
    assert shown(again) == shown(entries)


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_an_argument_with_a_line_end_does_not_become_two_urls(end: str) -> None:
    entry = UrlList().parse_entry(f"https://a b/{end}{B}", source="argument")
    assert isinstance(entry, Result)
    assert [url for good, url in shown(parsed(listing([check(entry)]))) if good] == []


def test_an_entry_of_the_library_is_written_as_it_is_shown() -> None:
    one = check(failed(ErrorKind.RESET, replace(target(url=A, input="a.example"), source=None)))
    assert listing([one]).decode().splitlines()[1] == "a.example"


def test_the_file_is_private_and_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "failed.txt"
    lines = b"https://u:p@a.example/\nhttps://b.example/\xff\n"
    checks = broken(parsed(lines))
    sink = DocumentSink(open_list(str(path)), failedlist)
    for one in checks:
        sink.accept(one)
    sink.flush()
    assert not path.exists()
    sink.finish(summary(*checks))
    assert path.read_bytes() == listing(checks)
    assert shown(parsed(path.read_bytes())) == shown(parsed(lines))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
