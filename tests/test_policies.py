"""Random combinations of options against a scripted server, judged by every invariant."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("benchmarks", reason="benchmarks/ is in a checkout only")
if sys.platform != "linux":
    pytest.skip("all of 127.0.0.0/8 is needed", allow_module_level=True)

from benchmarks.policies import generate, invariants
from benchmarks.policies.command import describe
from benchmarks.policies.invariants import limits, timing
from benchmarks.policies.play import Played, play, play_all

SEEDS = range(1, 41)
CLOCKED = {invariant.__name__ for invariant in (*limits.ALL, *timing.ALL)}


@pytest.fixture(scope="module")
def played() -> dict[int, Played]:
    return {one.seed: one for one in play_all(SEEDS, jobs=4)}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_combination_of_options_breaks_an_invariant(
    seed: int, played: dict[int, Played]
) -> None:
    one = played[seed]
    if one.complaints and one.complaints.keys() <= CLOCKED:
        # Another process may have slowed this one: a violation counts if it shows again, alone.
        again = play(seed).complaints
        one.complaints = {name: again[name] for name in one.complaints if name in again}
    assert not one.complaints, describe(one, None, None)


def test_the_seeds_have_every_engine_on_both_loops_and_a_list_beyond_the_window() -> None:
    scenarios = [generate.scenario(seed) for seed in SEEDS]
    assert {(one.engine, one.loop) for one in scenarios} == {
        (engine, loop) for engine in generate.ENGINES for loop in generate.LOOPS
    }
    assert any(len(one.pages) > one.window for one in scenarios)
    assert any(origin.tls for one in scenarios for origin in one.origins)


def test_the_same_seed_makes_the_same_scenario() -> None:
    assert generate.scenario(7) == generate.scenario(7)
    assert generate.scenario(7) != generate.scenario(8)
    assert generate.scenario(7, loop="uvloop", engine="httpx").engine == "httpx"


def test_every_fault_can_be_planted_and_has_an_invariant_to_find_it() -> None:
    from benchmarks.policies.plants import PLANTS

    names = {invariant.__name__ for invariant in invariants.ALL}
    assert [name for name, plant in PLANTS.items() if not names.issuperset(plant.suspects)] == []
    # In a process of its own: planting changes the program.
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", "policies", "--mutants", "--runs", "0"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == f"{len(PLANTS)} faults can be planted\n", ended.stderr


def test_a_planted_fault_is_found() -> None:
    clean, faulty = play(3), play(3, plant="every seventh record lost")
    assert "one_record_per_entry" not in clean.complaints
    assert "one_record_per_entry" in faulty.complaints
