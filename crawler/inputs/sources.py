"""A command-line argument -> the open source that it names."""

import errno
import os
import stat

from crawler.core.display import safe_loosely
from crawler.core.urllist import ListError


class Source:
    """One source of entries: an open file, a FIFO, or a URL given as an argument.

    `size` is in bytes, None unless it is a regular file; `read` counts the bytes read.
    """

    def __init__(
        self, name: str, fd: int | None = None, size: int | None = None, *, fifo: bool = False
    ) -> None:
        self.name = name
        self.fd = fd
        self.size = size
        self.read = 0
        self.fifo = fifo

    @property
    def is_list(self) -> bool:
        """Whether it holds lines, rather than being a URL itself."""
        return self.fd is not None or self.fifo


def open_source(argument: str, stdin: int | None, masked: frozenset[str] = frozenset()) -> Source:
    """Return the source that an argument names: a URL, `-` for the descriptor `stdin`, or a file.

    Raises ListError with the path and the reason if it cannot be opened; in the path, the
    values of the `masked` parameters are hidden.
    """
    if "://" in argument:
        return Source(name=argument)
    if argument == "-":
        if stdin is None:
            raise ListError("nothing to check: standard input is closed")
        return Source(name="-", fd=stdin, size=_regular_size(stdin))
    try:
        if stat.S_ISFIFO(os.stat(argument).st_mode):
            return Source(name=argument, fifo=True)  # opening it may block until there is a writer
        fd = os.open(argument, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except (OSError, ValueError) as exc:
        shown = safe_loosely(argument, masked)
        reason = getattr(exc, "strerror", None) or str(exc)
        hint = ""
        if isinstance(exc, FileNotFoundError) and "." in argument.strip("."):
            hint = f" (to check a URL, write https://{shown})"
        raise ListError(f"cannot read {shown}: {reason}{hint}") from exc
    return Source(name=argument, fd=fd, size=_regular_size(fd))


def _regular_size(fd: int) -> int | None:
    info = os.fstat(fd)
    return info.st_size if stat.S_ISREG(info.st_mode) else None
