"""An exception and its phase -> a `Failure`: the one place where errors become values.

Causes are read from types, errno and verify codes. A system error that is not listed here
keeps the system's message. Anything else is an error of ours, or of a transport, and becomes
`internal`.
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator

from crawler.core.display import escape, safe
from crawler.engine.transports.wire import InvalidResponseError, WireError
from crawler.models import ErrorKind, Failure, Phase

_BY_ERRNO = {
    errno.ECONNREFUSED: (ErrorKind.CONNECT_REFUSED, "connection refused"),
    errno.EHOSTUNREACH: (ErrorKind.UNREACHABLE, "no route to the host"),
    errno.EHOSTDOWN: (ErrorKind.UNREACHABLE, "the host is down"),
    errno.ENETUNREACH: (ErrorKind.UNREACHABLE, "the network is unreachable"),
    errno.ENETDOWN: (ErrorKind.UNREACHABLE, "the network is down"),
    errno.EAFNOSUPPORT: (ErrorKind.UNREACHABLE, "address family not supported on this machine"),
    errno.ETIMEDOUT: (ErrorKind.TIMEOUT, "the system timed out waiting for the host"),
    errno.ECONNRESET: (ErrorKind.RESET, "connection reset by the server"),
    errno.ECONNABORTED: (ErrorKind.RESET, "connection aborted"),
    errno.EPIPE: (ErrorKind.RESET, "connection closed by the server while sending"),
    errno.EACCES: (ErrorKind.BLOCKED, "this machine does not permit the connection"),
    errno.EPERM: (ErrorKind.BLOCKED, "this machine does not permit the connection"),
    errno.EMFILE: (ErrorKind.LOCAL_RESOURCE, "too many open files in this process"),
    errno.ENFILE: (ErrorKind.LOCAL_RESOURCE, "too many open files on this machine"),
    errno.ENOBUFS: (ErrorKind.LOCAL_RESOURCE, "no buffer space left on this machine"),
    errno.ENOMEM: (ErrorKind.LOCAL_RESOURCE, "no memory left on this machine"),
    errno.EADDRNOTAVAIL: (ErrorKind.LOCAL_RESOURCE, "no free local port or address"),
}
# A descriptor or an address used wrongly: an error of ours, which no host can cause.
_MISUSE = {errno.EBADF, errno.ENOTSOCK, errno.EFAULT}
# The standard library also raises these types without an errno.
_BY_CLASS = {
    ConnectionRefusedError: errno.ECONNREFUSED,
    ConnectionResetError: errno.ECONNRESET,
    ConnectionAbortedError: errno.ECONNABORTED,
    BrokenPipeError: errno.EPIPE,
    TimeoutError: errno.ETIMEDOUT,
}
# SERVFAIL comes as EAI_AGAIN, REFUSED as EAI_FAIL, a resolver out of reach as EAI_SYSTEM.
_TEMPORARY_DNS = {socket.EAI_AGAIN, socket.EAI_FAIL, getattr(socket, "EAI_SYSTEM", None)}
# X509_V_ERR codes of OpenSSL (x509_vfy.h).
_BY_VERIFY_CODE = {
    9: ErrorKind.TLS_NOT_YET_VALID,
    10: ErrorKind.TLS_EXPIRED,
    62: ErrorKind.TLS_HOSTNAME,
    64: ErrorKind.TLS_HOSTNAME,
}
_NO_TLS = "the port does not speak TLS; is it plain HTTP?"
_TLS_HINTS = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server requires a client certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the server refused the handshake",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the server refused the TLS version",
    "UNSUPPORTED_PROTOCOL": "the server supports only an obsolete TLS version",
    "TLSV1_UNRECOGNIZED_NAME": "the server does not serve this host name (SNI)",
}
_IN_PHASE = {
    Phase.DNS: "during the DNS lookup",
    Phase.CONNECT: "while connecting",
    Phase.TLS: "during the TLS handshake",
    Phase.WAIT: "while waiting for the response",
    Phase.DOWNLOAD: "while reading the body",
}


def from_exception(exc: BaseException, phase: Phase | None) -> Failure:
    """Return the failure that an exception raised in `phase` stands for."""
    causes = list(_causes(exc))
    for judge in (_by_transport, _by_code, _by_type, _by_phase):
        for cause in causes:
            if failure := judge(cause, phase):
                return failure
    return Failure(
        kind=ErrorKind.INTERNAL, phase=phase, detail=f"internal error in crawl: {_text(exc)}"
    )


def timeout(seconds: float, phase: Phase) -> Failure:
    detail = f"timed out after {seconds:g} s {_IN_PHASE[phase]}"
    return Failure(kind=ErrorKind.TIMEOUT, phase=phase, detail=detail)


def _by_transport(exc: BaseException, phase: Phase | None) -> Failure | None:
    """Judge by what the transport has seen itself."""
    if not isinstance(exc, WireError):
        return None
    detail = escape(exc.detail)
    if isinstance(exc, InvalidResponseError):
        detail = f"not valid HTTP: {detail}"
    return Failure(kind=exc.kind, phase=phase, detail=detail)


def _by_code(exc: BaseException, phase: Phase | None) -> Failure | None:
    """Judge by code: errno, resolver, OpenSSL."""
    match exc:
        case socket.gaierror():
            return _dns(exc)
        case ssl.SSLWantReadError() | ssl.SSLWantWriteError():
            return None  # not a failure: asyncio was waiting when the real one came
        case ssl.SSLCertVerificationError():
            kind = _BY_VERIFY_CODE.get(exc.verify_code, ErrorKind.TLS_UNTRUSTED)
            return Failure(kind=kind, phase=Phase.TLS, detail=f"certificate: {exc.verify_message}")
        case ssl.SSLError():
            return _tls(exc, phase)
        case OSError() if exc.errno == errno.EINVAL and phase is Phase.CONNECT:
            detail = "cannot connect to this address from here"
            return Failure(kind=ErrorKind.UNREACHABLE, phase=phase, detail=detail)
        case OSError() if exc.errno in _BY_ERRNO:
            return _system(exc.errno, phase)
    return None


def _by_type(exc: BaseException, phase: Phase | None) -> Failure | None:
    """Judge by type, for want of a code."""
    match exc:
        case OSError():
            return _system(_BY_CLASS[type(exc)], phase) if type(exc) in _BY_CLASS else None
        case _:
            return _by_httpx(exc, phase)


def _by_httpx(exc: BaseException, phase: Phase | None) -> Failure | None:
    """Judge by httpx's types."""
    import httpx  # slow to import: a run over connections of our own gets here only by a fault

    match exc:
        case httpx.DecodingError():
            detail = f"the body cannot be decoded: {_text(exc)}"
            return Failure(kind=ErrorKind.DECODE, phase=phase, detail=detail)
        case httpx.TimeoutException():
            detail = f"timed out {_IN_PHASE[phase]}" if phase else "timed out"
            return Failure(kind=ErrorKind.TIMEOUT, phase=phase, detail=detail)
        case httpx.ProxyError():
            detail = f"the proxy refused: {_text(exc)}"
            return Failure(kind=ErrorKind.PROTOCOL, phase=Phase.CONNECT, detail=detail)
        case httpx.ProtocolError():
            detail = f"not valid HTTP: {safe(str(exc)) or _text(exc)}"
            return Failure(kind=ErrorKind.PROTOCOL, phase=phase, detail=detail)
        case httpx.NetworkError():
            kind = ErrorKind.UNREACHABLE if phase is Phase.CONNECT else ErrorKind.RESET
            where = f" {_IN_PHASE[phase]}" if phase else ""
            return Failure(kind=kind, phase=phase, detail=f"connection lost{where}")
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            detail = f"not a URL that can be requested: {_text(exc)}"
            return Failure(kind=ErrorKind.INVALID_URL, phase=None, detail=detail)
    return None


def _by_phase(exc: BaseException, phase: Phase | None) -> Failure | None:
    """Judge a system error that is not listed by its phase: sockets fail in many ways.

    An error with a file name is not about a connection.
    """
    if not isinstance(exc, OSError) or exc.filename is not None:
        return None
    if exc.errno is None or exc.errno in _MISUSE:
        return None
    name = errno.errorcode.get(exc.errno, str(exc.errno))
    where = f" {_IN_PHASE[phase]}" if phase else ""
    detail = f"{os.strerror(exc.errno)} ({name}){where}"
    match phase:
        case Phase.DNS:
            kind = ErrorKind.DNS_TEMPORARY
        case Phase.CONNECT:
            kind = ErrorKind.UNREACHABLE
        case _:
            kind = ErrorKind.RESET
    return Failure(kind=kind, phase=phase, detail=detail)


def _system(number: int, phase: Phase | None) -> Failure:
    kind, detail = _BY_ERRNO[number]
    where = f" {_IN_PHASE[phase]}" if kind is ErrorKind.RESET and phase else ""
    return Failure(kind=kind, phase=phase, detail=detail + where)


def _dns(exc: socket.gaierror) -> Failure:
    if exc.errno in _TEMPORARY_DNS:
        kind, detail = ErrorKind.DNS_TEMPORARY, "temporary DNS failure"
    else:
        kind, detail = ErrorKind.DNS_NOT_FOUND, "no such host name"
    reason = f" ({exc.strerror})" if exc.strerror else ""
    return Failure(kind=kind, phase=Phase.DNS, detail=detail + reason)


def _tls(exc: ssl.SSLError, phase: Phase | None) -> Failure:
    late = phase if phase in (Phase.WAIT, Phase.DOWNLOAD) else Phase.TLS
    if isinstance(exc, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        detail = f"the server closed the connection {_IN_PHASE[late]}"
        return Failure(kind=ErrorKind.DISCONNECTED, phase=late, detail=detail)
    reason: str | None = getattr(exc, "reason", None)  # unset if Python raised it itself
    hint = _TLS_HINTS.get(reason or "", "the TLS handshake failed")
    if late is not Phase.TLS and (hint is _NO_TLS or reason not in _TLS_HINTS):
        hint = f"the TLS connection failed {_IN_PHASE[late]}"
    code = f" ({reason})" if reason else ""
    return Failure(kind=ErrorKind.TLS_HANDSHAKE, phase=late, detail=hint + code)


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield the innermost causes first: they have errno and codes, the outer ones only text."""
    inner = exc.__cause__ or exc.__context__  # even if "from None" hides it, as in httpcore
    if inner is not None and inner is not exc:
        yield from _causes(inner)
    if isinstance(exc, BaseExceptionGroup):
        for member in exc.exceptions:
            yield from _causes(member)
    yield exc


def _text(exc: BaseException) -> str:
    """Return type and message of an exception, safe to show; never empty."""
    message = safe(str(exc))
    if not message and isinstance(exc, OSError) and exc.errno is not None:
        message = os.strerror(exc.errno)
    return f"{type(exc).__name__}: {message or '(no message)'}"
