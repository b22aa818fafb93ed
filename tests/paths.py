"""The two paths of a plain attempt: the callbacks of the fast path, and httpx's interface."""

from enum import StrEnum

from crawler.engine.transports.direct import DirectTransport


class Path(StrEnum):
    """What drives the connections of `direct`."""

    FAST = "fast"
    TRANSPORT = "transport"


class OverTransport(DirectTransport):
    """A `DirectTransport` that is reached through httpx's interface only.

    The fast path takes the place of that class alone, not of a subclass, which may differ.
    """
