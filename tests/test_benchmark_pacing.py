"""The benchmark of the scheduler: fair loads, correct bounds, and a run in short form."""

import random
import sys
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import steady
from short_form import short_form

pytest.importorskip("benchmarks", reason="benchmarks/ is in a checkout only")
if sys.platform == "win32":
    pytest.skip("the benchmarks need a Unix", allow_module_level=True)

from benchmarks import floors, pacing, tables
from benchmarks.pacing import Load, Simulation, Simulations


def load(latencies: Sequence[float], concurrency: int) -> Load:
    return Load(concurrency=concurrency, hosts=1, latencies=latencies, hedge_latencies=latencies)


def simulation(
    makespan: float,
    waits: Sequence[float],
    *,
    requests: int = 4,
    hedges: int = 0,
    cpu_wait: float | None = 0.0,
) -> Simulation:
    return Simulation(
        load=load([1.0] * 4, 2),
        makespan=makespan,
        cpu=0.1,
        cpu_wait=cpu_wait,
        waits=waits,
        requests=requests,
        hedges=hedges,
    )


@pytest.mark.parametrize(
    ("latencies", "concurrency", "bound", "greedy"),
    [
        ([1.0, 1.0, 1.0, 1.0], 2, 2.0, 2.0),
        ([3.0, 1.0, 1.0, 1.0], 2, 3.0, 3.0),
        ([1.0, 1.0, 1.0, 3.0], 2, 3.0, 4.0),
        ([2.0, 5.0], 10, 5.0, 5.0),
        ([2.0, 5.0], 1, 7.0, 7.0),
    ],
    ids=["even", "longest first", "longest last", "fewer than slots", "one slot"],
)
def test_the_bound_is_the_least_possible_and_greedy_keeps_the_order(
    latencies: list[float], concurrency: int, bound: float, greedy: float
) -> None:
    assert (load(latencies, concurrency).bound, load(latencies, concurrency).greedy) == (
        bound,
        greedy,
    )


@steady
@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=50), st.integers(1, 20))
def test_greedy_is_never_below_the_bound_and_less_than_twice_as_long(
    latencies: list[float], concurrency: int
) -> None:
    of = load(latencies, concurrency)
    assert of.bound * (1 - 1e-9) <= of.greedy < of.bound * 2  # R. L. Graham, 1966


@pytest.mark.parametrize("within", [1.0, 2 / 3])
def test_one_request_in_a_hundred_is_a_straggler_and_only_in_its_part_of_the_list(
    within: float,
) -> None:
    drawn = pacing.latencies(30_000, 5.0, random.Random(3), within=within)
    indices = [index for index, latency in enumerate(drawn) if latency == 5.0]
    assert len(drawn) == 30_000
    assert len(indices) == 300
    assert 30_000 * within * 0.95 < max(indices) < 30_000 * within
    assert max(after - before for before, after in pairwise(indices)) < 1_500


def test_latencies_have_the_documented_median_and_spread() -> None:
    body = sorted(one for one in pacing.latencies(30_000, 5.0, random.Random(3)) if one < 5.0)
    assert body[len(body) // 2] == pytest.approx(pacing.MEDIAN, rel=0.02)
    assert body[len(body) * 95 // 100] == pytest.approx(2.28 * pacing.MEDIAN, rel=0.03)


def test_the_same_seed_makes_the_same_loads() -> None:
    once, again = (pacing.latencies(500, 5.0, random.Random(7)) for _ in range(2))
    assert once == again
    assert once != pacing.latencies(500, 5.0, random.Random(8))


def test_each_url_has_one_wait_and_hedges_stay_within_their_budget() -> None:
    simulations = pacing.run(0.4, 0.3, concurrencies=(100,))
    assert [one.load.hosts for one in simulations.early] == [pacing.HOSTS, 1]
    for one in (*simulations.early, *(either for pair in simulations.anywhere for either in pair)):
        urls = len(one.load.latencies)
        assert len(one.waits) == urls
        assert one.requests == urls + one.hedges
        assert one.hedges <= pacing.BUDGET * one.requests
        assert one.makespan >= max(one.waits)
    for without, with_them in simulations.anywhere:
        assert without.hedges == 0
        assert with_them.hedges > 0


@pytest.mark.parametrize(
    ("makespan", "waits", "hedges", "missed"),
    [
        (2.1, [1.0], 2, []),
        (2.2, [1.0], 2, ["makespan / lower bound", "makespan / greedy's"]),
        (2.1, [3.0], 2, ["p99 with hedges / without"]),
        (2.1, [1.0], 3, ["hedges / requests"]),
    ],
    ids=["all reached", "too long", "hedges that harm", "too many hedges"],
)
def test_each_floor_is_missed_for_its_own_reason(
    makespan: float, waits: list[float], hedges: int, missed: list[str]
) -> None:
    without, with_them = (
        simulation(makespan, [2.0]),
        simulation(2.0, waits, requests=100, hedges=hedges),
    )
    simulations = Simulations(straggler=5.0, early=[without], anywhere=[(without, with_them)])
    found = [floor.figure for floor in floors.of_pacing(simulations) if not floor.reached]
    assert [figure.partition(",")[0] for figure in found] == missed


@pytest.mark.parametrize(
    ("makespan", "cpu_wait", "reached"),
    [(2.2, 0.5, None), (2.2, 0.01, False), (2.2, None, False), (2.0, 0.5, True)],
    ids=["busy machine", "idle machine", "not known", "busy but reached"],
)
def test_a_makespan_missed_on_a_busy_machine_counts_as_not_measured(
    makespan: float, cpu_wait: float | None, reached: bool | None
) -> None:
    one = simulation(makespan, [1.0], cpu_wait=cpu_wait)
    found = floors.of_pacing(Simulations(straggler=5.0, early=[one], anywhere=[(one, one)]))
    makespans = [floor.reached for floor in found if floor.figure.startswith("makespan")]
    assert makespans == [reached, reached]


def test_the_tables_show_what_was_measured() -> None:
    without, with_them = (
        simulation(2.1, [0.1, 5.0]),
        simulation(2.0, [0.1, 0.4], requests=100, hedges=2),
    )
    simulations = Simulations(straggler=5.0, early=[without], anywhere=[(without, with_them)])
    (makespan,) = tables.makespans(simulations).rows
    off, on = tables.waits(simulations).rows
    assert makespan == (
        *("2 at once, 1 host", "4", "2.00", "2.00", "2.10", "1.000", "1.050"),
        *("25,000", "0.00"),
    )
    assert off[1:] == (
        "off",
        "5,000",
        "5,000",
        "5,000",
        "5,000",
        "5,000",
        "0",
        "0.00%",
        "2.10",
        "1.050",
    )
    assert on[1:] == ("on", "400", "400", "400", "400", "400", "2", "2.00%", "2.00", "1.000")


def test_a_short_form_of_the_benchmark_shows_its_tables_and_judges_no_speed() -> None:
    ended, verdicts = short_form("pacing")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "### Makespan" in ended.stdout
    assert "### Waits" in ended.stdout
    assert len(verdicts) == 16
    assert all("| not judged" in line for line in verdicts)
