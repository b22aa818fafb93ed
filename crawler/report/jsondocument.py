"""Checks -> one JSON document: `{"schema": 1, "results": [...], "summary": {...}}`."""

from crawler.core.summary import Summary
from crawler.models import Check
from crawler.report.record import SCHEMA, record_text
from crawler.report.record import encode as _encode
from crawler.report.record import summary as summary_object


def begin() -> str:
    return f'{{"schema": {SCHEMA}, "results": [\n'


def element(check: Check, first: bool) -> str:
    return ("" if first else ",\n") + record_text(check)


def end(summary: Summary) -> str:
    return f'\n], "summary": {_encode(summary_object(summary))}}}\n'
