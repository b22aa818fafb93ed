"""Text -> bytes in a file or on a descriptor, unbuffered so that no finished line is lost."""

import errno
import os
import select
import stat
import sys
import threading
from contextlib import suppress

try:
    import fcntl
    import termios
except ImportError:  # not a Unix
    HAS_IOCTL = False
else:
    HAS_IOCTL = True

# Bytes in one write. A pipe takes up to PIPE_BUF bytes whole or not at all; a larger write could
# leave part of a line in it. A file is always ready, and fewer writes are faster.
_MAX_PIPE_WRITE = getattr(select, "PIPE_BUF", 4096)
_MAX_FILE_WRITE = 1_048_576
_POLL = 0.05  # seconds between two attempts to open a FIFO


class Stream:
    """A descriptor to which each `write` goes completely and unbuffered.

    Up to `max_write` bytes go in one system call. `interrupted` is set by a signal: a sink
    with much left to render then stops early, says so, and sets `cut_short`.
    """

    def __init__(
        self,
        name: str,
        fd: int,
        encoding: str = "utf-8",
        errors: str = "backslashreplace",
        owned: bool = False,
    ) -> None:
        self.name = name
        self.fd = fd
        self._encoding = encoding
        self._errors = errors
        self._owned = owned
        self.max_write = _MAX_FILE_WRITE if _is_regular(fd) else _MAX_PIPE_WRITE
        self.interrupted = False
        self.cut_short = False
        self._written = 0
        self._writing = False

    def bytes_taken(self) -> int | None:
        """Return how many bytes the reader has taken; None while no write is in progress.

        If it does not grow for a while, the reader has stalled.
        """
        return self._written - _queued(self.fd) if self._writing else None

    def write(self, text: str) -> None:
        """Write all of `text`. Raises OSError."""
        data = memoryview(text.encode(self._encoding, self._errors))
        self._writing = True
        try:
            while data:
                try:
                    written = os.write(self.fd, data[: self.max_write])
                except BlockingIOError:  # another process made the descriptor non-blocking
                    select.select([], [self.fd], [])
                    continue
                self._written += written
                data = data[written:]
        finally:
            self._writing = False

    def close(self) -> None:
        """Flush to disk (fsync) and close. Raises OSError."""
        if self._owned:
            self._owned = False
            _sync(self.fd)
            os.close(self.fd)

    def discard(self) -> None:
        """Abandon the stream; an unfinished `AtomicFile` is deleted."""


class AtomicFile(Stream):
    """A file that appears under its name completely or not at all.

    It is written under a temporary name in the same directory. When it is closed, it replaces
    the old file and keeps its permissions.
    """

    def __init__(
        self, name: str, *, errors: str = "backslashreplace", private: bool = False
    ) -> None:
        self._path = os.path.realpath(name)
        self._temporary = f"{self._path}.{os.urandom(4).hex()}.part"
        fd = os.open(self._temporary, _CREATE | os.O_EXCL, 0o600 if private else 0o666)
        with suppress(OSError):
            os.chmod(self._temporary, stat.S_IMODE(os.stat(self._path).st_mode))
        super().__init__(name, fd, errors=errors, owned=True)

    def close(self) -> None:
        try:
            super().close()
            os.replace(self._temporary, self._path)
        except OSError:
            self.discard()
            raise

    def discard(self) -> None:
        with suppress(OSError):
            os.unlink(self._temporary)


_CREATE = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def open_list(path: str, given_up: threading.Event | None = None) -> Stream:
    """Open a file for lines as written in a list, which may hold passwords.

    A new file is readable by its owner only. Raises OSError.
    """
    errors = "surrogateescape"
    return open_file(path, whole=True, errors=errors, private=True, given_up=given_up)


def open_file(
    path: str,
    *,
    whole: bool,
    errors: str = "backslashreplace",
    private: bool = False,
    given_up: threading.Event | None = None,
) -> Stream:
    """Open an output file. Raises OSError.

    With `whole`, the file appears only when it is complete; with `private`, a new file is
    readable by its owner only. Both are without effect on a device or a FIFO. Opening a FIFO
    waits for its reader, until `given_up` is set. `errors` is the codec error handler.
    """
    special = os.path.exists(path) and not os.path.isfile(path)
    if whole and not special:
        if os.path.exists(path) and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return AtomicFile(path, errors=errors, private=private)
    if special and stat.S_ISFIFO(os.stat(path).st_mode):
        fd = _open_fifo(path, given_up or threading.Event())
    else:
        fd = os.open(path, _CREATE | os.O_TRUNC, 0o666)
    return Stream(path, fd, errors=errors, owned=True)


def _open_fifo(path: str, given_up: threading.Event) -> int:
    """Open a FIFO once it has a reader. Raises InterruptedError if `given_up` is set first.

    Nothing could end a blocking open: Python resumes it after a signal.
    """
    while True:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            if exc.errno != errno.ENXIO:  # no reader yet
                raise
            if given_up.wait(_POLL):
                raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR), path) from exc
        else:
            os.set_blocking(fd, True)
            return fd


def _queued(fd: int) -> int:
    """Return how many unread bytes a pipe, a socket or a terminal holds; 0 if unknown."""
    if not HAS_IOCTL:
        return 0
    with suppress(OSError):
        request = termios.FIONREAD if stat.S_ISFIFO(os.fstat(fd).st_mode) else termios.TIOCOUTQ
        return int.from_bytes(fcntl.ioctl(fd, request, bytes(4)), sys.byteorder)
    return 0


def _is_regular(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:  # closed: the first write raises
        return False


def _sync(fd: int) -> None:
    """Flush a regular file to disk; a pipe or a device has none."""
    if _is_regular(fd):
        os.fsync(fd)
