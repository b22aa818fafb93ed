"""Lists as people, editors and attackers write them: one entry for each line that holds one."""

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
    """Return the lines of `data`, given to a splitter in pieces that end at `cuts`."""
    splitter = LineSplitter()
    ends = [*sorted(cuts), len(data)]
    lines = []
    for start, end in zip([0, *ends], ends, strict=False):
        lines += splitter.feed(data[start:end])
    return lines + splitter.feed(b"", final=True)


def entries(*lines: str, repeat: bool = False) -> list[Target | Result]:
    return list(UrlList(repeat=repeat).parse(lines, source="urls.txt"))


def complaints(found: Iterable[Target | Result]) -> list[str | None]:
    """Return why each entry is no URL, None where it is one."""
    return [
        e.attempt.error.detail if isinstance(e, Result) and e.attempt.error else None for e in found
    ]


def urls(found: Iterable[Target | Result]) -> list[str]:
    """Return the URL of each target, and "invalid" for each record of a bad line."""
    return [entry.url if isinstance(entry, Target) else "invalid" for entry in found]


def targets(found: Iterable[Target | Result]) -> list[Target]:
    return [entry if isinstance(entry, Target) else entry.target for entry in found]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "not ended"])
@pytest.mark.parametrize("start", [b"", BOM], ids=["plain", "with a byte order mark"])
def test_lines_end_alike_wherever_the_pieces_are_cut(start: bytes, end: bytes, last: bool) -> None:
    data = start + end.join([b"http://a", b"", b"b\xc3\xa9", b"c"]) + (end if last else b"")
    expected = ["http://a", "", "bé", "c"]
    assert split(data) == expected
    assert split(data, range(len(data))) == expected
    for cut in range(len(data)):
        assert split(data, [cut]) == expected


def test_line_ends_of_all_kinds_may_stand_in_one_list() -> None:
    assert split(b"a\rb\r\nc\n\rd\n\n") == ["a", "b", "c", "", "d", ""]


@pytest.mark.parametrize("data", [b"", BOM], ids=["empty", "only a byte order mark"])
def test_a_list_of_no_bytes_has_no_lines(data: bytes) -> None:
    assert split(data) == split(data, [1, 2]) == []


@pytest.mark.parametrize("char", list("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))
def test_nothing_but_cr_and_lf_ends_a_line(char: str) -> None:
    line = f"{A}{char}{B}"
    assert split(line.encode()) == [line]
    assert complaints(parse([line])) != [None]
    assert len(complaints(parse([line]))) == 1


def test_only_the_first_byte_order_mark_is_dropped() -> None:
    assert split(BOM + BOM + b"a\n" + BOM + b"b") == ["\ufeffa", "\ufeffb"]


def test_bytes_that_are_not_utf8_are_kept_for_the_parser_to_complain_of() -> None:
    (line,) = split(b"https://a.example/caf\xe9")
    assert complaints(parse([line], source="urls.txt")) == [
        r"urls.txt, line 1: 'https://a.example/caf\xe9' contains a byte that is not UTF-8 (0xe9)"
    ]


@PROPERTY
@given(BYTES, st.lists(st.integers(0, 40), max_size=6))
def test_the_pieces_in_which_a_list_comes_change_no_line(data: bytes, cuts: list[int]) -> None:
    assert split(data, [min(cut, len(data)) for cut in cuts]) == split(data)


LONG = [
    pytest.param(b"x" * 1_000_000 + b"\n", id="one word"),
    pytest.param(b"x" * 1_000_000, id="never ended"),
    pytest.param(A.encode() + b"x" * 70_000 + b"\r\n" + B.encode() + b"\n", id="a URL, CRLF"),
    pytest.param(A.encode() + b" # " + b"x" * 70_000 + b"\n", id="a long comment after a URL"),
    pytest.param(b"# " + b"x" * 70_000 + b"\n" + A.encode(), id="a long comment"),
    pytest.param(b" " * 70_000 + A.encode() + b"\n", id="a URL behind white space"),
    pytest.param(A.encode() + b" " * 70_000 + b"\n", id="white space behind a URL"),
    pytest.param("é".encode() * 66_000 + b"\n", id="two bytes a character"),
]


@pytest.mark.parametrize("data", LONG)
@pytest.mark.parametrize("step", [4_096, 65_536])
def test_a_long_line_is_cut_at_one_place_in_whatever_pieces_it_comes(
    data: bytes, step: int
) -> None:
    lines = split(data)
    assert max(map(len, lines)) == MAX_LINE + 1
    assert split(data, range(step, len(data), step)) == lines


@pytest.mark.parametrize("step", [4_096, 65_536, 2_000_000])
def test_a_line_of_a_megabyte_is_one_bad_line_and_the_rest_goes_on(step: int) -> None:
    data = A.encode() + b"x" * 1_000_000 + b"\n" + B.encode() + b"\n"
    found = list(parse(split(data, range(step, len(data), step)), source="urls.txt"))
    assert urls(found) == ["invalid", B]
    assert [target.line for target in targets(found)] == [1, 2]
    assert "is longer than 65,536 characters" in str(complaints(found)[0])


@pytest.mark.parametrize("step", [4_096, 70_010, 2_000_000])
def test_a_url_behind_a_long_stretch_of_white_space_is_not_lost(step: int) -> None:
    data = b" " * 70_000 + A.encode() + b"\n"
    found = urls(parse(split(data, range(step, len(data), step))))
    assert found in ([A], ["invalid"])


@pytest.mark.parametrize("step", [4_096, 2_000_000])
def test_a_long_comment_is_no_bad_line(step: int) -> None:
    data = b"# " + b"x" * 70_000 + b"\n" + A.encode() + b" # " + b"x" * 70_000
    assert urls(parse(split(data, range(step, len(data), step)))) == [A]


def test_a_line_that_never_ends_costs_no_more_memory_than_a_long_one() -> None:
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


def test_a_line_gives_a_target_with_its_place() -> None:
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


def test_a_bad_line_gives_an_invalid_record_with_its_place() -> None:
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


def test_a_complaint_names_standard_input_in_words() -> None:
    assert complaints(parse(["ftp://x/"], source="-")) == [
        f"standard input, line 1: 'ftp://x/' {NOT_A_URL}"
    ]


def test_the_entry_of_an_argument_has_no_line_and_neither_has_its_complaint() -> None:
    listed = UrlList()
    good = listed.parse_entry(A, source="argument")
    bad = listed.parse_entry("ftp://x/", source="argument")
    assert isinstance(good, Target)
    assert (good.index, good.source, good.line, good.url) == (0, "argument", None, A)
    assert isinstance(bad, Result)
    assert (bad.target.index, bad.target.source, bad.target.line) == (1, "argument", None)
    assert complaints([bad]) == [f"'ftp://x/' {NOT_A_URL}"]


@pytest.mark.parametrize(
    "line", ["", " ", "\t", "\x0b\x0c", "\n", "\r\n", "#", "# x", " \t# x", "#x # y"]
)
def test_a_line_of_nothing_or_of_a_comment_holds_no_entry(line: str) -> None:
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
def test_a_comment_starts_after_white_space_and_a_fragment_stays(line: str, expected: str) -> None:
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
def test_a_name_without_a_scheme_is_asked_with_https(text: str, expected: str) -> None:
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
def test_what_is_neither_http_nor_a_name_is_a_bad_line(text: str) -> None:
    (found,) = complaints(entries(text))
    assert str(found).endswith(NOT_A_URL)


def test_a_bad_line_keeps_its_number_and_the_rest_goes_on() -> None:
    found = entries("# list", A, "ftp://x", "", "https://h:0/", B)
    assert urls(found) == [A, "invalid", "invalid", B]
    assert [target.index for target in targets(found)] == [0, 1, 2, 3]
    assert [target.line for target in targets(found)] == [2, 3, 5, 6]


def test_a_url_listed_twice_is_asked_once_and_counted() -> None:
    listed = UrlList()
    found = list(listed.parse([A, "A.example", "https://a.example:443", B, A]))
    assert urls(found) == [A, B]
    assert [target.index for target in targets(found)] == [0, 1]
    assert listed.duplicates == 3


def test_a_duplicate_is_known_across_lists_and_arguments() -> None:
    listed = UrlList()
    first = list(listed.parse([A], source="a.txt"))
    second = list(listed.parse([B, A], source="b.txt"))
    assert urls(first + second) == [A, B]
    assert listed.parse_entry("b.example", source="argument") is None
    assert [target.index for target in targets(first + second)] == [0, 1]
    assert listed.duplicates == 2


def test_a_bad_line_is_no_duplicate_of_another() -> None:
    listed = UrlList()
    assert urls(listed.parse(["ftp://x", "ftp://x"])) == ["invalid", "invalid"]
    assert listed.duplicates == 0


def test_a_url_is_asked_as_often_as_it_is_listed_where_that_is_wanted() -> None:
    listed = UrlList(repeat=True)
    assert urls(listed.parse([A, B, A])) == [A, B, A]
    assert listed.duplicates == 0


@pytest.mark.parametrize(
    ("memory", "expected", "duplicates"),
    [(0, [A, B, C, A, B, C], 0), (2, [A, B, C, C], 2), (3, [A, B, C], 3)],
)
def test_no_more_urls_are_remembered_than_there_is_memory_for(
    memory: int, expected: Sequence[str], duplicates: int
) -> None:
    listed = UrlList(memory=memory)
    assert urls(listed.parse([A, B, C, A, B, C])) == expected
    assert listed.duplicates == duplicates


def test_line_numbers_go_on_where_a_list_comes_in_pieces() -> None:
    listed = UrlList()
    first = list(listed.parse([A, "ftp://x"], source="urls.txt"))
    second = list(listed.parse(["", B, "ftp://y"], source="urls.txt", start=3))
    assert [target.line for target in targets(first + second)] == [1, 2, 4, 5]
    assert [target.index for target in targets(first + second)] == [0, 1, 2, 3]
    assert complaints(second)[1] == f"urls.txt, line 5: 'ftp://y' {NOT_A_URL}"


def test_lines_are_read_only_as_their_entries_are_wanted() -> None:
    given = iter([A, B, C])
    assert urls([next(iter(parse(given)))]) == [A]
    assert list(given) == [B, C]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_list_in_another_unicode_encoding_is_refused_with_its_line(encoding: str) -> None:
    lines = split(f"{A}\n{B}\n".encode(encoding))
    with pytest.raises(ListError) as refused:
        list(parse(lines, source="urls.txt"))
    assert str(refused.value) == "urls.txt, line 1: is binary or UTF-16, not UTF-8 text"


@pytest.mark.parametrize(
    ("source", "named"), [("-", "standard input"), ("urls.txt", "urls.txt"), (None, "the list")]
)
def test_binary_content_ends_the_list_with_one_line_that_names_the_place(
    source: str | None, named: str
) -> None:
    found = parse([A, "ftp://x", "\x7fELF\0\x01", B], source=source)
    assert urls([next(found), next(found)]) == [A, "invalid"]
    with pytest.raises(ListError) as refused:
        next(found)
    assert str(refused.value) == f"{named}, line 3: is binary or UTF-16, not UTF-8 text"


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
def test_a_secret_is_masked_in_what_was_written_and_in_every_complaint(
    line: str, shown: str
) -> None:
    (entry,) = entries(line)
    assert targets([entry])[0].input == shown
    assert SECRET not in str(complaints([entry]))
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
def test_what_is_hidden_or_shortened_is_kept_as_it_was_written(line: str, written: str) -> None:
    (of,) = targets(entries(line))
    assert of.written == written
    assert of.input != written
    assert SECRET not in of.input


@pytest.mark.parametrize(
    "line", [A, " A.example\t# note", "ftp://h.example/", "b\u00fccher.example"]
)
def test_what_is_shown_as_it_was_written_is_kept_once(line: str) -> None:
    (of,) = targets(entries(line))
    assert of.written is None
    assert of.input == line.partition("#")[0].strip()


@PROPERTY
@given(LINES)
def test_what_was_written_gives_the_same_entry_again(lines: list[str]) -> None:
    found = entries(*(line.replace("\0", "") for line in lines), repeat=True)
    written = [of.input if of.written is None else of.written for of in targets(found)]
    again = entries(*written, repeat=True)
    assert urls(again) == urls(found)
    assert [of.input for of in targets(again)] == [of.input for of in targets(found)]


@pytest.mark.parametrize(
    "line", ["https://user:s3cr3t #x@h.example/", "https://user:s3cr3t\t # x@h.example/"]
)
def test_a_password_that_looks_like_a_comment_is_written_whole(line: str) -> None:
    """Its first half alone would not be known for one, and shown."""
    (of,) = targets(entries(line))
    assert of.written == line
    assert SECRET not in repr(entries(of.written))


def test_a_number_that_may_be_half_of_a_password_is_not_in_the_complaint() -> None:
    (found,) = complaints(entries("https://user:271828/18@h.example/"))
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
def test_no_password_comes_through_whatever_stands_around_it(
    front: str, before: str, after: str
) -> None:
    assume(front or not before.startswith("//"))  # "user://" is a scheme
    line = f"{front}user:{before}{SECRET}{after}@host.example"
    for entry in entries(line):
        if isinstance(entry, Result):
            text = line.partition(" #")[0]
            # What has no "@" behind it is not known for a password.
            assert SECRET not in repr(entry) or SECRET in text.rpartition("@")[2]
        elif SECRET not in without_userinfo(entry.url)[0]:  # else it is part of a path
            assert SECRET not in entry.input


def test_a_bad_line_is_shown_in_part_where_it_is_long() -> None:
    (entry,) = entries("ftp://" + "x" * 60_000)
    assert len(targets([entry])[0].input) < MAX_SHOWN + 100
    assert len(str(complaints([entry])[0])) < 400


@PROPERTY
@given(LINES)
def test_any_text_gives_one_entry_for_each_line_that_holds_one(lines: list[str]) -> None:
    lines = [line.replace("\0", "") for line in lines]
    held = [re.split(r"(?:^|[ \t\f\v])#", line.strip(BLANK))[0].strip(BLANK) for line in lines]
    listed = UrlList()
    found = list(listed.parse(lines, source="urls.txt"))
    assert len(found) + listed.duplicates == len(list(filter(None, held)))
    assert [target.index for target in targets(found)] == list(range(len(found)))
    assert all(held[(target.line or 0) - 1] for target in targets(found))
    asked = [url for url in urls(found) if url != "invalid"]
    assert len(set(asked)) == len(asked)


@PROPERTY
@given(LINES)
def test_any_text_asked_as_often_as_listed_gives_an_entry_for_every_line(lines: list[str]) -> None:
    lines = [f"x{line}".replace("\0", "") for line in lines]
    assert [target.line for target in targets(entries(*lines, repeat=True))] == [
        number for number, _ in enumerate(lines, 1)
    ]


@PROPERTY
@given(BYTES)
def test_any_bytes_are_a_list_or_raise_a_list_error(data: bytes) -> None:
    binary = b"\0" in data
    try:
        list(parse(split(data)))
    except ListError:
        assert binary
    else:
        assert not binary


@PROPERTY
@given(LINES)
def test_every_record_of_a_bad_line_says_why_in_text_that_can_be_encoded(lines: list[str]) -> None:
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
def test_a_hostile_line_costs_little(start: str, unit: str, length: int) -> None:
    lines = [f"{start}{unit * (length // len(unit))}/@{n}" for n in range(4)]
    before = time.process_time()
    assert len(entries(*lines)) <= 4
    assert time.process_time() - before < 1.2
