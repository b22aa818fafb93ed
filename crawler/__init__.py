"""Check lists of URLs, concurrently: `async for check in crawl(urls): ...`.

Nothing is imported before it is used: the command imports this package too, and an interrupt
shows a traceback until `__main__` has installed its signal handlers.
"""

from __future__ import annotations

from crawler.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    import httpx

    from crawler.app.assemble import Network
    from crawler.inputs.iterables import IterableReader
    from crawler.models import (
        Attempt,
        Check,
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


async def crawl(  # noqa: PLR0913 - the keywords of the public interface
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
    """Yield a check for each of `urls` as it finishes; `check.result.target.line` is its position.

    `max` is the number of concurrent requests, short for `Limits(max=...)`. The position
    counts from 1. "example.com" means https, and an entry that is not a URL becomes a check
    of outcome `invalid`. Duplicates are checked once unless `repeat` is true.
    Lists and other collections are read directly; any other iterable is read in a thread,
    so it may block, and after a deadline is read on for at most five seconds.
    `transport` may be any httpx transport; it is closed at the end. With `block_private`,
    URLs that lead to private, loopback, link-local or metadata addresses are refused, also
    in redirects; it cannot be combined with `transport`.
    Raises TypeError for an entry that is not a str, ValueError for a bad `method` or limit.
    Leaving the loop early cancels all requests in flight once the generator is closed
    (`contextlib.aclosing`).
    """
    from contextlib import aclosing

    from crawler.app import assemble

    limits = _limits(limits, max)
    entries = _reader(urls, method, expectation, repeat=repeat)
    async with _network(transport, limits, block_private=block_private) as opened:
        collector = assemble.collector(entries, opened, limits, headers)
        async with aclosing(collector.batches()) as batches:
            async for checks in batches:
                for check in checks:
                    yield check


def _limits(limits: Limits | None, max: int | None) -> Limits:
    from dataclasses import replace

    from crawler.models import Limits

    limits = limits or Limits()
    return limits if max is None else replace(limits, max=max)


def _network(
    transport: httpx.AsyncBaseTransport | None, limits: Limits, *, block_private: bool
) -> Network:
    from crawler.app import assemble
    from crawler.engine.transports.settings import ConnectionSettings

    if transport is None:
        return assemble.network(ConnectionSettings(block_private=block_private), limits)
    if block_private:
        raise ValueError("block_private needs crawl's own transport")
    return transport


def _reader(
    urls: Iterable[str], method: str, expectation: Expectation | None, *, repeat: bool
) -> IterableReader:
    from crawler.core.semantics import parse_method
    from crawler.core.urllist import UrlList
    from crawler.inputs.iterables import IterableReader

    if isinstance(urls, (str, bytes, bytearray)):
        raise TypeError(f"urls is a {type(urls).__name__}; it must be an iterable of str")
    try:
        method = parse_method(method)
    except ValueError as exc:
        raise ValueError(f"method {method!r} {exc}") from None
    return IterableReader(urls, UrlList(expectation=expectation, method=method, repeat=repeat))
