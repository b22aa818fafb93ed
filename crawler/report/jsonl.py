"""A check -> one line of JSON: ASCII, strict, with its line end."""

import json

from crawler.models import Check
from crawler.report.record import record

_encode = json.JSONEncoder(allow_nan=False, check_circular=False).encode


def line(check: Check) -> str:
    return _encode(record(check)) + "\n"
