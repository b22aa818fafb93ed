"""`python -m crawler`, and the command `crawl`: the door, before anything heavy is imported."""

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and leave at once.

    Without the interpreter's clean-up: a daemon thread that is inside a look-up, OpenSSL
    or pyreqwest at that moment would crash it, and nobody is to wait for such a thread.
    """
    _occupy_standard_descriptors()
    try:
        from crawler.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    os._exit(_flushed(code))


def _occupy_standard_descriptors() -> None:
    """Open what of 0, 1 and 2 is closed, or a socket would get the number: uvloop aborts then."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)


def _flushed(code: int) -> int:
    """Write what is still buffered, so that the interpreter's own exit cannot fail at it."""
    for stream, name in ((sys.stdout, "standard output"), (sys.stderr, None)):
        try:
            if stream is not None:
                stream.flush()
        except OSError as exc:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if name is not None and not isinstance(exc, BrokenPipeError):
                from crawler.cli import say

                say(f"cannot write {name}: {exc.strerror}")
                code = 2
    return code


if __name__ == "__main__":
    main()
