"""Text -> bytes in a file or on a descriptor, unbuffered, so that no finished line is lost."""

import errno
import os
import secrets
import select
import stat
import sys
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


class Stream:
    """A descriptor to which each `write` goes whole and at once.

    Up to `piece` bytes go in one system call.
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
        self._fd = fd
        self._encoding = encoding
        self._errors = errors
        self._owned = owned
        self.piece = _TO_FILE if _is_regular(fd) else _TO_PIPE
        self._written = 0
        self._writing = False

    def taken(self) -> int | None:
        """Return how many bytes the reader has taken so far; None while no write is waiting.

        Two equal numbers, some time apart, show a reader that has stalled.
        """
        return self._written - _queued(self._fd) if self._writing else None

    def write(self, text: str) -> None:
        """Write all of `text`; `errors` says what becomes of what the encoding lacks.

        Raises OSError.
        """
        data = memoryview(text.encode(self._encoding, self._errors))
        self._writing = True
        try:
            while data:
                try:
                    written = os.write(self._fd, data[: self.piece])
                except BlockingIOError:  # another process made the descriptor non-blocking
                    select.select([], [self._fd], [])
                    continue
                self._written += written
                data = data[written:]
        finally:
            self._writing = False

    def close(self) -> None:
        """Make what was written last. Raises OSError where that fails."""
        if self._owned:
            self._owned = False
            _sync(self._fd)
            os.close(self._fd)

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


def open_list(path: str) -> Stream:
    """Open a file for lines as they stood in a list; they may hold passwords.

    A new one is readable for its owner only. Raises OSError.
    """
    return open_file(path, whole=True, errors="surrogateescape", private=True)


def open_file(
    path: str, *, whole: bool, errors: str = "backslashreplace", private: bool = False
) -> Stream:
    """Open an output file, now, so that a bad path is known before the first request.

    `whole` asks for a file that appears only when it is complete, and `private` for one
    that only its owner reads where there is none yet; a device or a FIFO is written
    directly either way. Raises OSError.
    """
    special = os.path.exists(path) and not os.path.isfile(path)
    if whole and not special:
        if os.path.exists(path) and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return AtomicFile(path, errors=errors, private=private)
    fd = os.open(path, _CREATE | os.O_TRUNC, 0o666)
    return Stream(path, fd, errors=errors, owned=True)


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
