"""A check -> one line of JSON: ASCII, strict, with its line end."""

from crawler.models import Check
from crawler.report.record import encode as _encode
from crawler.report.record import record


def line(check: Check) -> str:
    return _encode(record(check)) + "\n"
