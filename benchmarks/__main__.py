"""`python -m benchmarks [WORKLOAD ...]`: measures crawl and its peers in turn.

`python -m benchmarks chart FILE` and `python -m benchmarks summary FILE` show what a run
wrote with `--json FILE`. `python -m benchmarks policies` is a test program and measures
nothing: see `benchmarks.policies`.

Tables go to standard output as Markdown, progress to standard error. Exit codes: 0 every
floor was reached, 1 a floor was missed or not measured or a client failed, 2 the benchmark
itself could not run.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks import document, machine, show, suite, turns
from benchmarks.children import ServerError
from benchmarks.nginx import executable


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["policies"]:
        from benchmarks.policies import command  # needs trustme, which the others do not

        return command.main(arguments[1:])
    if arguments[:1] and arguments[0] in show.FORMS:
        return show.main(arguments)
    options = _parser().parse_args(arguments)
    rounds = options.runs or (1 if options.quick else 5)
    signal.signal(signal.SIGTERM, _end)
    try:
        executable()
        turns.raise_open_files()
        with open(options.json or os.devnull, "w", encoding="utf-8") as file:
            results = suite.run(options.workload or suite.ALL, rounds, quick=options.quick)
            about = machine.circumstances(_described(options))
            file.write(document.dump(results, about))
    except (ServerError, OSError) as exc:
        print(f"benchmarks: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: interrupted; all processes were ended", file=sys.stderr)
        return 130
    print(about.described(), *(table.markdown() for table in results.tables), sep="\n\n")
    return 0 if results.good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure crawl and its peers in turn, against a real nginx on this machine.",
    )
    parser.add_argument(
        "workload",
        nargs="*",
        type=_workload,
        metavar="WORKLOAD",
        help=f"one of {', '.join(suite.ALL)} (default: all)",
    )
    parser.add_argument(
        "--runs", type=_count, help="runs of each client (default: 5; with --quick 1)"
    )
    parser.add_argument("--quick", action="store_true", help="a minute: few URLs, main clients")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON too")
    return parser


def _described(options: argparse.Namespace) -> str:
    """Return the command line as somebody else would type it, without the name of a file."""
    runs = ["--runs", str(options.runs)] if options.runs else []
    quick = ["--quick"] if options.quick else []
    return " ".join(["python -m benchmarks", *options.workload, *runs, *quick])


def _workload(text: str) -> str:
    if text in suite.ALL:
        return text
    raise argparse.ArgumentTypeError(f"'{text}' is not one of {', '.join(suite.ALL)}")


def _count(text: str) -> int:
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")


def _end(_number: int, _frame: object) -> NoReturn:
    """Treat SIGTERM as Ctrl-C, so that all processes are ended."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
