"""An argument -> the open source that it names."""

import errno
import os
import stat
from dataclasses import dataclass

from crawler.core.display import display, mask_loosely
from crawler.core.urllist import ListError


@dataclass(slots=True)
class Source:
    """One place that entries come from: an open file, or a URL given as an argument.

    `size` is the file's bytes, None where it has no end that is known yet.
    """

    name: str
    fd: int | None = None
    size: int | None = None
    read: int = 0
    fifo: bool = False


def open_source(argument: str, stdin: int | None, masked: frozenset[str] = frozenset()) -> Source:
    """Return the source an argument names: a URL, `-` for the descriptor `stdin`, or a file.

    Raises ListError with the path and the reason where there is nothing to read; of the
    path, the values of the parameters `masked` are hidden.
    """
    if "://" in argument:
        return Source(name=argument)
    if argument == "-":
        if stdin is None:
            raise ListError("nothing to check: standard input is closed")
        return Source(name="-", fd=stdin, size=_regular_size(stdin))
    try:
        if stat.S_ISFIFO(os.stat(argument).st_mode):
            return Source(name=argument, fifo=True)  # its opening may wait for a writer
        fd = os.open(argument, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except (OSError, ValueError) as exc:
        shown = display(mask_loosely(argument, masked))
        reason = getattr(exc, "strerror", None) or str(exc)
        hint = ""
        if isinstance(exc, FileNotFoundError) and "." in argument.strip("."):
            hint = f" (for a URL write https://{shown})"
        raise ListError(f"cannot read {shown}: {reason}{hint}") from exc
    return Source(name=argument, fd=fd, size=_regular_size(fd))


def _regular_size(fd: int) -> int | None:
    info = os.fstat(fd)
    return info.st_size if stat.S_ISREG(info.st_mode) else None
