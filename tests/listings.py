"""Listings that tests make up."""

from collections.abc import AsyncGenerator, Iterable

from samples import listed

from crawler.models import Result, Target


class Listed:
    """A listing of the given entries, of which `share` has been read."""

    def __init__(
        self,
        given: Iterable[Target | Result] | AsyncGenerator[Target | Result, None],
        share: float | None = 1.0,
    ) -> None:
        self._given = given
        self._share = share
        self.duplicates = 7

    def entries(self) -> AsyncGenerator[Target | Result, None]:
        return listed(self._given) if isinstance(self._given, Iterable) else self._given

    def has_end(self) -> bool:
        return self._share is not None

    def bytes_read(self) -> int:
        return 0

    def share_read(self) -> float | None:
        return self._share
