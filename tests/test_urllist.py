"""Lists as people, editors and attackers write them: one entry per line."""

import re
import time
import tracemalloc
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from crawler.core.url import without_userinfo
from crawler.core.urllist import MAX_LINE, MAX_SHOWN, LineSplitter, ListError, UrlList, parse
from crawler.models import Attempt, ErrorKind, Expectation, Failure, Outcome, Result, Target

PROPERTY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow],
)

BOM = b"\xef\xbb\xbf"
A, B, C = "https://a.example/", "https://b.example/", "https://c.example/"
NOT_A_URL = "is not an http:// or https:// URL"
SECRET = "s3cr3t"
BLANK = " \t\n\r\f\v"

BYTES = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b" ", b"#", BOM, b"\xe2\x80\xa8", b"\xc2\x85"])
    | st.sampled_from([b"\x0b", b"\x0c", b"\x1c", b"\0", b"\xff", b"\xed\xa0\x80", "é😀".encode()])
    | st.binary(max_size=3),
    max_size=12,
).map(b"".join)
LINES = st.lists(
    st.text(st.sampled_from("#: \t/@.?%[]aéxn-0\x0b\x85\u2028\ufeff\udce9") | st.characters())
    | st.sampled_from([A, B, "a.example", f" {A} # x", f"{A}#x", "", "  ", "# x", "ftp://x", "?"]),
    max_size=8,
)
HARD = st.text(st.sampled_from("#:/@?[]%ab 1\u3000é"), max_size=5)


def split(data: bytes, cuts: Iterable[int] = ()) -> list[str]:
    """Return the lines of `data`, split in chunks that end at `cuts`."""
    splitter = LineSplitter()
    ends = [*sorted(cuts), len(data)]
    lines = []
    for start, end in zip([0, *ends], ends, strict=False):
        lines += splitter.feed(data[start:end])
    return lines + splitter.feed(b"", final=True)


def entries(*lines: str, repeat: bool = False) -> list[Target | Result]:
    return list(UrlList(repeat=repeat).parse(lines, source="urls.txt"))


def details(found: Iterable[Target | Result]) -> list[str | None]:
    """Return the detail of each invalid entry, None for each target."""
    return [
        e.attempt.error.detail if isinstance(e, Result) and e.attempt.error else None for e in found
    ]


def urls(found: Iterable[Target | Result]) -> list[str]:
    """Return the URL of each target, and "invalid" for each invalid result."""
    return [entry.url if isinstance(entry, Target) else "invalid" for entry in found]


def targets(found: Iterable[Target | Result]) -> list[Target]:
    return [entry if isinstance(entry, Target) else entry.target for entry in found]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "not ended"])
@pytest.mark.parametrize("start", [b"", BOM], ids=["plain", "with a byte order mark"])
def test_line_ends_do_not_depend_on_the_chunks(start: bytes, end: bytes, last: bool) -> None:
    data = start + end.join([b"http://a", b"", b"b\xc3\xa9", b"c"]) + (end if last else b"")
    expected = ["http://a", "", "bé", "c"]
    assert split(data) == expected
    assert split(data, range(len(data))) == expected
    for cut in range(len(data)):
        assert split(data, [cut]) == expected


def test_line_ends_of_all_kinds_can_be_mixed() -> None:
    assert split(b"a\rb\r\nc\n\rd\n\n") == ["a", "b", "c", "", "d", ""]


@pytest.mark.parametrize("data", [b"", BOM], ids=["empty", "only a byte order mark"])
def test_an_empty_list_has_no_lines(data: bytes) -> None:
    assert split(data) == split(data, [1, 2]) == []


@pytest.mark.parametrize("char", list("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))
def test_only_cr_and_lf_end_a_line(char: str) -> None:
    line = f"{A}{char}{B}"
    assert split(line.encode()) == [line]
    assert details(parse([line])) != [None]
    assert len(details(parse([line]))) == 1


def test_only_the_first_byte_order_mark_is_dropped() -> None:
    assert split(BOM + BOM + b"a\n" + BOM + b"b") == ["\ufeffa", "\ufeffb"]


def test_bytes_that_are_not_utf_8_are_left_to_the_parser() -> None:
    (line,) = split(b"https://a.example/caf\xe9")
    assert details(parse([line], source="urls.txt")) == [
        r"urls.txt, line 1: 'https://a.example/caf\xe9' contains a byte that is not UTF-8 (0xe9)"
    ]


@PROPERTY
@given(BYTES, st.lists(st.integers(0, 40), max_size=6))
def test_lines_do_not_depend_on_the_chunks(data: bytes, cuts: list[int]) -> None:
    assert split(data, [min(cut, len(data)) for cut in cuts]) == split(data)


LONG = [
    pytest.param(b"x" * 1_000_000 + b"\n", id="one word"),
    pytest.param(b"x" * 1_000_000, id="unterminated"),
    pytest.param(A.encode() + b"x" * 70_000 + b"\r\n" + B.encode() + b"\n", id="a URL, CRLF"),
    pytest.param(A.encode() + b" # " + b"x" * 70_000 + b"\n", id="a long comment after a URL"),
    pytest.param(b"# " + b"x" * 70_000 + b"\n" + A.encode(), id="a long comment"),
    pytest.param(b" " * 70_000 + A.encode() + b"\n", id="a URL after white space"),
    pytest.param(A.encode() + b" " * 70_000 + b"\n", id="white space after a URL"),
    pytest.param("é".encode() * 66_000 + b"\n", id="two bytes a character"),
]


@pytest.mark.parametrize("data", LONG)
@pytest.mark.parametrize("step", [4_096, 65_536])
def test_where_a_long_line_is_cut_does_not_depend_on_the_chunks(data: bytes, step: int) -> None:
    lines = split(data)
    assert max(map(len, lines)) == MAX_LINE + 1
    assert split(data, range(step, len(data), step)) == lines


@pytest.mark.parametrize("step", [4_096, 65_536, 2_000_000])
def test_a_line_of_a_megabyte_is_one_invalid_entry(step: int) -> None:
    data = A.encode() + b"x" * 1_000_000 + b"\n" + B.encode() + b"\n"
    found = list(parse(split(data, range(step, len(data), step)), source="urls.txt"))
    assert urls(found) == ["invalid", B]
    assert [target.line for target in targets(found)] == [1, 2]
    assert "is longer than 65,536 characters" in str(details(found)[0])


@pytest.mark.parametrize("step", [4_096, 70_010, 2_000_000])
def test_a_url_after_much_white_space_is_not_lost(step: int) -> None:
    data = b" " * 70_000 + A.encode() + b"\n"
    found = urls(parse(split(data, range(step, len(data), step))))
    assert found in ([A], ["invalid"])


@pytest.mark.parametrize("step", [4_096, 2_000_000])
def test_a_long_comment_is_not_an_invalid_entry(step: int) -> None:
    data = b"# " + b"x" * 70_000 + b"\n" + A.encode() + b" # " + b"x" * 70_000
    assert urls(parse(split(data, range(step, len(data), step)))) == [A]


def test_an_endless_line_uses_constant_memory() -> None:
    splitter = LineSplitter()
    piece = b"x" * 65_536
    tracemalloc.start()
    try:
        for _ in range(500):
            assert splitter.feed(piece) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    assert splitter.feed(b"\na\n") == ["x" * (MAX_LINE + 1), "a"]


def test_a_target_has_the_position_of_its_line() -> None:
    expectation = Expectation(accept=((204, 204),))
    found = UrlList(expectation=expectation, method="HEAD").parse(
        ["", " Example.COM:443/x\t# note"], source="urls.txt"
    )
    assert list(found) == [
        Target(
            index=0,
            source="urls.txt",
            line=2,
            input="Example.COM:443/x",
            url="https://example.com/x",
            host="example.com",
            expectation=expectation,
            method="HEAD",
        )
    ]


def test_an_invalid_result_has_the_position_of_its_line() -> None:
    expectation = Expectation(accept=((204, 204),))
    found = UrlList(expectation=expectation, method="HEAD").parse(["ftp://x/"], source="urls.txt")
    target = Target(
        index=0,
        source="urls.txt",
        line=1,
        input="ftp://x/",
        url="ftp://x/",
        host="",
        expectation=expectation,
        method="HEAD",
    )
    failure = Failure(
        kind=ErrorKind.INVALID_URL,
        phase=None,
        detail="urls.txt, line 1: 'ftp://x/' is not an http:// or https:// URL",
    )
    assert list(found) == [
        Result(target=target, outcome=Outcome.INVALID, attempt=Attempt(error=failure))
    ]


def test_the_detail_names_standard_input_in_words() -> None:
    assert details(parse(["ftp://x/"], source="-")) == [
        f"standard input, line 1: 'ftp://x/' {NOT_A_URL}"
    ]


def test_the_entry_of_an_argument_has_no_line_number() -> None:
    listed = UrlList()
    good = listed.parse_entry(A, source="argument")
    bad = listed.parse_entry("ftp://x/", source="argument")
    assert isinstance(good, Target)
    assert (good.index, good.source, good.line, good.url) == (0, "argument", None, A)
    assert isinstance(bad, Result)
    assert (bad.target.index, bad.target.source, bad.target.line) == (1, "argument", None)
    assert details([bad]) == [f"'ftp://x/' {NOT_A_URL}"]


@pytest.mark.parametrize(
    "line", ["", " ", "\t", "\x0b\x0c", "\n", "\r\n", "#", "# x", " \t# x", "#x # y"]
)
def test_a_blank_line_or_a_comment_is_not_an_entry(line: str) -> None:
    assert entries(line, A) == [*UrlList().parse(["", A], source="urls.txt")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{A}#top", f"{A}#top"),
        (f"{A}#a#b", f"{A}#a#b"),
        (f"{A}#top # note", f"{A}#top"),
        (f"{A} # note", A),
        (f"{A} #note", A),
        (f"{A}\t#note", A),
        (f"{A}\x0c#note", A),
        (f"  {A}  ", A),
        (f"{A}\r\n", A),
    ],
)
def test_a_comment_starts_after_white_space_unlike_a_fragment(line: str, expected: str) -> None:
    (entry,) = entries(line)
    assert targets([entry])[0].input == expected
    assert urls([entry]) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.com", "https://example.com/"),
        ("EXAMPLE.com/A?b#c", "https://example.com/A?b#c"),
        ("localhost:8080", "https://localhost:8080/"),
        ("localhost:8080/x", "https://localhost:8080/x"),
        ("localhost:8080?x", "https://localhost:8080/?x"),
        ("127.0.0.1:81", "https://127.0.0.1:81/"),
        ("[::1]:8080/x", "https://[::1]:8080/x"),
        ("bücher.example", "https://xn--bcher-kva.example/"),
        ("//example.com/x", "https://example.com/x"),
        ("example.com/a:b@c", "https://example.com/a:b@c"),
        ("example.com/?u=https://x.example/", "https://example.com/?u=https://x.example/"),
        ("example.com/http://x.example/", "https://example.com/http://x.example/"),
        ("a-name-of-more-than-32-characters.example/?u=http://x/",
         "https://a-name-of-more-than-32-characters.example/?u=http://x/"),
    ],
)  # fmt: skip
def test_a_name_without_a_scheme_is_requested_over_https(text: str, expected: str) -> None:
    assert urls(entries(text)) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "ftp://example.com/", "file:///etc/passwd", "ws://example.com/", "mailto:joe@example.com",
        "mailto:joe", "tel:+15551234567", "javascript:alert(1)", "data:,x", "https:example.com",
        "http:/example.com", "urn:isbn:0451450523", "user@example.com", "user:pw@example.com",
        "user:1234@example.com", "https:user:pw@example.com", "/etc/passwd", "./list.txt",
        "../x", "?q",
    ],
)  # fmt: skip
def test_text_that_is_neither_http_nor_a_name_is_invalid(text: str) -> None:
    (found,) = details(entries(text))
    assert str(found).endswith(NOT_A_URL)


def test_an_invalid_entry_keeps_its_number_and_parsing_continues() -> None:
    found = entries("# list", A, "ftp://x", "", "https://h:0/", B)
    assert urls(found) == [A, "invalid", "invalid", B]
    assert [target.index for target in targets(found)] == [0, 1, 2, 3]
    assert [target.line for target in targets(found)] == [2, 3, 5, 6]


def test_a_duplicate_is_dropped_and_counted() -> None:
    listed = UrlList()
    found = list(listed.parse([A, "A.example", "https://a.example:443", B, A]))
    assert urls(found) == [A, B]
    assert [target.index for target in targets(found)] == [0, 1]
    assert listed.duplicates == 3


def test_a_duplicate_is_found_however_many_urls_came_between() -> None:
    listed = UrlList()
    urls = [f"http://a.test/{number}" for number in range(2_500)]
    assert len(list(listed.parse([*urls, *reversed(urls)]))) == 2_500
    assert listed.duplicates == 2_500


def test_duplicates_are_found_across_lists_and_arguments() -> None:
    listed = UrlList()
    first = list(listed.parse([A], source="a.txt"))
    second = list(listed.parse([B, A], source="b.txt"))
    assert urls(first + second) == [A, B]
    assert listed.parse_entry("b.example", source="argument") is None
    assert [target.index for target in targets(first + second)] == [0, 1]
    assert listed.duplicates == 2


def test_invalid_entries_are_never_duplicates() -> None:
    listed = UrlList()
    assert urls(listed.parse(["ftp://x", "ftp://x"])) == ["invalid", "invalid"]
    assert listed.duplicates == 0


def test_with_repeat_duplicates_are_kept() -> None:
    listed = UrlList(repeat=True)
    assert urls(listed.parse([A, B, A])) == [A, B, A]
    assert listed.duplicates == 0


@pytest.mark.parametrize(
    ("memory", "expected", "duplicates"),
    [(0, [A, B, C, A, B, C], 0), (2, [A, B, C, C], 2), (3, [A, B, C], 3)],
)
def test_at_most_as_many_urls_are_remembered_as_memory_allows(
    memory: int, expected: Sequence[str], duplicates: int
) -> None:
    listed = UrlList(memory=memory)
    assert urls(listed.parse([A, B, C, A, B, C])) == expected
    assert listed.duplicates == duplicates


def test_line_numbers_continue_across_chunks() -> None:
    listed = UrlList()
    first = list(listed.parse([A, "ftp://x"], source="urls.txt"))
    second = list(listed.parse(["", B, "ftp://y"], source="urls.txt", start=3))
    assert [target.line for target in targets(first + second)] == [1, 2, 4, 5]
    assert [target.index for target in targets(first + second)] == [0, 1, 2, 3]
    assert details(second)[1] == f"urls.txt, line 5: 'ftp://y' {NOT_A_URL}"


def test_lines_are_read_lazily() -> None:
    given = iter([A, B, C])
    assert urls([next(iter(parse(given)))]) == [A]
    assert list(given) == [B, C]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_list_in_utf_16_or_utf_32_is_rejected_with_its_line(encoding: str) -> None:
    lines = split(f"{A}\n{B}\n".encode(encoding))
    with pytest.raises(ListError) as refused:
        list(parse(lines, source="urls.txt"))
    assert str(refused.value) == "urls.txt, line 1: is binary or UTF-16, not UTF-8 text"


@pytest.mark.parametrize(
    ("source", "name"), [("-", "standard input"), ("urls.txt", "urls.txt"), (None, "the list")]
)
def test_binary_content_ends_the_list_with_an_error_that_names_the_line(
    source: str | None, name: str
) -> None:
    found = parse([A, "ftp://x", "\x7fELF\0\x01", B], source=source)
    assert urls([next(found), next(found)]) == [A, "invalid"]
    with pytest.raises(ListError) as refused:
        next(found)
    assert str(refused.value) == f"{name}, line 3: is binary or UTF-16, not UTF-8 text"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("https://user:s3cr3t@h.example/", "https://user:***@h.example/"),
        ("https://s3cr3t@h.example/", "https://***@h.example/"),
        ("https://user:a@s3cr3t@h.example/", "https://user:***@h.example/"),
        ("https://user:s3cr3t@h.example:0/", "https://user:***@h.example:0/"),
        ("//user:s3cr3t@h.example/", "//user:***@h.example/"),
        ("ftp://user:s3cr3t@h.example/", "ftp://user:***@h.example/"),
        ("user:s3cr3t@h.example", "user:***@h.example"),
        ("user:a:s3cr3t:b@h.example", "user:***@h.example"),
        ("https://user:a s3cr3t b@h.example/", "https://user:***@h.example/"),
        ("https://user:s3cr3t/x@h.example/", "https://user:***@h.example/"),
        ("https://user:s3cr3t?x@h.example/", "https://user:***@h.example/"),
        ("https://user:s3cr3t#x@h.example/", "https://user:***@h.example/"),
        ("https://user:s3cr3t\\x@h.example/", "https://user:***@h.example/"),
        ("https://user:[s3cr3t/x@h.example/", "https://user:***@h.example/"),
        ("https://[s3cr3t]/x@h.example/", "https://***@h.example/"),
        ("https://s3cr3t!/x@h.example/", "https://***@h.example/"),
        ("https://s3cr3té!/x@h.example/", "https://***@h.example/"),
        ("https://user:99999/s3cr3t@h.example/", "https://user:***@h.example/"),
        ("https://h.example/?token=s3cr3t", "https://h.example/?token=***"),
        ("h.example/?token=s3cr3t#key=s3cr3t", "h.example/?token=***#key=***"),
        ("https://h.example/?token=a\u3000s3cr3t", "https://h.example/?token=***"),
        ("https://h.example:0/?token=a s3cr3t&b=c", "https://h.example:0/?token=***&b=c"),
        ("ftp://h.example/?token=s3cr3t", "ftp://h.example/?token=***"),
    ],
)  # fmt: skip
def test_a_secret_is_masked_in_the_input_and_in_the_detail(line: str, shown: str) -> None:
    (entry,) = entries(line)
    assert targets([entry])[0].input == shown
    assert SECRET not in str(details([entry]))
    if isinstance(entry, Result):
        assert SECRET not in repr(entry)


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("https://user:s3cr3t@h.example/", "https://user:s3cr3t@h.example/"),
        (" HTTPS://s3cr3t@H.example # note", "HTTPS://s3cr3t@H.example"),
        ("//user:s3cr3t@h.example/", "//user:s3cr3t@h.example/"),
        ("ftp://user:s3cr3t@h.example/", "ftp://user:s3cr3t@h.example/"),
        ("user:s3cr3t@h.example", "user:s3cr3t@h.example"),
        ("https://h.example/caf\udce9", "https://h.example/caf\udce9"),
        ("ftp://" + "x" * 3_000, "ftp://" + "x" * 3_000),
    ],
    ids=["password", "token", "no scheme", "bad", "bad name", "a byte", "long"],
)
def test_the_original_of_a_masked_or_shortened_entry_is_kept(line: str, written: str) -> None:
    (of,) = targets(entries(line))
    assert of.written == written
    assert of.input != written
    assert SECRET not in of.input


@pytest.mark.parametrize(
    "line", [A, " A.example\t# note", "ftp://h.example/", "b\u00fccher.example"]
)
def test_an_unchanged_entry_is_kept_once(line: str) -> None:
    (of,) = targets(entries(line))
    assert of.written is None
    assert of.input == line.partition("#")[0].strip()


@PROPERTY
@given(LINES)
def test_the_original_text_gives_the_same_entry_again(lines: list[str]) -> None:
    found = entries(*(line.replace("\0", "") for line in lines), repeat=True)
    written = [of.input if of.written is None else of.written for of in targets(found)]
    again = entries(*written, repeat=True)
    assert urls(again) == urls(found)
    assert [of.input for of in targets(again)] == [of.input for of in targets(found)]


@pytest.mark.parametrize(
    "line", ["https://user:s3cr3t #x@h.example/", "https://user:s3cr3t\t # x@h.example/"]
)
def test_a_password_that_looks_like_a_comment_is_kept_whole(line: str) -> None:
    """Its first half alone would not be recognised as one, and be shown."""
    (of,) = targets(entries(line))
    assert of.written == line
    assert SECRET not in repr(entries(of.written))


def test_a_port_that_may_be_part_of_a_password_is_not_in_the_detail() -> None:
    (found,) = details(entries("https://user:271828/18@h.example/"))
    assert found
    assert "271828" not in found


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f"https://user:{SECRET}{'x' * 3_000}@h/{'y' * 70_000}", id="line"),
        pytest.param(f"https://user:{SECRET}{'x' * 3_000}@h/{'y' * 20_000}", id="URL"),
        pytest.param(f"https://user:p@h/y?key={SECRET}{'x' * 70_000}", id="query of a line"),
        pytest.param(f"https://user:p@h/y?key={SECRET}{'x' * 20_000}", id="query of a URL"),
    ],
)
def test_a_secret_is_masked_before_a_long_line_is_cut(line: str) -> None:
    (entry,) = entries(line)
    assert SECRET not in repr(entry)
    assert targets([entry])[0].input.startswith("https://user:***@h/y")


@PROPERTY
@given(
    st.sampled_from(["", "http://", "https://", "//", "ftp://", "https:", "https:///", "x/"]),
    HARD,
    HARD,
)
def test_no_password_is_shown_in_any_context(front: str, before: str, after: str) -> None:
    assume(front or not before.startswith("//"))  # "user://" is a scheme
    line = f"{front}user:{before}{SECRET}{after}@host.example"
    for entry in entries(line):
        if isinstance(entry, Result):
            text = line.partition(" #")[0]
            # Text without an "@" after it is not recognised as a password.
            assert SECRET not in repr(entry) or SECRET in text.rpartition("@")[2]
        elif SECRET not in without_userinfo(entry.url)[0]:  # else it is part of a path
            assert SECRET not in entry.input


def test_a_long_invalid_line_is_shortened() -> None:
    (entry,) = entries("ftp://" + "x" * 60_000)
    assert len(targets([entry])[0].input) < MAX_SHOWN + 100
    assert len(str(details([entry])[0])) < 400


@PROPERTY
@given(LINES)
def test_any_text_gives_one_entry_for_each_line_with_one(lines: list[str]) -> None:
    lines = [line.replace("\0", "") for line in lines]
    expected_texts = [
        re.split(r"(?:^|[ \t\f\v])#", line.strip(BLANK))[0].strip(BLANK) for line in lines
    ]
    listed = UrlList()
    found = list(listed.parse(lines, source="urls.txt"))
    assert len(found) + listed.duplicates == len(list(filter(None, expected_texts)))
    assert [target.index for target in targets(found)] == list(range(len(found)))
    assert all(expected_texts[(target.line or 0) - 1] for target in targets(found))
    requested = [url for url in urls(found) if url != "invalid"]
    assert len(set(requested)) == len(requested)


@PROPERTY
@given(LINES)
def test_with_repeat_any_text_gives_one_entry_per_line(lines: list[str]) -> None:
    lines = [f"x{line}".replace("\0", "") for line in lines]
    assert [target.line for target in targets(entries(*lines, repeat=True))] == [
        number for number, _ in enumerate(lines, 1)
    ]


@PROPERTY
@given(BYTES)
def test_any_bytes_are_a_list_or_raise_list_error(data: bytes) -> None:
    binary = b"\0" in data
    try:
        list(parse(split(data)))
    except ListError:
        assert binary
    else:
        assert not binary


@PROPERTY
@given(LINES)
def test_every_invalid_result_has_a_detail_that_can_be_encoded(lines: list[str]) -> None:
    for entry in parse(line.replace("\0", "") for line in lines):
        if isinstance(entry, Result):
            assert entry.attempt.error
            assert entry.attempt.error.kind is ErrorKind.INVALID_URL
            assert (entry.attempt.error.detail + entry.target.input).encode()


@pytest.mark.parametrize(
    "unit",
    [
        "a", "/", "//", "//a", "@", ":", "@:", "#", " #", "# ", ".", "%", "[", " ", "é",
        "\u0301\u0316", "\udce9",
    ],
)  # fmt: skip
@pytest.mark.parametrize("start", ["", "https://", "https://h//"])
@pytest.mark.parametrize("length", [16_000, 65_000])
def test_a_hostile_line_takes_linear_time(start: str, unit: str, length: int) -> None:
    lines = [f"{start}{unit * (length // len(unit))}/@{n}" for n in range(4)]
    before = time.process_time()
    assert len(entries(*lines)) <= 4
    assert time.process_time() - before < 1.2
