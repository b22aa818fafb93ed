"""Files, standard input and URLs become one numbered list, read as needed."""

import asyncio
import errno
import os
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
from samples import run

from crawler.core.urllist import ListError, UrlList
from crawler.inputs.entries import SourceReader
from crawler.inputs.sources import open_source
from crawler.models import Outcome, Result, Target

Entry = Target | Result


def origin(entry: Entry) -> tuple[str | None, int | None, str]:
    """Return source, line and URL of an entry; "invalid" in place of an invalid URL."""
    if isinstance(entry, Result):
        assert entry.outcome is Outcome.INVALID
        return entry.target.source, entry.target.line, "invalid"
    return entry.source, entry.line, entry.url


def opened(*arguments: str, stdin: int | None = None) -> SourceReader:
    return SourceReader([open_source(argument, stdin) for argument in arguments], UrlList())


async def read(inputs: SourceReader) -> list[Entry]:
    return [entry async for entry in inputs.entries()]


def origins(*arguments: str, stdin: int | None = None) -> list[tuple[str | None, int | None, str]]:
    return [origin(entry) for entry in run(read(opened(*arguments, stdin=stdin)))]


@contextmanager
def piped(data: bytes) -> Iterator[int]:
    """Yield the read end of a pipe that holds `data`; reading it to the end closes it."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    yield reader


# What is read


def test_the_lines_of_a_file_are_numbered(home: Path) -> None:
    (home / "urls.txt").write_text("# list\nhttp://a/\n\n  b # plain\nftp://c/\nhttp://d/")
    assert origins("urls.txt") == [
        ("urls.txt", 2, "http://a/"),
        ("urls.txt", 4, "https://b/"),
        ("urls.txt", 5, "invalid"),
        ("urls.txt", 6, "http://d/"),
    ]


def test_sources_are_read_in_the_order_of_the_arguments(home: Path) -> None:
    (home / "one.txt").write_text("http://a/1\nhttp://a/2\n")
    (home / "two.txt").write_text("http://b/1\n")
    with piped(b"http://c/1\n") as stdin:
        inputs = opened("two.txt", "http://d/1", "-", "ftp://e/1", "one.txt", stdin=stdin)
        entries = run(read(inputs))
    assert [origin(entry) for entry in entries] == [
        ("two.txt", 1, "http://b/1"),
        ("argument", None, "http://d/1"),
        ("-", 1, "http://c/1"),
        ("argument", None, "invalid"),
        ("one.txt", 1, "http://a/1"),
        ("one.txt", 2, "http://a/2"),
    ]
    indices = [
        entry.target.index if isinstance(entry, Result) else entry.index for entry in entries
    ]
    assert indices == list(range(6))


def test_a_duplicate_is_counted_not_repeated(home: Path) -> None:
    (home / "urls.txt").write_text("http://a/\nhttp://b/\n")
    inputs = opened("http://a/", "urls.txt", "urls.txt", "http://b/")
    assert [origin(entry)[2] for entry in run(read(inputs))] == ["http://a/", "http://b/"]
    assert inputs.urls.duplicates == 4


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n"], ids=["empty", "blank", "comment"])
def test_a_list_without_urls_has_no_entries(home: Path, content: str) -> None:
    (home / "urls.txt").write_text(content)
    assert origins("urls.txt") == []


def test_line_numbers_continue_from_chunk_to_chunk(home: Path) -> None:
    lines = [f"http://a/{'x' * 50}/{number}" for number in range(5000)]
    (home / "urls.txt").write_text("\n".join(lines))
    expected = [("urls.txt", number, line) for number, line in enumerate(lines, 1)]
    assert origins("urls.txt") == expected


@pytest.mark.parametrize("shift", range(4))
def test_a_character_split_between_two_chunks_is_whole(home: Path, shift: int) -> None:
    """The emoji fill more than a chunk; each shift splits one at another byte."""
    (home / "urls.txt").write_text(
        f"#{'-' * shift}{'🕸' * 17_000}\nhttp://a/%F0%9F%95%B8\n", "utf-8"
    )
    assert origins("urls.txt") == [("urls.txt", 2, "http://a/%F0%9F%95%B8")]


def test_a_byte_that_is_not_utf_8_makes_one_line_invalid(home: Path) -> None:
    (home / "urls.txt").write_bytes(b"http://a/\nhttp://b/caf\xe9\nhttp://c/\n")
    assert [url for _, _, url in origins("urls.txt")] == ["http://a/", "invalid", "http://c/"]


def test_a_file_is_closed_at_its_end(home: Path) -> None:
    (home / "urls.txt").write_text("http://a/\n")
    inputs = opened("urls.txt")
    (source,) = inputs.sources
    run(read(inputs))
    assert source.fd is not None
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(source.fd)


# How it is read


def test_a_file_is_read_only_as_far_as_needed(home: Path) -> None:
    (home / "urls.txt").write_text("".join(f"http://a/{number}\n" for number in range(100_000)))
    inputs = opened("urls.txt")

    async def body() -> None:
        async with aclosing(inputs.entries()) as entries:
            assert origin(await anext(entries)) == ("urls.txt", 1, "http://a/0")

    run(body())
    (source,) = inputs.sources
    assert source.size is not None
    assert source.read < source.size / 10


@pytest.mark.parametrize("name", ["-", "fifo"], ids=["standard input", "FIFO"])
def test_a_line_is_an_entry_before_the_writer_closes(home: Path, name: str) -> None:
    if name == "-":
        reader, writer = os.pipe()
    else:
        os.mkfifo("fifo")
        reader, writer = -1, os.open("fifo", os.O_RDWR)

    async def body() -> None:
        async with aclosing(opened(name, stdin=reader).entries()) as entries:
            os.write(writer, b"http://a/\nhttp://")
            assert origin(await anext(entries)) == (name, 1, "http://a/")
            waiting = asyncio.ensure_future(anext(entries))
            os.write(writer, b"b/\n")
            assert origin(await waiting) == (name, 2, "http://b/")
            os.close(writer)
            assert await anext(entries, None) is None

    run(body())


def test_a_silent_pipe_does_not_block_the_event_loop() -> None:
    async def body() -> None:
        reader, writer = os.pipe()
        async with aclosing(opened("-", stdin=reader).entries()) as entries:
            waiting = asyncio.ensure_future(anext(entries, None))
            await asyncio.sleep(0.01)
            assert not waiting.done()
            os.close(writer)
            assert await waiting is None

    run(body())


def test_a_non_blocking_pipe_is_waited_for() -> None:
    """Other programs that share a terminal or a pipe may leave it in that mode."""

    async def body() -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        async with aclosing(opened("-", stdin=reader).entries()) as entries:
            waiting = asyncio.ensure_future(anext(entries))
            await asyncio.sleep(0.01)
            os.write(writer, b"http://a/\n")
            os.close(writer)
            assert origin(await waiting) == ("-", 1, "http://a/")

    run(body())


# What cannot be read


def test_a_read_error_is_a_list_error() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(ListError, match="cannot read standard input: Bad file descriptor"):
            run(read(opened("-", stdin=writer)))  # the write end
    finally:
        os.close(reader)
        os.close(writer)


NO_LISTS = {
    "UTF-16, little end first": (
        "http://a/\n".encode("utf-16-le"),
        "line 1: is binary or UTF-16, not UTF-8 text",
    ),
    "UTF-16, big end first": (
        "http://a/\n".encode("utf-16-be"),
        "line 1: is binary or UTF-16, not UTF-8 text",
    ),
    "UTF-16, marked": (
        b"\xff\xfe" + "http://a/\n".encode("utf-16-le"),
        "line 1: is UTF-16, not UTF-8 text",
    ),
    "UTF-16, marked, big end first": (
        b"\xfe\xff" + "http://a/\n".encode("utf-16-be"),
        "line 1: is UTF-16, not UTF-8 text",
    ),
    "binary": (b"http://a/\nhttp://b/\n\0", "line 3: is binary or UTF-16, not UTF-8 text"),
    "gzip": (b"\x1f\x8b\x08\x08 no zero byte", "line 1: is binary, not UTF-8 text"),
}


@pytest.mark.parametrize(("content", "what"), NO_LISTS.values(), ids=NO_LISTS)
def test_a_binary_file_is_an_error_before_its_first_entry(
    home: Path, content: bytes, what: str
) -> None:
    (home / "urls.txt").write_bytes(content)

    async def body() -> None:
        async with aclosing(opened("urls.txt").entries()) as entries:
            with pytest.raises(ListError) as caught:
                await anext(entries)
            assert str(caught.value) == f"urls.txt, {what}"

    run(body())


def test_binary_standard_input_is_reported_by_its_name() -> None:
    with piped(b"\xff\xfeh\0t\0") as stdin, pytest.raises(ListError) as caught:
        run(read(opened("-", stdin=stdin)))
    assert str(caught.value) == "standard input, line 1: is UTF-16, not UTF-8 text"


def test_a_list_that_turns_binary_later_yields_the_entries_before(home: Path) -> None:
    lines = [f"http://a/{'x' * 50}/{number}\n" for number in range(5000)]
    (home / "urls.txt").write_text("".join(lines) + "\0")
    seen: list[Entry] = []

    async def body() -> None:
        async for entry in opened("urls.txt").entries():
            seen.append(entry)

    with pytest.raises(ListError, match=r"^urls\.txt, line 5001: is binary"):
        run(body())
    assert len(seen) == 5000


# How much of it was read


def test_the_share_read_is_1_at_the_end_and_not_before(home: Path) -> None:
    (home / "urls.txt").write_text("http://a/\nhttp://b/\n")
    inputs = opened("urls.txt")

    async def body() -> None:
        async with aclosing(inputs.entries()) as entries:
            await anext(entries)
            assert inputs.share_read() != 1.0
            await anext(entries)
            assert await anext(entries, None) is None
            assert inputs.share_read() == 1.0

    run(body())


def test_the_share_read_covers_all_files(home: Path) -> None:
    for name in ("one.txt", "two.txt"):
        (home / name).write_text(
            "".join(f"http://{name}/{number:09}\n" for number in range(10_000))
        )
    inputs = opened("one.txt", "http://a/", "two.txt")
    shares: list[float | None] = []

    async def body() -> None:
        async for _ in inputs.entries():
            shares.append(inputs.share_read())

    run(body())
    assert len(shares) == 20_001
    known = [share for share in shares if share is not None]
    assert known == sorted(known)
    assert shares[10_000] == pytest.approx(0.5, abs=0.15)


def test_the_share_read_of_a_pipe_is_unknown_before_its_end() -> None:
    with piped(b"http://a/\n") as stdin:
        inputs = opened("-", stdin=stdin)

        async def body() -> None:
            async for _ in inputs.entries():
                assert inputs.share_read() is None

        run(body())
    assert inputs.share_read() == 1.0


def test_the_share_read_of_url_arguments_is_known_at_their_end() -> None:
    inputs = opened("http://a/", "http://b/")
    assert inputs.share_read() is None
    run(read(inputs))
    assert inputs.share_read() == 1.0


def test_a_file_that_grows_is_never_more_than_fully_read(home: Path) -> None:
    (home / "urls.txt").write_text("http://a/\n")
    inputs = opened("urls.txt")
    with (home / "urls.txt").open("a") as file:
        file.write("".join(f"http://a/{number}\n" for number in range(10_000)))

    async def body() -> None:
        async for _ in inputs.entries():
            share = inputs.share_read()
            assert share is None or share <= 1.0

    run(body())
    assert inputs.share_read() == 1.0
