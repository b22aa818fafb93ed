"""Text -> bytes in a file or on a descriptor, unbuffered, so that no finished line is lost."""

import errno
import os
import secrets
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

# Bytes in one write. A pipe takes no more than that whole or not at all, so that a larger
# write could leave part of a line; a file is always ready, and the fewer writes the better.
_TO_PIPE = getattr(select, "PIPE_BUF", 4096)
_TO_FILE = 1_048_576
_LOOK = 0.05  # seconds between two looks for the reader of a FIFO


class Stream:
    """A descriptor to which each `write` goes whole and at once.

    Up to `piece` bytes go in one system call. `hurried` is set once a signal calls for the
    end: who has much to render then leaves the rest out, says so, and sets `cut`.
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
        self.piece = _TO_FILE if _is_regular(fd) else _TO_PIPE
        self.hurried = False
        self.cut = False
        self._written = 0
        self._writing = False

    def bytes_taken(self) -> int | None:
        """Return how many bytes the reader has taken so far; None while no write is waiting.

        Two equal numbers, some time apart, show a reader that has stalled.
        """
        return self._written - _queued(self.fd) if self._writing else None

    def write(self, text: str) -> None:
        """Write all of `text`; `errors` says what becomes of what the encoding lacks.

        Raises OSError.
        """
        data = memoryview(text.encode(self._encoding, self._errors))
        self._writing = True
        try:
            while data:
                try:
                    written = os.write(self.fd, data[: self.piece])
                except BlockingIOError:  # another process made the descriptor non-blocking
                    select.select([], [self.fd], [])
                    continue
                self._written += written
                data = data[written:]
        finally:
            self._writing = False

    def close(self) -> None:
        """Make what was written last. Raises OSError where that fails."""
        if self._owned:
            self._owned = False
            _sync(self.fd)
            os.close(self.fd)

    def discard(self) -> None:
        """Let go without finishing."""


class AtomicFile(Stream):
    """A file that appears under its name whole or not at all.

    It grows under another name in the same directory, and replaces the old one,
    whose permissions it takes, when it is closed.
    """

    def __init__(
        self, name: str, *, errors: str = "backslashreplace", private: bool = False
    ) -> None:
        self._path = os.path.realpath(name)
        self._growing = f"{self._path}.{secrets.token_hex(4)}.part"
        fd = os.open(self._growing, _CREATE | os.O_EXCL, 0o600 if private else 0o666)
        with suppress(OSError):
            os.chmod(self._growing, stat.S_IMODE(os.stat(self._path).st_mode))
        super().__init__(name, fd, errors=errors, owned=True)

    def close(self) -> None:
        try:
            super().close()
            os.replace(self._growing, self._path)
        except OSError:
            self.discard()
            raise

    def discard(self) -> None:
        with suppress(OSError):
            os.unlink(self._growing)


_CREATE = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def open_list(path: str, given_up: threading.Event | None = None) -> Stream:
    """Open a file for lines as they stood in a list; they may hold passwords.

    A new one is readable for its owner only. Raises OSError.
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
    """Open an output file, now, so that a bad path is known before the first request.

    `whole` asks for a file that appears only when it is complete, and `private` for one
    that only its owner reads where there is none yet; a device or a FIFO is written
    directly either way. A FIFO is waited for until it has a reader, or until `given_up`.
    Raises OSError.
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
    """Open a FIFO once it has a reader. Raises InterruptedError when the wait is given up.

    A blocking open would wait, too, but nothing could end it: Python resumes it after a signal.
    """
    while True:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            if exc.errno != errno.ENXIO:  # it has no reader
                raise
            if given_up.wait(_LOOK):
                raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR), path) from exc
        else:
            os.set_blocking(fd, True)
            return fd


def _queued(fd: int) -> int:
    """Return how many bytes wait in a pipe, a socket or a terminal; 0 where nobody can tell."""
    if not HAS_IOCTL:
        return 0
    with suppress(OSError):
        request = termios.FIONREAD if stat.S_ISFIFO(os.fstat(fd).st_mode) else termios.TIOCOUTQ
        return int.from_bytes(fcntl.ioctl(fd, request, bytes(4)), sys.byteorder)
    return 0


def _is_regular(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:  # closed: the first write says so
        return False


def _sync(fd: int) -> None:
    """Flush to the disk where there is one; a pipe or a device has none."""
    if _is_regular(fd):
        os.fsync(fd)
