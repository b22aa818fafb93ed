"""The exit code of every kind of run."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import EVERY, FAILED, INVALID, PASSED, UNREACHED, summary

from crawler.cli import values as options
from crawler.core.exitcode import ExitCode, exit_code
from crawler.core.summary import CrawlStats, Tolerance
from crawler.models import Check

PROPERTY = settings(derandomize=True, database=None, deadline=None)


@pytest.mark.parametrize(
    ("checks", "how", "code"),
    [
        pytest.param([PASSED], {}, 0, id="all passed"),
        pytest.param([PASSED, FAILED], {}, 1, id="one failed"),
        pytest.param([PASSED, INVALID], {}, 1, id="one invalid"),
        pytest.param([FAILED, UNREACHED], {}, 1, id="failed and unreached"),
        pytest.param([PASSED, UNREACHED], {}, 3, id="unreached"),
        pytest.param([UNREACHED], {}, 3, id="nothing checked"),
        pytest.param([PASSED], {"list_read": False}, 3, id="list not read to its end"),
        pytest.param([FAILED], {"list_read": False}, 1, id="failed, list not read"),
        pytest.param([], {}, 2, id="nothing to check"),
        pytest.param([], {"duplicates": 3}, 2, id="no target"),
        pytest.param([PASSED], {"output_failed": True}, 2, id="output"),
        pytest.param([FAILED, UNREACHED], {"output_failed": True}, 2, id="output and failed"),
        pytest.param([PASSED], {"list_failed": True, "list_read": False}, 2, id="not a list"),
        pytest.param([FAILED], {"list_failed": True}, 2, id="not a list and failed"),
        pytest.param([PASSED], {"interrupted": 2}, 130, id="SIGINT"),
        pytest.param([PASSED], {"interrupted": 15}, 143, id="SIGTERM"),
        pytest.param([FAILED, UNREACHED], {"interrupted": 2, "list_read": False}, 130, id="any"),
        pytest.param([], {"interrupted": 15}, 143, id="interrupted before the first"),
    ],
)
def test_the_exit_code_follows_from_the_summary(
    checks: list[Check], how: dict[str, int], code: int
) -> None:
    assert exit_code(summary(*checks, stats=CrawlStats(elapsed=1.0, **how))) == code  # type: ignore[arg-type] # bool and int


@pytest.mark.parametrize(
    ("checks", "how", "code"),
    [
        pytest.param([FAILED], {"tolerance": Tolerance(count=1)}, 0, id="as many as may fail"),
        pytest.param([FAILED, FAILED], {"tolerance": Tolerance(count=1)}, 1, id="one more"),
        pytest.param(
            [FAILED, INVALID], {"tolerance": Tolerance(count=1)}, 1, id="an invalid one counts"
        ),
        pytest.param(
            [FAILED, INVALID], {"tolerance": Tolerance(count=2)}, 0, id="an invalid one may fail"
        ),
        pytest.param([PASSED, FAILED], {"tolerance": Tolerance(share=0.5)}, 0, id="half"),
        pytest.param(
            [PASSED, FAILED], {"tolerance": Tolerance(share=0.49)}, 1, id="less than half"
        ),
        pytest.param([FAILED], {"tolerance": Tolerance(share=1.0)}, 0, id="all"),
        pytest.param([FAILED], {"tolerance": Tolerance(share=0.0)}, 1, id="none"),
        pytest.param(
            [PASSED] * 99 + [FAILED], {"tolerance": Tolerance(share=0.01)}, 0, id="one in a hundred"
        ),
        pytest.param(
            [FAILED, UNREACHED], {"tolerance": Tolerance(count=1)}, 3, id="tolerated, but unreached"
        ),
        pytest.param(
            [FAILED, UNREACHED], {"tolerance": Tolerance(count=0)}, 1, id="failed and unreached"
        ),
        pytest.param(
            [FAILED], {"tolerance": Tolerance(count=9), "list_read": False}, 3, id="list not read"
        ),
        pytest.param(
            [FAILED], {"tolerance": Tolerance(count=9), "output_failed": True}, 2, id="output"
        ),
        pytest.param(
            [FAILED], {"tolerance": Tolerance(count=9), "interrupted": 2}, 130, id="SIGINT"
        ),
        pytest.param([], {"tolerance": Tolerance(count=9)}, 2, id="nothing to check"),
    ],
)
def test_tolerated_failures_do_not_affect_the_exit_code(
    checks: list[Check], how: dict[str, Any], code: int
) -> None:
    made = summary(*checks, stats=CrawlStats(elapsed=1.0, **how))
    assert exit_code(made) == code
    assert made.failed + made.invalid == len([one for one in checks if one.ok is False])


def test_a_percentage_of_a_hundred_urls_is_exact() -> None:
    """0.29 * 100 is less than 29 in binary floating point."""
    for percent in range(100):
        stats = CrawlStats(elapsed=1.0, tolerance=options.tolerance(f"{percent}%"))
        just = [FAILED] * percent + [PASSED] * (100 - percent)
        over = [FAILED] * (percent + 1) + [PASSED] * (99 - percent)
        codes = exit_code(summary(*just, stats=stats)), exit_code(summary(*over, stats=stats))
        assert codes == (0, 1), f"{percent}%"


@PROPERTY
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_exactly_the_tolerated_number_of_failures_passes(
    failures: int, passes: int, tolerated: int
) -> None:
    stats = CrawlStats(elapsed=1.0, tolerance=Tolerance(count=tolerated))
    made = summary(*[FAILED] * failures, *[PASSED] * (passes + 1), stats=stats)
    assert exit_code(made) == (ExitCode.PASSED if failures <= tolerated else ExitCode.FAILED)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_only_a_pass_exits_with_zero(name: str) -> None:
    one = EVERY[name]
    assert (exit_code(summary(one)) == 0) is (one.ok is True)
    assert (exit_code(summary(PASSED, one)) == 0) is (one.ok is True)
