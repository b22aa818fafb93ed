"""Each planted fault -> the number of seeds until it is found, and the invariants that find it."""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from benchmarks.markdown import Table
from benchmarks.policies.plants import PLANTS
from benchmarks.policies.play import play, workers

Clean = dict[tuple[int, str | None], set[str]]
"""The invariants that a seed breaks without a fault, by seed and engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A fault, the number of seeds until it was found (None: never), and the broken invariants."""

    plant: str
    seeds: int | None
    invariants: tuple[str, ...]


def main(most: int, first: int, jobs: int, names: Sequence[str]) -> int:
    """Print the table; return 0 if every fault was found within `most` seeds.

    With `most` 0, only check that each fault can be planted.
    """
    bad = [name for name in PLANTS if not _plantable(name)]
    if bad or most == 0:
        print(f"cannot be planted: {bad}" if bad else f"{len(PLANTS)} faults can be planted")
        return 2 if bad else 0
    chosen = [name for name in PLANTS if not names or any(part in name for part in names)]
    clean: Clean = {}
    found = []
    with workers(jobs) as pool:
        for name in chosen:
            one = _hunt(pool, name, range(first, first + most), jobs, clean)
            found.append(one)
            print(f"{one.plant}: {one.seeds}, {', '.join(one.invariants)}", file=sys.stderr)
    print(_table(found, most).markdown())
    return 0 if all(one.seeds is not None for one in found) else 1


def _plantable(name: str) -> bool:
    """Whether the code that the fault changes still exists; tried in a child process."""
    child = os.fork()
    if child == 0:
        try:
            PLANTS[name].apply()
        except BaseException as exc:
            print(f"{name}: {exc!r}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def _hunt(
    pool: ProcessPoolExecutor,
    name: str,
    seeds: Sequence[int],
    jobs: int,
    clean: Clean,
) -> Found:
    """Run the seeds, some at a time, until an invariant is broken by the fault alone."""
    engine = PLANTS[name].engine
    for begin in range(0, len(seeds), jobs):
        some = seeds[begin : begin + jobs]
        played = list(pool.map(partial(play, plant=name, engine=engine), some))
        for number, one in enumerate(played, begin + 1):
            broken = set(one.complaints)
            if broken.intersection(PLANTS[name].suspects):
                broken -= _without(one.seed, engine, clean)
            if broken.intersection(PLANTS[name].suspects):
                return Found(plant=name, seeds=number, invariants=tuple(sorted(broken)))
    return Found(plant=name, seeds=None, invariants=())


def _without(seed: int, engine: str | None, clean: Clean) -> set[str]:
    """Return the invariants that a seed breaks without a fault."""
    if (seed, engine) not in clean:
        clean[seed, engine] = set(play(seed, engine=engine).complaints)
    return clean[seed, engine]


def _table(found: Sequence[Found], most: int) -> Table:
    rows = [
        (
            one.plant,
            ", ".join(one.invariants) or "none",
            f"{one.seeds}" if one.seeds is not None else f"more than {most}",
        )
        for one in found
    ]
    caught = Counter(one.seeds is not None for one in found)
    return Table(
        title="Planted faults",
        note=f"{caught[True]} of {len(found)} found; one at a time, seeds in order.",
        columns=("fault", "found by", "seeds"),
        rows=tuple(rows),
        words=2,
    )
