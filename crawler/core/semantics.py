"""Classes of HTTP methods and status codes (RFC 9110)."""

import re

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods of requests that may be sent again (section 9.2.2)."""

HEDGED_METHODS = frozenset({"GET", "HEAD"})
"""Safe methods (section 9.2.1) of requests that may be sent twice at once."""

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
"""Statuses with a Location to follow (section 15.4); not 300, which offers a choice, nor 304."""

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of failures that a retry may overcome."""

THROTTLING_STATUSES = frozenset({429, 503})
"""Statuses of a server that throttles (RFC 6585, section 4; section 15.6.4)."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def is_token(text: str) -> bool:
    """Whether `text` may be a method or the name of a header field (section 5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def parse_method(text: str) -> str:
    """Return a method in upper case. Raises ValueError for CONNECT: it is not for URLs."""
    if not is_token(text) or text.upper() == "CONNECT":
        raise ValueError("is not an HTTP method such as GET or HEAD")
    return text.upper()
