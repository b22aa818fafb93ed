"""`python -m crawler`, and the command `crawl`: the process, before anything heavy is imported."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn


def main() -> "NoReturn":
    """Run the command line and exit at once.

    Interpreter shutdown is skipped: a daemon thread still inside getaddrinfo, OpenSSL or
    pyreqwest would crash it.
    """
    try:
        _exit_at_signals()
        _occupy_standard_descriptors()
        _collect_no_garbage()
        from crawler.cli import command

        code = command.main(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    except SystemExit as exc:  # from typer, if the reader of the help has gone
        code = exc.code if isinstance(exc.code, int) else 1
    except BaseException as exc:
        code = 2
        _print_fault(exc)
    os._exit(_flushed(code))


def _exit_at_signals() -> None:
    """Exit silently at the first signal, until the run installs its own handlers.

    The imports of a run take a fifth of a second, in which an interrupt would otherwise
    show a traceback.
    """
    # Built in: importing `signal` takes 3 ms more.
    import _signal as signal  # type: ignore[import-not-found]  # not in typeshed

    def leave(number: int, _frame: "FrameType | None") -> None:
        os._exit(128 + number)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def _collect_no_garbage() -> None:
    """Leave garbage until the event loop runs: imports make hardly any, for 5 % of a start."""
    import gc

    gc.disable()


def _occupy_standard_descriptors() -> None:
    """Open /dev/null on closed standard descriptors: uvloop aborts if a socket gets one of them."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)


def _print_fault(fault: BaseException) -> None:
    """Print the line of an unexpected exception; `crawler.cli` may be what failed to import."""
    from crawler.core import faults

    if sys.stderr is not None:
        print(f"crawl: {faults.describe(fault)}", file=sys.stderr)


def _flushed(code: int) -> int:
    """Flush the standard streams; return the exit code, 2 if standard output cannot be written."""
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
