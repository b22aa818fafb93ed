"""The help shows the defaults of the models, in a form that the options read back."""

from collections.abc import Callable

import pytest
from shell import crawl

from crawler.cli import defaults, values
from crawler.core import expect, units
from crawler.core.hedge import DEFAULT_BUDGET
from crawler.core.retry import DEFAULT_CONFIRM_AFTER
from crawler.core.summary import NO_TOLERANCE
from crawler.models import Expectation, Limits

LIMITS = Limits()
SHOWN: dict[str, tuple[str, Callable[[str], object], object]] = {
    "--accept": (defaults.ACCEPT, expect.parse, Expectation()),
    "--max-failures": (defaults.MAX_FAILURES, values.tolerance, NO_TOLERANCE),
    "--timeout": (defaults.TIMEOUT, values.seconds, LIMITS.timeout),
    "--max-redirects": (defaults.MAX_REDIRECTS, values.count(0), LIMITS.max_redirects),
    "--max-body": (defaults.MAX_BODY, units.parse_size, LIMITS.max_body),
    "--max": (defaults.MAX, values.count(1), LIMITS.max),
    "--per-host": (defaults.PER_HOST, values.count(1), LIMITS.per_host),
    "--max-wait": (defaults.MAX_WAIT, values.pause, LIMITS.max_wait),
    "--retries": (defaults.RETRIES, values.count(0), LIMITS.retries),
    "--backoff": (defaults.BACKOFF, values.pause, LIMITS.backoff),
    "--confirm-after": (defaults.CONFIRM_AFTER, values.pause, DEFAULT_CONFIRM_AFTER),
    "--hedge-budget": (defaults.HEDGE_BUDGET, values.share, DEFAULT_BUDGET),
}


@pytest.mark.parametrize("option", SHOWN)
def test_a_default_is_the_one_of_the_models(option: str) -> None:
    text, convert, expected = SHOWN[option]
    assert convert(text) == expected


def test_the_help_shows_every_default() -> None:
    lines = {line.split()[0]: line for line in crawl("--help").stdout.splitlines() if line.split()}
    assert {option: lines[option].rpartition("  [")[2] for option in SHOWN} == {
        option: f"default: {text}]" for option, (text, _, _) in SHOWN.items()
    }
