"""The settings of one run, as the command line gives them."""

from crawler.core.summary import NO_TOLERANCE, Tolerance
from crawler.engine.headers import Header
from crawler.engine.transports.settings import ConnectionSettings
from crawler.facts import fact
from crawler.models import Expectation, Limits
from crawler.report.outputs import OutputSettings


@fact
class Settings:
    """What one run checks, how, and what it prints.

    `masked` are query parameters whose values are hidden in all output, in addition to the
    well-known ones. With `wait` the list is checked repeatedly until every URL passes, for at
    most that many seconds. `progress` draws a bar; `closing_line` prints the totals to
    standard error.
    """

    targets: tuple[str, ...]
    limits: Limits
    connections: ConnectionSettings
    expectation: Expectation
    outputs: OutputSettings
    method: str = "GET"
    headers: tuple[Header, ...] = ()
    repeat: bool = False
    masked: frozenset[str] = frozenset()
    tolerance: Tolerance = NO_TOLERANCE
    wait: float | None = None
    progress: bool = False
    closing_line: bool = False
    demo: bool = False
