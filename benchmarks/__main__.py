"""`python -m benchmarks [WORKLOAD ...]`: crawl and its peers in turn, and what came of it.

`python -m benchmarks policies` is another program, which measures nothing: see there.

Tables go to standard output as Markdown, progress to standard error. The exit code is 0
when every floor was reached, 1 when one was missed or could not be measured or a client
failed, 2 when the benchmark itself could not run.
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
_SERVED = ("one-host", "origins", "tls")  # what memory is told of


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["policies"]:
        from benchmarks.policies import command  # it needs trustme, the others do not

        return command.main(arguments[1:])
    asked = _parser().parse_args(arguments)
    chosen = list(dict.fromkeys(asked.workload or ALL))
    runs = asked.runs or (1 if asked.quick else 5)
    signal.signal(signal.SIGTERM, _end)
    try:
        executable()
        workloads.raise_open_files()
        shown, good = _play(chosen, runs, quick=asked.quick)
        about = machine.described(arguments)
    except NginxError as exc:
        print(f"benchmarks: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: interrupted; all that was started is ended", file=sys.stderr)
        return 130
    print(about, *(table.markdown() for table in shown), sep="\n\n")
    return 0 if good else 1


def _play(chosen: Sequence[str], runs: int, *, quick: bool) -> tuple[list[Table], bool]:
    """Do what is chosen; return the tables, and whether all is as it is to be."""
    shown: list[Table] = []
    reached: list[Floor] = []
    outcomes: list[Outcome] = []
    for workload in workloads.all_of_them(quick=quick):
        for_memory = "memory" in chosen and workload.name in _SERVED
        if workload.name in chosen or (for_memory and not set(chosen) & set(_SERVED)):
            outcome = workloads.play(workload, runs)
            outcomes.append(outcome)
            reached += floors.of_outcome(outcome)
            if workload.name in chosen:
                one = tables.times if workload.name == "startup" else tables.rates
                shown.append(one(outcome))
    if "memory" in chosen:
        shown.append(tables.peaks([o for o in outcomes if o.workload.name in _SERVED]))
    if "latency" in chosen:
        found = latency.play(500 if quick else 5_000, runs)
        shown.append(tables.latencies(found))
        reached += floors.of_latency(found)
    if "pacing" in chosen:
        paced = pacing.play(0.3, 0.2) if quick else pacing.play(20.0, 5.0)
        shown += [tables.makespans(paced), tables.waits(paced)]
        reached += floors.of_pacing(paced)
    if "soak" in chosen:
        soaked = soak.play(5_000 if quick else 200_000)
        shown.append(tables.soak(soaked))
        reached += floors.of_soak(soaked)
    if reached:
        shown.append(floors.table(reached, quick=quick))
    fallen = any(row.failed for outcome in outcomes for row in outcome.rows)
    return shown, not fallen and all(
        floor.reached for floor in reached if floor.counts(quick=quick)
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure crawl and its peers in turn, against a real nginx on this machine.",
    )
    parser.add_argument(
        "workload", nargs="*", type=_workload, metavar="WORKLOAD", help=f"of {', '.join(ALL)}; all"
    )
    parser.add_argument("--runs", type=_count, help="runs of each client (5; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="few URLs: to see that it works")
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
    """Turn SIGTERM into the road of Ctrl-C, on which everything started is ended."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
