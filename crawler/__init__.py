"""Check lists of URLs, concurrently: `async for check in crawl(urls): ...`.

Nothing is imported before it is used: the command too comes in here, and until its own
door has seen to signals, an interrupt shows a traceback.
"""

from __future__ import annotations

from crawler.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    import httpx

    from crawler.models import (
        Check,
        CrawlStats,
        ErrorKind,
        Expectation,
        Failure,
        Hop,
        Limits,
        Outcome,
        Phase,
        Result,
        Target,
        Timings,
        Tls,
        Verdict,
    )
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from crawler import models

        # All of them, so that the annotations of `crawl` can be resolved, too.
        known = {one: getattr(models, one) for one in __all__ if hasattr(models, one)}
        globals().update(known)
        return known[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "Attempt",
    "Check",
    "CrawlStats",
    "ErrorKind",
    "Expectation",
    "Failure",
    "Hop",
    "Limits",
    "Outcome",
    "Phase",
    "Result",
    "Target",
    "Timings",
    "Tls",
    "Verdict",
    "__version__",
    "crawl",
]


async def crawl(
    urls: Iterable[str],
    *,
    max: int | None = None,
    limits: Limits | None = None,
    expectation: Expectation | None = None,
    method: str = "GET",
    headers: Sequence[tuple[str, str]] = (),
    repeat: bool = False,
    block_private: bool = False,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncGenerator[Check, None]:
    """Yield a check for each of `urls` as it finishes; `check.result.target.line` is its place.

    Lists and the like are read at once; any other iterable is advanced in a thread, so that
    it may block, and is read on for at most five seconds after a deadline.
    `max` is how many are fetched at once, shorthand for `Limits(max=...)`. The place counts
    from 1. "example.com" means https, and an entry that is no URL becomes a check of
    outcome `invalid`. Equal URLs are asked once unless `repeat`.
    Raises TypeError for an entry that is no str, ValueError for a bad `method` or limit.
    With `block_private`, URLs that lead to private, loopback, link-local or metadata
    addresses are refused, in redirects too; a `transport` of your own cannot be given then.
    `transport` may be any httpx transport; it is closed at the end. Leaving the loop
    early ends all requests under way once the generator is closed (`contextlib.aclosing`).
    """
    from contextlib import aclosing
    from dataclasses import replace

    from crawler.app.collect import Collector
    from crawler.cli import values as options
    from crawler.core.urllist import UrlList
    from crawler.engine.fetch import Fetcher
    from crawler.engine.transports import open_transport
    from crawler.engine.transports.settings import ConnectionSettings
    from crawler.inputs.iterables import Advanced
    from crawler.models import Limits

    bounds = limits or Limits()
    if max is not None:
        bounds = replace(bounds, max=max)
    if isinstance(urls, (str, bytes, bytearray)):
        raise TypeError(f"urls is a {type(urls).__name__}; it must be an iterable of str")
    try:
        method = options.method(method)
    except ValueError as exc:
        raise ValueError(f"method {method!r} {exc}") from None
    listed = UrlList(expectation=expectation, method=method, repeat=repeat)
    advanced = Advanced(urls)

    async def entries() -> AsyncGenerator[Target | Result, None]:
        async with aclosing(advanced.items()) as items:
            async for number, text in items:
                if entry := listed.entry(text.strip(), line=number):
                    yield entry

    if block_private and transport is not None:
        raise ValueError("block_private needs crawl's own transport")

    connecting = ConnectionSettings(
        idle=bounds.max, per_host=bounds.per_host, block_private=block_private
    )
    async with transport or open_transport(connecting) as wire:
        fetch = Fetcher(wire, bounds, headers)
        fresh = Fetcher(wire, bounds, headers, fresh=True)
        collector = Collector(
            entries(),
            fetch,
            bounds,
            fetch_fresh=fresh,
            has_end=lambda: advanced.has_end,
            bytes_read=lambda: advanced.read,
        )
        async with aclosing(collector.batches()) as batches:
            async for checks in batches:
                for check in checks:
                    yield check
