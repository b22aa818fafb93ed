"""Checks -> one JSON document: `{"schema": 1, "results": [...], "summary": {...}}`."""

from crawler.core.summary import Summary
from crawler.models import Check
from crawler.report import record


def begin() -> str:
    return f'{{"schema": {record.SCHEMA}, "results": [\n'


def element(check: Check, first: bool) -> str:
    return ("" if first else ",\n") + record.dumps(check)


def end(summary: Summary) -> str:
    return f'\n], "summary": {record.encode(record.dump_summary(summary))}}}\n'
