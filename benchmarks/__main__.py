"""`python -m benchmarks [WORKLOAD ...]`: measures crawl and its peers in turn.

`python -m benchmarks policies` is a test program and measures nothing: see
`benchmarks.policies`.

Tables go to standard output as Markdown, progress to standard error. Exit codes: 0 every
floor was reached, 1 a floor was missed or not measured or a client failed, 2 the benchmark
itself could not run.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from benchmarks import floors, latency, machine, pacing, soak, tables, workloads
from benchmarks.markdown import Table
from benchmarks.nginx import NginxError, executable

if TYPE_CHECKING:
    from benchmarks.floors import Floor
    from benchmarks.workloads import Outcome

ALL = ("one-host", "origins", "tls", "startup", "memory", "latency", "pacing", "soak")
_WITH_PEAKS = ("one-host", "origins", "tls")  # the workloads that memory reports on


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["policies"]:
        from benchmarks.policies import command  # needs trustme, which the others do not

        return command.main(arguments[1:])
    options = _parser().parse_args(arguments)
    chosen = list(dict.fromkeys(options.workload or ALL))
    runs = options.runs or (1 if options.quick else 5)
    signal.signal(signal.SIGTERM, _end)
    try:
        executable()
        workloads.raise_open_files()
        shown, good = _measure(chosen, runs, quick=options.quick)
        about = machine.described(arguments)
    except NginxError as exc:
        print(f"benchmarks: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: interrupted; all processes were ended", file=sys.stderr)
        return 130
    print(about, *(table.markdown() for table in shown), sep="\n\n")
    return 0 if good else 1


def _measure(chosen: Sequence[str], runs: int, *, quick: bool) -> tuple[list[Table], bool]:
    """Run the chosen workloads; return the tables, and whether all floors were reached."""
    shown: list[Table] = []
    reached: list[Floor] = []
    outcomes: list[Outcome] = []
    for workload in workloads.all_workloads(quick=quick):
        for_memory = "memory" in chosen and workload.name in _WITH_PEAKS
        if workload.name in chosen or (for_memory and not set(chosen) & set(_WITH_PEAKS)):
            outcome = workloads.run(workload, runs)
            outcomes.append(outcome)
            reached += floors.of_outcome(outcome)
            if workload.name in chosen:
                table = tables.times if workload.name == "startup" else tables.rates
                shown.append(table(outcome))
    if "memory" in chosen:
        shown.append(tables.peaks([o for o in outcomes if o.workload.name in _WITH_PEAKS]))
    if "latency" in chosen:
        found = latency.run(500 if quick else 5_000, runs)
        shown.append(tables.latencies(found))
        reached += floors.of_latency(found)
    if "pacing" in chosen:
        simulations = pacing.run(0.3, 0.2) if quick else pacing.run(20.0, 5.0)
        shown += [tables.makespans(simulations), tables.waits(simulations)]
        reached += floors.of_pacing(simulations)
    if "soak" in chosen:
        soaked = soak.run(5_000 if quick else 200_000)
        shown.append(tables.soak(soaked))
        reached += floors.of_soak(soaked)
    if reached:
        shown.append(floors.table(reached, quick=quick))
    failed = any(row.failed for outcome in outcomes for row in outcome.rows)
    return shown, not failed and all(
        floor.reached for floor in reached if floor.counts(quick=quick)
    )


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
        help=f"one of {', '.join(ALL)} (default: all)",
    )
    parser.add_argument(
        "--runs", type=_count, help="runs of each client (default: 5; with --quick 1)"
    )
    parser.add_argument("--quick", action="store_true", help="few URLs, as a trial")
    return parser


def _workload(text: str) -> str:
    if text in ALL:
        return text
    raise argparse.ArgumentTypeError(f"'{text}' is not one of {', '.join(ALL)}")


def _count(text: str) -> int:
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")


def _end(_number: int, _frame: object) -> NoReturn:
    """Treat SIGTERM as Ctrl-C, so that all processes are ended."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
