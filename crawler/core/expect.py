"""A result and what was expected of it -> a verdict."""

import re

from crawler.models import Expectation, FetchResult, Outcome, Verdict

_RANGE = re.compile(r"([0-9]{3})(?:-([0-9]{3}))?|([1-9])xx", re.ASCII | re.IGNORECASE)


def parse(text: str) -> Expectation:
    """Return the expectation that "200,204,300-399" or "2xx" stands for.

    Raises ValueError with the part and the rule it breaks.
    """
    accept = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"has '{part.strip()}', no status such as 204, 2xx or 200-399")
        if match[3]:
            low, high = int(match[3]) * 100, int(match[3]) * 100 + 99
        else:
            low, high = int(match[1]), int(match[2] or match[1])
        if low < 100 or high < low:
            raise ValueError(f"has '{part.strip()}', no range of statuses from low to high")
        accept.append((low, high))
    return Expectation(accept=tuple(accept))


def judge(result: FetchResult) -> Verdict:
    """Return the verdict on a result, by the expectation its target carries."""
    if result.outcome is Outcome.RESPONDED:
        status = result.status
        accept = result.target.expectation.accept
        for low, high in accept:
            if status is not None and low <= status <= high:
                return PASS
        return Verdict(reasons=(f"status {status} is not in {_show(accept)}",))
    if result.error is not None:
        return Verdict(reasons=(result.error.detail,))
    return Verdict(reasons=("not reached: the crawl ended first",))


PASS = Verdict()


def _show(accept: tuple[tuple[int, int], ...]) -> str:
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in accept)
