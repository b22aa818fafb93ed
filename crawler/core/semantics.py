"""What HTTP methods and status codes mean to a client (RFC 9110)."""

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods of requests that may be sent again (section 9.2.2)."""

HEDGED_METHODS = frozenset({"GET", "HEAD"})
"""Safe methods (section 9.2.1) of requests that may be sent twice at once."""

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
"""Statuses with a Location to follow (section 15.4); not 300, which offers a choice, nor 304."""

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of failures that a retry may overcome."""

THROTTLING_STATUSES = frozenset({429, 503})
"""Statuses of a server that wants fewer requests (RFC 6585, section 4; section 15.6.4)."""
