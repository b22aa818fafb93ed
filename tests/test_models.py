"""The limits of a crawl: which values are accepted."""

import math
from dataclasses import replace
from typing import Any

import pytest

from crawler.models import Limits


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"max": 0}, "max is less than 1"),
        ({"max": -1}, "max is less than 1"),
        ({"per_host": 0}, "per_host is less than 1"),
        ({"window": 0}, "window is less than 1"),
        ({"timeout": 0}, "timeout is not above 0"),
        ({"timeout": math.nan}, "timeout is not above 0"),
        ({"rate": 0}, "rate is not above 0"),
        ({"rate": -0.5}, "rate is not above 0"),
        ({"rate": math.nan}, "rate is not above 0"),
        ({"host_rate": 0.0}, "host_rate is not above 0"),
        ({"deadline": 0}, "deadline is not above 0"),
        ({"deadline": math.nan}, "deadline is not above 0"),
        ({"retries": -1}, "retries is less than 0"),
        ({"backoff": -0.1}, "backoff is less than 0"),
        ({"backoff": math.nan}, "backoff is less than 0"),
        ({"max_wait": -1}, "max_wait is less than 0"),
        ({"max_wait": math.nan}, "max_wait is less than 0"),
        ({"max_redirects": -1}, "max_redirects is less than 0"),
        ({"max_body": -1}, "max_body is less than 0"),
        ({"confirm_after": -1}, "confirm_after is less than 0"),
        ({"confirm_after": math.nan}, "confirm_after is less than 0"),
        ({"hedge_budget": -0.01}, "hedge_budget is not from 0 to 1"),
        ({"hedge_budget": 1.01}, "hedge_budget is not from 0 to 1"),
        ({"hedge_budget": math.nan}, "hedge_budget is not from 0 to 1"),
    ],
    ids=str,
)
def test_an_out_of_range_limit_is_rejected_by_name(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        Limits(**changes)
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        replace(Limits(), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"max": 1, "per_host": 1, "window": 1},
        {"rate": None, "host_rate": None, "deadline": None, "confirm_after": None},
        {"rate": 0.0001, "host_rate": 1e7, "deadline": 0.001, "timeout": 0.001},
        {"retries": 0, "backoff": 0, "max_wait": 0, "confirm_after": 0},
        {"max_redirects": 0, "max_body": 0, "hedge_budget": 0.0},
        {"hedge_budget": 1.0},
        {"timeout": math.inf, "max_wait": math.inf},
    ],
    ids=str,
)
def test_the_extreme_values_of_a_limit_are_accepted(changes: dict[str, Any]) -> None:
    limits = Limits(**changes)
    assert {name: getattr(limits, name) for name in changes} == changes
