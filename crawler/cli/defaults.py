"""Defaults, wherever they are defined -> the text that the help shows and the options parse."""

from typing import Any

from crawler.core.expect import format_statuses
from crawler.core.hedge import DEFAULT_BUDGET
from crawler.core.retry import DEFAULT_CONFIRM_AFTER
from crawler.core.summary import NO_TOLERANCE
from crawler.core.units import exact_size
from crawler.models import Expectation, Limits

_LIMITS = Limits()
# Any: typer converts the default of an option like a value from the command line.
ACCEPT: Any = format_statuses(Expectation().accept)
MAX_FAILURES: Any = str(NO_TOLERANCE.count)
TIMEOUT: Any = f"{_LIMITS.timeout:g}"
MAX_REDIRECTS: Any = str(_LIMITS.max_redirects)
MAX_BODY: Any = exact_size(_LIMITS.max_body)
MAX: Any = str(_LIMITS.max)
PER_HOST: Any = str(_LIMITS.per_host)
MAX_WAIT: Any = f"{_LIMITS.max_wait:g}"
RETRIES: Any = str(_LIMITS.retries)
BACKOFF: Any = f"{_LIMITS.backoff:g}"
CONFIRM_AFTER: Any = f"{DEFAULT_CONFIRM_AFTER:g}"
HEDGE_BUDGET: Any = f"{DEFAULT_BUDGET * 100:g}%"
