"""Seeds -> runs and the violations of each, several at a time."""

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.policies import generate, invariants, program


@dataclass(slots=True, kw_only=True)
class Played:
    """The result of one seed: complaints by invariant, and the duration of the run in seconds."""

    seed: int
    complaints: dict[str, list[str]]
    records: int
    requests: int
    seconds: float
    described: str


def play(
    seed: int,
    *,
    loop: str | None = None,
    engine: str | None = None,
    plant: str = "-",
    keep: str | None = None,
) -> Played:
    """Run one seed and judge it; its files are kept in `keep`, if given."""
    scenario = generate.scenario(seed, loop=loop, engine=engine)
    with TemporaryDirectory(prefix="crawl-policies-") as made:
        folder = Path(keep or made)
        run = program.run(scenario, folder, plant)
        (folder / "server.txt").write_text("\n".join(run.log.lines(run.started)), "utf-8")
    return Played(
        seed=seed,
        complaints=invariants.violations(run),
        records=len(run.records),
        requests=len(run.log.requests),
        seconds=run.finished - run.started,
        described=" ".join([scenario.engine, scenario.loop, *scenario.options.arguments()]),
    )


def play_all(
    seeds: Iterable[int],
    *,
    jobs: int,
    loop: str | None = None,
    engine: str | None = None,
) -> Iterator[Played]:
    """Run many seeds, `jobs` at a time, each in its own process; yield them as they finish."""
    one = partial(play, loop=loop, engine=engine)
    with workers(jobs) as pool:
        for done in as_completed([pool.submit(one, seed) for seed in seeds]):
            yield done.result()


def workers(jobs: int) -> ProcessPoolExecutor:
    """Return a pool of processes that run scenarios, each with its servers in a thread."""
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
