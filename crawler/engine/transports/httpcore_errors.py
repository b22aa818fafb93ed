"""Exceptions of httpcore, distinguished only by their messages -> exceptions with a type each."""

from typing import NoReturn

import httpx

from crawler.engine.transports.trace import Trace
from crawler.engine.transports.wire import InterruptedExchangeError, WireError
from crawler.models import ErrorKind, Phase

_REFUSED_STREAM = 7  # RFC 9113, section 7


def raise_typed(exc: Exception, trace: Trace, *, shared: bool) -> NoReturn:
    """Raise what `exc` means for the request that `trace` followed.

    `shared` says that the connection may have carried other requests too.
    """
    wire, text = trace.wire, str(exc)
    if wire.at_proxy:
        _raise_for_proxy(exc, trace)
    if shared and trace.http2 and _ended_with_its_connection(exc):
        trace.when_interrupted(trace.stream)
        inside = wire.phase is Phase.DOWNLOAD
        kind = ErrorKind.BODY_INCOMPLETE if inside else ErrorKind.DISCONNECTED
        raise InterruptedExchangeError(kind, "the server ended the HTTP/2 connection") from exc
    if isinstance(exc, httpx.RemoteProtocolError):
        closed = "closed connection" in text or "Server disconnected" in text
        if closed and wire.phase is Phase.DOWNLOAD:
            detail = "the connection was closed inside the body"
            raise WireError(ErrorKind.BODY_INCOMPLETE, detail) from exc
        if "Server disconnected" in text:
            detail = "the server closed the connection without a response"
            raise WireError(ErrorKind.DISCONNECTED, detail) from exc
        if "illegal request line" in text:  # h11's words for a first byte that is not text
            detail = "not valid HTTP but binary data; does the port speak TLS?"
            raise WireError(ErrorKind.PROTOCOL, detail) from exc
    if isinstance(exc, httpx.ConnectError) and wire.phase is Phase.TLS and not _has_code(exc):
        detail = "the server closed the connection in the TLS handshake"
        raise WireError(ErrorKind.DISCONNECTED, detail) from exc
    raise exc


def _raise_for_proxy(exc: Exception, trace: Trace) -> NoReturn:
    """Raise an exception that blames the proxy."""
    if isinstance(exc, httpx.ProxyError):
        raise WireError(ErrorKind.PROTOCOL, f"it refused the tunnel: {exc}") from exc
    if isinstance(exc, httpx.RemoteProtocolError) and "Server disconnected" in str(exc):
        detail = "it closed the connection instead of a reply"
        raise WireError(ErrorKind.DISCONNECTED, detail) from exc
    known = isinstance(exc, httpx.TransportError | WireError)
    if trace.in_socks and not known:  # socksio's own, or an assert
        raise WireError(ErrorKind.PROTOCOL, "what it sent is not a SOCKS5 reply") from exc
    raise exc


def _ended_with_its_connection(exc: Exception) -> bool:
    """Whether an HTTP/2 exchange failed because its connection ended, not because of its stream.

    A server ends one with GOAWAY, which h2 treats as the end of all its streams, even of
    those that the server would still respond to (RFC 9113, section 6.8).
    """
    if isinstance(exc, httpx.ReadError | httpx.WriteError):
        return True
    if not isinstance(exc, httpx.ProtocolError):
        return False
    event = exc.__cause__.args[0] if exc.__cause__ is not None and exc.__cause__.args else None
    if hasattr(event, "stream_id"):  # the server reset this stream only
        return getattr(event, "error_code", None) == _REFUSED_STREAM
    closed = ("Server disconnected", "ConnectionState.CLOSED", "ConnectionTerminated")
    return any(mark in str(exc) for mark in closed)


def _has_code(exc: BaseException | None) -> bool:
    """Whether an exception was caused by one with an error number, the system's or OpenSSL's."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno is not None:
            return True
        exc = exc.__cause__ or exc.__context__
    return False
