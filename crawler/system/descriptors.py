"""How many connections the open-file limit allows."""

from contextlib import suppress

_RESERVE = 32  # descriptors for standard streams, lists, outputs, the event loop, DNS lookups


def affordable(concurrency: int) -> int:
    """Return how many connections may be open at once, at most `concurrency`.

    Raises the soft open-file limit as far as needed and possible.
    """
    try:
        import resource
    except ImportError:  # not a Unix
        return concurrency
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * concurrency + _RESERVE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # macOS caps it below the hard limit that it reports
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return concurrency
    return max(1, min(concurrency, (soft - _RESERVE) // 2))
