"""The header fields of a run -> those of a request, to the target's origin or to another."""

import base64
from collections.abc import Sequence

from crawler.engine.transports.requesthead import Fields
from crawler.version import __version__

Header = tuple[str, str]

_DEFAULTS: tuple[Header, ...] = (
    ("User-Agent", f"crawl/{__version__}"),
    ("Accept", "*/*"),
    ("Accept-Encoding", "gzip, deflate, br"),
)
# User headers that may be sent to another origin after a redirect.
_HARMLESS = frozenset({"accept", "accept-language", "user-agent"})


class RequestHeaders:
    """All header fields of a run: the default ones, replaced by the user's of the same name.

    `cross_origin` is for requests to another origin than the target's: nothing in it is
    secret. Raises ValueError as `Fields` does.
    """

    def __init__(self, headers: Sequence[Header]) -> None:
        given = {name.lower() for name, _ in headers}
        own = [*(pair for pair in _DEFAULTS if pair[0].lower() not in given), *headers]
        harmless = [pair for pair in own if pair[0].lower() in _HARMLESS]
        others = [pair for pair in _DEFAULTS if pair[0].lower() not in _HARMLESS]
        self.same_origin = Fields(own)
        self.cross_origin = Fields([*harmless, *others])

    def with_credentials(self, userinfo: str) -> Fields:
        """Return `same_origin` with Basic credentials (RFC 7617), unless the user gave some."""
        if "authorization" in self.same_origin.names:
            return self.same_origin
        token = base64.b64encode(userinfo.encode("utf-8", "surrogateescape")).decode("ascii")
        return self.same_origin.and_also("Authorization", f"Basic {token}")
