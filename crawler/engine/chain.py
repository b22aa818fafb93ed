"""The requests of one attempt: the first one to its target, then one for each redirect."""

from collections.abc import Iterable

from crawler.core import redirect
from crawler.core.semantics import REDIRECT_STATUSES
from crawler.core.url import without_userinfo
from crawler.engine.headers import RequestHeaders
from crawler.models import Failure, Hop, Limits, Target


class Chain:
    """`method`, `url` (without userinfo) and `fields` are those of the present request."""

    __slots__ = ("_headers", "_limits", "_requested", "fields", "hops", "method", "target", "url")

    def __init__(self, target: Target, headers: RequestHeaders, limits: Limits) -> None:
        self.target = target
        self.method = target.method
        self.url = target.url
        self.fields = headers.same_origin
        self.hops: tuple[Hop, ...] = ()
        self._headers = headers
        self._limits = limits
        self._requested: set[tuple[str, str]] | None = None  # None before a redirect
        if "@" in target.url:
            self.url, userinfo = without_userinfo(target.url)
            if userinfo is not None:
                self.fields = headers.with_credentials(userinfo)

    def locations(self, status: int, fields: Iterable[tuple[bytes, bytes]]) -> list[str]:
        """Return the Location fields of a redirect that is to be followed, else nothing.

        Bytes that are not ASCII become lone surrogates (PEP 383).
        """
        if status not in REDIRECT_STATUSES or not self._limits.follow:
            return []
        found = [value for name, value in fields if name.lower() == b"location"]
        return [value.decode("ascii", "surrogateescape") for value in found]

    def follow(self, status: int, locations: list[str]) -> str | Failure:
        """Go on to the request that a redirect leads to.

        Return its host, or why it is not followed.
        """
        if self._requested is None:
            self._requested = {(self.method, self.url.partition("#")[0])}
        step = redirect.follow(
            method=self.method,
            url=self.url,
            status=status,
            locations=locations,
            requested=self._requested,
            masked=self.target.masked,
        )
        if isinstance(step, Failure):
            return step
        if len(self.hops) == self._limits.max_redirects:
            return redirect.too_many(self._limits.max_redirects)
        self.hops = (*self.hops, Hop(url=self.url, status=status))
        if not step.same_origin:
            self.fields = self._headers.cross_origin
        self.method, self.url = step.method, step.url
        self._requested.add((step.method, step.url.partition("#")[0]))
        return step.host
