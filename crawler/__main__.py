"""`python -m crawler`, and the command `crawl`: the door, before anything heavy is imported."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn


def main() -> "NoReturn":
    """Run the command line and leave at once.

    Without the interpreter's clean-up: a daemon thread that is inside a look-up, OpenSSL
    or pyreqwest at that moment would crash it, and nobody is to wait for such a thread.
    """
    try:
        _end_at_signals()
        _occupy_standard_descriptors()
        from crawler.cli import command

        code = command.main(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    except SystemExit as exc:  # typer, when the reader of its help has gone
        code = exc.code if isinstance(exc.code, int) else 1
    except BaseException as exc:
        code = 2
        _say(exc)
    os._exit(_flushed(code))


def _end_at_signals() -> None:
    """Let the first signal to end do so in silence, until the run has its own way to end.

    Importing all that a run needs takes a fifth of a second, and Python would show where
    it was then.
    """
    # Built in: importing `signal` takes 3 ms more.
    import _signal as signal  # type: ignore[import-not-found]  # not in typeshed

    def end(number: int, _frame: "FrameType | None") -> None:
        os._exit(128 + number)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def _occupy_standard_descriptors() -> None:
    """Open what of 0, 1 and 2 is closed, or a socket would get the number: uvloop aborts then."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)


def _say(fault: BaseException) -> None:
    """Write the line about what nobody expected; `crawler.cli` may be what cannot be imported."""
    from crawler.core import faults

    if sys.stderr is not None:
        print(f"crawl: {faults.describe(fault)}", file=sys.stderr)


def _flushed(code: int) -> int:
    """Write what is still buffered, so that the interpreter's own exit cannot fail at it."""
    for stream, name in ((sys.stdout, "standard output"), (sys.stderr, None)):
        try:
            if stream is not None:
                stream.flush()
        except OSError as exc:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if name is not None and not isinstance(exc, BrokenPipeError):
                from crawler.cli.stderr import print_line

                print_line(f"cannot write {name}: {exc.strerror}")
                code = 2
    return code


if __name__ == "__main__":
    main()
