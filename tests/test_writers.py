"""Text to files, pipes and devices: whole lines, whole documents, nothing lost or left behind."""

import errno
import fcntl
import json
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
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import EVERY, Recorder, check, largest_file, responded, steady, summary, target

from crawler.core.summary import Summary
from crawler.models import Check
from crawler.report import jsondocument, jsonl
from crawler.report.sinks import DocumentSink, LineSink, Ordered
from crawler.report.streams import AtomicFile, Stream, open_file, open_list

CHECKS = list(EVERY.values())


def numbered(index: int) -> Check:
    return check(responded(target(index)))


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


# Streams


def test_each_write_is_there_at_once() -> None:
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
def test_what_the_encoding_lacks_is_escaped(encoding: str, data: bytes) -> None:
    with pipe() as (reader, writer):
        Stream("pipe", writer, encoding).write("ü € \udc80")
        assert os.read(reader, 100) == data


def test_a_write_that_is_interrupted_is_completed() -> None:
    """A signal ends a write to a full pipe after a part; the rest must follow."""
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


def test_a_pipe_that_takes_only_what_it_has_room_for_is_waited_for() -> None:
    """A terminal or a pipe is left in that mode by other programs that share it."""
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
    """Write in a thread; the reader of the stream takes nothing on its own."""
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


def test_each_byte_that_a_reader_takes_is_headway() -> None:
    """A pipe has room for a write only when a page of it is free: the writes alone show less."""
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


def test_a_write_that_fails_waits_no_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = Stream("pipe", writer)
    with pytest.raises(BrokenPipeError):
        stream.write("line\n")
    assert stream.bytes_taken() is None
    os.close(writer)


def test_a_write_that_cannot_be_completed_raises(tmp_path: Path) -> None:
    stream = open_file(str(tmp_path / "out.jsonl"), whole=False)
    with largest_file(5), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        stream.write("0123456789")
    stream.close()
    assert (tmp_path / "out.jsonl").read_text() == "01234"


def test_a_reader_that_went_away_is_a_broken_pipe() -> None:
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


def test_a_descriptor_that_was_only_lent_stays_open() -> None:
    with pipe() as (reader, writer):
        stream = Stream("pipe", writer)
        stream.close()
        stream.discard()
        os.write(writer, b"still open")
        assert os.read(reader, 100) == b"still open"


# Files


def test_a_file_of_lines_grows_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old content that is longer\n")
    stream = open_file(str(path), whole=False)
    stream.write("one\n")
    assert path.read_text() == "one\n"
    stream.close()
    assert (path.read_text(), stream.name) == ("one\n", str(path))


def test_a_whole_file_appears_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    stream = open_file(str(path), whole=True)
    stream.write("new")
    assert path.read_text() == "old"
    stream.close()
    assert (path.read_text(), os.listdir(tmp_path)) == ("new", ["out.json"])


def test_a_whole_file_that_was_not_there_does_not_appear_early(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    stream = AtomicFile(str(path))
    stream.write("new")
    assert not path.exists()
    stream.close()
    assert (path.read_text(), os.listdir(tmp_path)) == ("new", ["out.json"])


def test_a_discarded_file_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    stream = AtomicFile(str(path))
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


def test_a_file_that_cannot_take_its_name_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    stream = AtomicFile(str(path))
    stream.write("new")
    path.mkdir()
    with pytest.raises(OSError, match=r"out\.json"):
        stream.close()
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_whole_file_keeps_the_permissions_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    path.chmod(0o604)
    open_file(str(path), whole=True).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.parametrize("whole", [False, True], ids=["lines", "document"])
def test_a_new_file_has_the_permissions_that_the_mask_leaves(tmp_path: Path, whole: bool) -> None:
    path = tmp_path / "out.json"
    before = os.umask(0o027)
    try:
        open_file(str(path), whole=whole).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing yet"])
def test_a_link_is_followed_and_stays_a_link(tmp_path: Path, there: bool) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "files").mkdir()
    file, link = tmp_path / "files" / "out.json", tmp_path / "links" / "latest.json"
    if there:
        file.write_text("old")
    link.symlink_to(file)
    stream = open_file(str(link), whole=True)
    stream.write("new")
    stream.close()
    assert (link.is_symlink(), file.read_text()) == (True, "new")
    assert [*os.listdir(file.parent), *os.listdir(link.parent)] == ["out.json", "latest.json"]


@pytest.mark.parametrize("whole", [False, True], ids=["lines", "document"])
def test_a_missing_directory_is_told_of_at_once(tmp_path: Path, whole: bool) -> None:
    with pytest.raises(FileNotFoundError):
        open_file(str(tmp_path / "missing" / "out.json"), whole=whole)


@pytest.mark.parametrize("whole", [False, True], ids=["lines", "document"])
def test_a_directory_is_no_output(tmp_path: Path, whole: bool) -> None:
    with pytest.raises(IsADirectoryError):
        open_file(str(tmp_path), whole=whole)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
@pytest.mark.parametrize("whole", [False, True], ids=["lines", "document"])
def test_a_read_only_file_is_told_of_at_once_and_kept(tmp_path: Path, whole: bool) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    path.chmod(0o400)
    with pytest.raises(PermissionError):
        open_file(str(path), whole=whole)
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["out.json"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("whole", [False, True], ids=["lines", "document"])
def test_a_read_only_directory_is_told_of_at_once(tmp_path: Path, whole: bool) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        open_file(str(tmp_path / "out.json"), whole=whole)


@pytest.mark.parametrize("whole", [False, True], ids=["lines", "document"])
def test_a_fifo_is_written_directly(tmp_path: Path, whole: bool) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    stream = open_file(str(path), whole=whole)
    stream.write("line\n")
    assert os.read(reader, 100) == b"line\n"
    stream.close()
    assert os.read(reader, 100) == b""
    assert (os.listdir(tmp_path), path.is_fifo()) == (["fifo"], True)
    os.close(reader)


@pytest.mark.parametrize("whole", [False, True], ids=["lines", "document"])
def test_the_null_device_takes_everything_and_stays_a_device(whole: bool) -> None:
    stream = open_file(os.devnull, whole=whole)
    stream.write("line\n")
    stream.close()
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


# Lists


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_new_list_is_for_its_owner_only_from_the_first_byte(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "failed.txt"
    before = os.umask(mask)
    try:
        stream = open_list(str(path))
    finally:
        os.umask(before)
    stream.write("https://user:password@a.example/\n")
    (growing,) = tmp_path.iterdir()
    assert stat.S_IMODE(growing.stat().st_mode) == 0o600
    stream.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_list_that_is_private_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "failed.txt"
    path.write_text("old")
    path.chmod(0o600)
    open_list(str(path)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_list_is_replaced_whole_and_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "failed.txt"
    path.write_text("old content that is longer\n")
    stream = open_list(str(path))
    stream.write("new\n")
    assert path.read_text() == "old content that is longer\n"
    stream.close()
    assert (path.read_text(), os.listdir(tmp_path)) == ("new\n", ["failed.txt"])


def test_a_list_that_is_given_up_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "failed.txt"
    path.write_text("old")
    stream = open_list(str(path))
    stream.write("new")
    stream.discard()
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["failed.txt"])


def test_bytes_that_are_not_utf8_are_those_they_were_in_a_list(tmp_path: Path) -> None:
    path = tmp_path / "failed.txt"
    data = bytes(range(1, 256)) + "é€😀".encode()
    stream = open_list(str(path))
    stream.write(data.decode("utf-8", "surrogateescape"))
    stream.close()
    assert path.read_bytes() == data


def test_a_link_to_a_list_stays_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "failed.txt", tmp_path / "latest.txt"
    link.symlink_to(file)
    stream = open_list(str(link))
    stream.write("new")
    stream.close()
    assert (link.is_symlink(), file.read_text()) == (True, "new")


def test_a_list_may_go_to_a_fifo(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    stream = open_list(str(path))
    stream.write("caf\udce9\n")
    assert os.read(reader, 100) == b"caf\xe9\n"
    stream.close()
    os.close(reader)
    assert path.is_fifo()


def test_a_place_where_no_list_can_be_is_told_of_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_list(str(tmp_path / "missing" / "failed.txt"))
    with pytest.raises(IsADirectoryError):
        open_list(str(tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_list_is_told_of_at_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "failed.txt"
    path.write_text("old")
    path.chmod(0o400)
    with pytest.raises(PermissionError):
        open_list(str(path))
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["failed.txt"])


# Lines


@pytest.mark.parametrize(
    ("form", "of"), [("jsonl", LineSink), ("json", DocumentSink)], ids=["lines", "document"]
)
def test_a_pipe_gets_whole_lines_in_each_write(
    form: str, of: type[LineSink | DocumentSink]
) -> None:
    """No more at once than it takes whole, so that it never holds a part of a line."""
    stream = Recorder()
    sink: LineSink | DocumentSink
    sink = LineSink(stream, jsonl.line) if form == "jsonl" else DocumentSink(stream, jsondocument)
    for one in CHECKS:
        sink.accept(one)
    sink.flush()
    lengths = [len(text) for text in stream.writes]
    assert 1 < len(lengths) < len(CHECKS)
    assert max(lengths) <= select.PIPE_BUF
    if form == "jsonl":
        assert stream.text == "".join(jsonl.line(one) for one in CHECKS)
        assert [text for text in stream.writes if not text.endswith("\n")] == []


def test_a_line_that_is_longer_than_a_write_goes_alone() -> None:
    stream = Recorder()
    sink = LineSink(stream, jsonl.line)
    long = check(responded(target(url=f"https://a.example/{'x' * 10_000}")))
    for one in (CHECKS[0], long, CHECKS[0]):
        sink.accept(one)
    sink.flush()
    assert stream.writes == [jsonl.line(one) for one in (CHECKS[0], long, CHECKS[0])]


def test_nothing_new_is_no_write() -> None:
    stream = Recorder()
    LineSink(stream, jsonl.line).flush()
    assert stream.text == ""


def test_lines_are_closed_at_the_end() -> None:
    stream = Recorder("out.jsonl")
    sink = LineSink(stream, jsonl.line)
    sink.accept(CHECKS[0])
    assert (stream.closed, stream.writes) == (False, [])
    sink.finish(summary())
    assert (stream.closed, len(stream.writes), sink.name) == (True, 1, "out.jsonl")


def test_a_line_is_in_the_file_once_it_is_flushed(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = LineSink(open_file(str(path), whole=False), jsonl.line)
    for count, one in enumerate(CHECKS, 1):
        sink.accept(one)
        sink.flush()
        assert len(path.read_text().splitlines()) == count
    sink.finish(summary())


# Documents


@pytest.mark.parametrize("count", [0, 1, len(CHECKS)], ids=["none", "one", "many"])
def test_a_document_is_whole_whatever_it_holds(tmp_path: Path, count: int) -> None:
    path = tmp_path / "out.json"
    sink = DocumentSink(open_file(str(path), whole=True), jsondocument)
    for one in CHECKS[:count]:
        sink.accept(one)
    end = summary(*CHECKS[:count])
    sink.finish(end)
    elements = [jsondocument.element(one, place == 0) for place, one in enumerate(CHECKS[:count])]
    text = path.read_text()
    assert text == "".join([jsondocument.begin(), *elements, jsondocument.end(end)])
    assert len(json.loads(text)["results"]) == count


def test_a_document_streams() -> None:
    stream = Recorder("out.json")
    sink = DocumentSink(stream, jsondocument)
    sink.accept(CHECKS[0])
    sink.flush()
    sink.accept(CHECKS[1])
    sink.flush()
    head, *elements = [jsondocument.begin(), *map(jsonl.line, CHECKS[:2])]
    assert "".join(stream.writes) + "\n" == head + ",\n".join(e.rstrip() for e in elements) + "\n"
    sink.finish(summary())
    assert (stream.closed, sink.name) == (True, "out.json")


# Order


class Kept:
    """A sink that keeps the places of the checks it gets."""

    name = "kept"

    def __init__(self) -> None:
        self.slots: list[int] = []
        self.summaries: list[Summary] = []

    def accept(self, check: Check) -> None:
        self.slots.append(check.result.target.index)

    def accept_deferred(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def finish(self, summary: Summary) -> None:
        self.summaries.append(summary)


@steady
@given(st.integers(0, 12).flatmap(lambda count: st.permutations(range(count))))
def test_checks_pass_in_input_order_in_whatever_order_they_come(arrivals: list[int]) -> None:
    kept = Kept()
    sink = Ordered(kept)
    for count, index in enumerate(arrivals, 1):
        sink.accept(numbered(index))
        while sink.accept_deferred():
            pass
        come = set(arrivals[:count])
        assert kept.slots == [place for place in range(count) if set(range(place + 1)) <= come]
    sink.finish(summary())
    assert kept.slots == sorted(arrivals)


def test_checks_that_waited_for_the_same_one_pass_one_at_a_step() -> None:
    kept = Kept()
    sink = Ordered(kept)
    for index in reversed(range(5)):
        sink.accept(numbered(index))
    assert kept.slots == [0]
    assert [sink.accept_deferred() for _ in range(5)] == [True] * 4 + [False]
    assert kept.slots == list(range(5))


def test_checks_whose_turn_has_come_pass_at_the_end_even_if_nobody_asks_for_them() -> None:
    kept = Kept()
    sink = Ordered(kept)
    for index in reversed(range(5)):
        sink.accept(numbered(index))
    sink.finish(summary())
    assert kept.slots == list(range(5))


def test_what_is_ahead_of_a_gap_passes_at_the_end_in_order() -> None:
    kept = Kept()
    sink = Ordered(kept)
    for index in (4, 0, 2):
        sink.accept(numbered(index))
    assert kept.slots == [0]
    sink.finish(summary())
    assert (kept.slots, kept.summaries, sink.name) == ([0, 2, 4], [summary()], "kept")
