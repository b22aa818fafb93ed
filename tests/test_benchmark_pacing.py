"""The benchmark of the schedule: fair loads, true bounds, and a short form of the whole."""

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
from benchmarks.pacing import Load, Paced, Played


def load(latencies: Sequence[float], concurrency: int) -> Load:
    return Load(concurrency=concurrency, hosts=1, latencies=latencies, again=latencies)


def paced(
    makespan: float,
    waits: Sequence[float],
    *,
    requests: int = 4,
    hedges: int = 0,
    kept: float | None = 0.0,
) -> Paced:
    return Paced(
        load=load([1.0] * 4, 2),
        makespan=makespan,
        cpu=0.1,
        kept=kept,
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
    ids=["even", "longest first", "longest last", "fewer than places", "one place"],
)
def test_the_bound_is_the_least_possible_and_greedy_goes_by_the_order(
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
def test_one_request_in_a_hundred_is_a_straggler_and_only_where_it_may_be(within: float) -> None:
    drawn = pacing.latencies(30_000, 5.0, random.Random(3), within=within)
    places = [place for place, latency in enumerate(drawn) if latency == 5.0]
    assert len(drawn) == 30_000
    assert len(places) == 300
    assert 30_000 * within * 0.95 < max(places) < 30_000 * within
    assert max(after - before for before, after in pairwise(places)) < 1_500


def test_the_body_has_the_median_and_the_spread_it_is_said_to_have() -> None:
    body = sorted(one for one in pacing.latencies(30_000, 5.0, random.Random(3)) if one < 5.0)
    assert body[len(body) // 2] == pytest.approx(pacing.MEDIAN, rel=0.02)
    assert body[len(body) * 95 // 100] == pytest.approx(2.28 * pacing.MEDIAN, rel=0.03)


def test_the_same_seed_makes_the_same_loads() -> None:
    once, again = (pacing.latencies(500, 5.0, random.Random(7)) for _ in range(2))
    assert once == again
    assert once != pacing.latencies(500, 5.0, random.Random(8))


def test_every_url_waits_once_and_hedges_keep_their_budget() -> None:
    played = pacing.play(0.4, 0.3, concurrencies=(100,))
    assert [one.load.hosts for one in played.even] == [pacing.HOSTS, 1]
    for one in (*played.even, *(either for pair in played.anywhere for either in pair)):
        urls = len(one.load.latencies)
        assert len(one.waits) == urls
        assert one.requests == urls + one.hedges
        assert one.hedges <= pacing.BUDGET * one.requests
        assert one.makespan >= max(one.waits)
    for without, with_them in played.anywhere:
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
def test_each_floor_is_missed_by_what_it_is_there_for(
    makespan: float, waits: list[float], hedges: int, missed: list[str]
) -> None:
    without, with_them = paced(makespan, [2.0]), paced(2.0, waits, requests=100, hedges=hedges)
    played = Played(straggler=5.0, even=[without], anywhere=[(without, with_them)])
    found = [floor.figure for floor in floors.of_pacing(played) if not floor.reached]
    assert [figure.partition(",")[0] for figure in found] == missed


@pytest.mark.parametrize(
    ("makespan", "kept", "reached"),
    [(2.2, 0.5, None), (2.2, 0.01, False), (2.2, None, False), (2.0, 0.5, True)],
    ids=["busy machine", "idle machine", "not known", "reached all the same"],
)
def test_a_makespan_missed_on_a_busy_machine_counts_as_not_measured(
    makespan: float, kept: float | None, reached: bool | None
) -> None:
    one = paced(makespan, [1.0], kept=kept)
    found = floors.of_pacing(Played(straggler=5.0, even=[one], anywhere=[(one, one)]))
    makespans = [floor.reached for floor in found if floor.figure.startswith("makespan")]
    assert makespans == [reached, reached]


def test_the_tables_say_what_was_measured() -> None:
    without, with_them = paced(2.1, [0.1, 5.0]), paced(2.0, [0.1, 0.4], requests=100, hedges=2)
    played = Played(straggler=5.0, even=[without], anywhere=[(without, with_them)])
    (makespan,) = tables.makespans(played).rows
    off, on = tables.waits(played).rows
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
