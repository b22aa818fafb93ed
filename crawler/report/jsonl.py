"""A check -> its record as one line of strict ASCII JSON, with the line end."""

from crawler.models import Check
from crawler.report import record


def line(check: Check) -> str:
    return record.dumps(check) + "\n"
