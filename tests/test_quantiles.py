"""Quantiles of values in constant memory."""

import math
import random
import tracemalloc
from collections.abc import Sequence
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.core.quantiles import Quantiles

PROPERTY = settings(derandomize=True, database=None, deadline=None)

LATENCIES = st.floats(1e-6, 1e5) | st.just(0.0)
NEAR = st.integers(0, 100).map(lambda n: 0.1 * 1.0001**n)
"""Latencies so close that many share a bucket."""
SHARES = ("0.5", "0.9", "0.95", "0.99", "1.0")


def quantiles(values: Sequence[float], *shares: float) -> list[float]:
    found = Quantiles()
    for value in values:
        found.insert(value)
    return found.at(*shares)


@PROPERTY
@given(st.lists(LATENCIES, min_size=1, max_size=120) | st.lists(NEAR, min_size=20, max_size=120))
def test_a_quantile_is_an_inserted_value_close_to_the_nearest_rank(values: list[float]) -> None:
    ordered = sorted(values)
    found = quantiles(values, *map(float, SHARES))
    for share, value in zip(SHARES, found, strict=True):
        exact = ordered[math.ceil(Fraction(share) * len(values)) - 1]
        assert value in values
        assert exact <= value <= exact * 1.001 * (1 + 1e-9)


@PROPERTY
@given(st.lists(LATENCIES | NEAR, min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_quantiles_do_not_depend_on_the_order_of_values(
    values: list[float], chance: random.Random
) -> None:
    shuffled = chance.sample(values, len(values))
    assert quantiles(shuffled, 0.1, 0.5, 0.99) == quantiles(values, 0.1, 0.5, 0.99)


def test_the_last_quantile_is_the_maximum() -> None:
    assert quantiles([0.3, 0.1, 0.2], 0.0, 1.0) == [0.1, 0.3]
    assert quantiles([0.5], 0.0, 0.5, 1.0) == [0.5, 0.5, 0.5]


def test_quantiles_use_constant_memory() -> None:
    found = Quantiles()
    tracemalloc.start()
    try:
        for n in range(50_000):
            found.insert(0.1 + n / 500_000)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.count == 50_000
    assert grown < 400_000
