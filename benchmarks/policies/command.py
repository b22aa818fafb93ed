"""`python -m benchmarks policies`: runs many seeds, and prints the violations of each."""

import argparse
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.policies import generate, mutants
from benchmarks.policies.play import Played, play, play_all

_SHOWN = 4  # complaints of one invariant that are shown


def main(arguments: Sequence[str]) -> int:
    """Return the exit code: 0 if no run broke an invariant."""
    chosen = _parser().parse_args(arguments)
    if chosen.keep is not None:
        Path(chosen.keep).mkdir(parents=True, exist_ok=True)
    if chosen.mutants:
        return mutants.main(chosen.runs, chosen.seed, chosen.jobs, chosen.plant or ())
    begun = time.monotonic()
    seeds = range(chosen.seed, chosen.seed + chosen.runs)
    if chosen.runs == 1:
        played: Iterable[Played] = [
            play(chosen.seed, loop=chosen.loop, engine=chosen.engine, keep=chosen.keep)
        ]
    else:
        played = play_all(seeds, jobs=chosen.jobs, loop=chosen.loop, engine=chosen.engine)
    bad, records, requests = 0, 0, 0
    for one in played:
        records += one.records
        requests += one.requests
        if one.complaints:
            bad += 1
            print(describe(one, chosen.loop, chosen.engine), flush=True)
    print(
        f"{chosen.runs} runs, {bad} with violations; {records:,} records, {requests:,} requests, "
        f"{time.monotonic() - begun:.0f} s"
    )
    return 1 if bad else 0


def describe(one: Played, loop: str | None, engine: str | None) -> str:
    """Return the violations of a seed, and the command that repeats it."""
    lines = [f"seed {one.seed} ({one.seconds:.2f} s): {one.described}"]
    for name, complaints in one.complaints.items():
        more = f" (and {len(complaints) - _SHOWN} more)" if len(complaints) > _SHOWN else ""
        lines += [f"  {name}: {complaint}" for complaint in complaints[:_SHOWN]]
        lines[-1] += more
    given = [f"--seed {one.seed}", "--runs 1"]
    given += [f"--loop {loop}"] if loop else []
    given += [f"--engine {engine}"] if engine else []
    lines.append(f"  repeat: python -m benchmarks policies {' '.join(given)}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks policies",
        description="Run random combinations of options against a scripted server.",
    )
    parser.add_argument("--runs", type=int, default=100, help="seeds to run (100)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument(
        "--loop", choices=generate.LOOPS, help="event loop (default: drawn by the seed)"
    )
    parser.add_argument(
        "--engine", choices=generate.ENGINES, help="engine (default: drawn by the seed)"
    )
    parser.add_argument(
        "--jobs", type=int, default=2 * (os.cpu_count() or 1), help="number of concurrent runs"
    )
    parser.add_argument("--keep", metavar="FOLDER", help="keep list, outputs and log there")
    parser.add_argument(
        "--mutants", action="store_true", help="plant faults, and show which invariants find each"
    )
    parser.add_argument(
        "--plant", action="append", metavar="TEXT", help="only faults with TEXT in their name"
    )
    return parser
