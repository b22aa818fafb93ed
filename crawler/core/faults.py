"""An unexpected exception -> one line for people."""

from crawler.core.display import safe_loosely


def describe(exc: BaseException) -> str:
    """Return one line about an internal error; for a group, about its first exception."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    words = safe_loosely(str(exc))
    return f"internal error: {type(exc).__name__}{f': {words}' if words else ''}"
