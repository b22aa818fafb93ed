"""Text to files, pipes and devices: nothing lost, nothing left behind."""

import errno
import fcntl
import os
import select
import signal
import stat
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from samples import largest_file

from crawler.report.streams import AtomicFile, Stream, open_file, open_list


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


# Streams


def test_a_write_is_not_buffered() -> None:
    with pipe() as (reader, writer):
        stream = Stream("pipe", writer)
        stream.write("one\n")
        assert os.read(reader, 100) == b"one\n"
        stream.write("two\n")
        assert os.read(reader, 100) == b"two\n"


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("utf-8", "ü € \\udc80".encode()),
        ("ascii", rb"\xfc \u20ac \udc80"),
        ("iso-8859-1", b"\xfc \\u20ac \\udc80"),
    ],
)
def test_characters_missing_from_the_encoding_are_escaped(encoding: str, data: bytes) -> None:
    with pipe() as (reader, writer):
        Stream("pipe", writer, encoding).write("ü € \udc80")
        assert os.read(reader, 100) == data


def test_an_interrupted_write_is_completed() -> None:
    """A signal interrupts a write to a full pipe half-way; the rest must follow."""
    text = "".join(f"line {number}\n" for number in range(100_000))
    handled = threading.Event()
    received = bytearray()
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.set())
    main = threading.get_ident()

    def drain() -> None:
        waiting = 0
        while waiting < 65_536:
            raw = fcntl.ioctl(reader, termios.FIONREAD, b"\0" * 4)
            (waiting,) = struct.unpack("i", raw)
        signal.pthread_kill(main, signal.SIGUSR1)
        assert handled.wait(30)
        while len(received) < len(text):
            received.extend(os.read(reader, 65_536))

    try:
        with pipe() as (reader, writer):
            draining = threading.Thread(target=drain, daemon=True)
            draining.start()
            Stream("pipe", writer).write(text)
            draining.join(30)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert received == text.encode()


def test_a_write_to_a_non_blocking_pipe_waits_for_room() -> None:
    """Other programs that share a terminal or a pipe may leave it in that mode."""
    text = "".join(f"line {number}\n" for number in range(100_000))
    received = bytearray()

    def drain() -> None:
        while len(received) < len(text) and (data := os.read(reader, 65_536)):
            received.extend(data)

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    draining = threading.Thread(target=drain, daemon=True)
    draining.start()
    try:
        Stream("pipe", writer).write(text)
    finally:
        os.close(writer)
        draining.join(30)
        os.close(reader)
    assert received == text.encode()


@contextmanager
def writing(stream: Stream, text: str) -> Iterator[threading.Thread]:
    """Write in a thread; the test itself reads the stream."""
    thread = threading.Thread(target=stream.write, args=(text,), daemon=True)
    thread.start()
    yield thread
    thread.join(30)
    assert not thread.is_alive()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_each_byte_that_a_reader_takes_is_counted() -> None:
    """A pipe accepts a write only when a page of it is free, so the writes alone show less."""
    with pipe() as (reader, writer):
        stream = Stream("pipe", writer)
        assert stream.bytes_taken() is None
        with writing(stream, "x" * 200_000):
            wait_for(lambda: stream.bytes_taken() == 0 and full(writer))
            for count in (1, 2, 3):
                os.read(reader, 1)
                assert stream.bytes_taken() == count
            assert stream.bytes_taken() == 3
            for _ in range(200_000 // 1_000):
                os.read(reader, 1_000)
        assert stream.bytes_taken() is None


def full(writer: int) -> bool:
    return not select.select([], [writer], [], 0)[1]


def test_after_a_failed_write_no_write_is_waiting() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = Stream("pipe", writer)
    with pytest.raises(BrokenPipeError):
        stream.write("line\n")
    assert stream.bytes_taken() is None
    os.close(writer)


def test_a_write_beyond_the_file_size_limit_raises(tmp_path: Path) -> None:
    stream = open_file(str(tmp_path / "out.jsonl"), whole=False)
    with largest_file(5), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        stream.write("0123456789")
    stream.close()
    assert (tmp_path / "out.jsonl").read_text() == "01234"


def test_a_reader_that_closed_its_pipe_raises_broken_pipe_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        Stream("pipe", writer).write("line\n")
    os.close(writer)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no such device")
def test_a_full_device_raises() -> None:
    stream = open_file("/dev/full", whole=False)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        stream.write("line\n")
    stream.close()


def test_a_descriptor_that_is_not_owned_stays_open() -> None:
    with pipe() as (reader, writer):
        stream = Stream("pipe", writer)
        stream.close()
        stream.discard()
        os.write(writer, b"still open")
        assert os.read(reader, 100) == b"still open"


# Files

OPENERS: dict[str, Callable[[str], Stream]] = {
    "lines": partial(open_file, whole=False),
    "document": partial(open_file, whole=True),
    "list": open_list,
}
any_file = pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
whole_file = pytest.mark.parametrize(
    "opener", [OPENERS["document"], open_list], ids=["document", "list"]
)


def test_a_file_of_lines_grows_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old content that is longer\n")
    stream = open_file(str(path), whole=False)
    stream.write("one\n")
    assert path.read_text() == "one\n"
    stream.close()
    assert (path.read_text(), stream.name) == ("one\n", str(path))


@whole_file
def test_a_whole_file_replaces_the_old_one_when_it_is_closed(
    tmp_path: Path, opener: Callable[[str], Stream]
) -> None:
    path = tmp_path / "out.json"
    path.write_text("old content that is longer\n")
    stream = opener(str(path))
    stream.write("new\n")
    assert path.read_text() == "old content that is longer\n"
    stream.close()
    assert (path.read_text(), os.listdir(tmp_path)) == ("new\n", ["out.json"])


def test_a_new_whole_file_does_not_appear_early(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    stream = AtomicFile(str(path))
    stream.write("new")
    assert not path.exists()
    stream.close()
    assert (path.read_text(), os.listdir(tmp_path)) == ("new", ["out.json"])


@whole_file
def test_a_discarded_file_leaves_only_the_old_one(
    tmp_path: Path, opener: Callable[[str], Stream]
) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    stream = opener(str(path))
    stream.write("new")
    stream.discard()
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["out.json"])


def test_discarding_a_finished_file_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    stream = AtomicFile(str(path))
    stream.write("new")
    stream.close()
    stream.discard()
    assert (path.read_text(), os.listdir(tmp_path)) == ("new", ["out.json"])


def test_a_file_that_cannot_be_renamed_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    stream = AtomicFile(str(path))
    stream.write("new")
    path.mkdir()
    with pytest.raises(OSError, match=r"out\.json"):
        stream.close()
    assert os.listdir(tmp_path) == ["out.json"]


@whole_file
@pytest.mark.parametrize("mode", [0o600, 0o604])
def test_a_whole_file_keeps_the_permissions_of_the_old_one(
    tmp_path: Path, opener: Callable[[str], Stream], mode: int
) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    path.chmod(mode)
    opener(str(path)).close()
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("whole", [False, True], ids=["lines", "document"])
def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path, whole: bool) -> None:
    path = tmp_path / "out.json"
    before = os.umask(0o027)
    try:
        open_file(str(path), whole=whole).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@whole_file
@pytest.mark.parametrize("exists", [True, False], ids=["to a file", "to nothing yet"])
def test_a_link_is_followed_and_stays_a_link(
    tmp_path: Path, exists: bool, opener: Callable[[str], Stream]
) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "files").mkdir()
    file, link = tmp_path / "files" / "out.json", tmp_path / "links" / "latest.json"
    if exists:
        file.write_text("old")
    link.symlink_to(file)
    stream = opener(str(link))
    stream.write("new")
    stream.close()
    assert (link.is_symlink(), file.read_text()) == (True, "new")
    assert [*os.listdir(file.parent), *os.listdir(link.parent)] == ["out.json", "latest.json"]


@any_file
@pytest.mark.parametrize(
    ("path", "error"),
    [("missing/out.json", FileNotFoundError), (".", IsADirectoryError)],
    ids=["in a missing directory", "a directory"],
)
def test_a_bad_path_is_an_error_at_once(
    tmp_path: Path, path: str, error: type[OSError], opener: Callable[[str], Stream]
) -> None:
    with pytest.raises(error):
        opener(str(tmp_path / path))
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
@any_file
def test_a_read_only_file_is_an_error_at_once_and_kept(
    tmp_path: Path, opener: Callable[[str], Stream]
) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    path.chmod(0o400)
    with pytest.raises(PermissionError):
        opener(str(path))
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["out.json"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@any_file
def test_a_read_only_directory_is_an_error_at_once(
    tmp_path: Path, opener: Callable[[str], Stream]
) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        opener(str(tmp_path / "out.json"))


@pytest.mark.parametrize(
    ("form", "text", "data"),
    [
        ("lines", "line\n", b"line\n"),
        ("document", "line\n", b"line\n"),
        ("list", "caf\udce9\n", b"caf\xe9\n"),
    ],
)
def test_a_fifo_is_written_directly(tmp_path: Path, form: str, text: str, data: bytes) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    stream = OPENERS[form](str(path))
    stream.write(text)
    assert os.read(reader, 100) == data
    stream.close()
    assert os.read(reader, 100) == b""
    assert (os.listdir(tmp_path), path.is_fifo()) == (["fifo"], True)
    os.close(reader)


@any_file
def test_the_null_device_stays_a_device(opener: Callable[[str], Stream]) -> None:
    stream = opener(os.devnull)
    stream.write("line\n")
    stream.close()
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


# Lists


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_new_list_is_readable_by_its_owner_only_from_the_first_byte(
    tmp_path: Path, mask: int
) -> None:
    path = tmp_path / "failed.txt"
    before = os.umask(mask)
    try:
        stream = open_list(str(path))
    finally:
        os.umask(before)
    stream.write("https://user:password@a.example/\n")
    (temporary,) = tmp_path.iterdir()
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    stream.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_bytes_that_are_not_utf8_are_preserved_in_a_list(tmp_path: Path) -> None:
    path = tmp_path / "failed.txt"
    data = bytes(range(1, 256)) + "é€😀".encode()
    stream = open_list(str(path))
    stream.write(data.decode("utf-8", "surrogateescape"))
    stream.close()
    assert path.read_bytes() == data
