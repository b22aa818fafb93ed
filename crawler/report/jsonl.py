"""A check -> one line of JSON: ASCII, strict, with its line end."""

from crawler.models import Check
from crawler.report.record import record_text


def line(check: Check) -> str:
    return record_text(check) + "\n"
