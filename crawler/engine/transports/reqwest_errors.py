"""Errors of reqwest, which it describes in words -> exceptions with a type each."""

import re
import socket

import httpx
from pyreqwest import exceptions

from crawler.engine.transports.wire import Wire, WireError
from crawler.models import ErrorKind, Phase

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
# Failures that reqwest describes only in words: a part of them, kind, phase, a hint.
# The first match counts.
_NO_TLS = "the port does not speak TLS; is it plain HTTP?"
_NO_CLOSE_NOTIFY = "without sending TLS close_notify"
_BY_WORDS = (
    ("certificate expired", ErrorKind.TLS_EXPIRED, Phase.TLS, ""),
    ("certificate not valid yet", ErrorKind.TLS_NOT_YET_VALID, Phase.TLS, ""),
    ("certificate not valid for name", ErrorKind.TLS_HOSTNAME, Phase.TLS, ""),
    ("invalid peer certificate", ErrorKind.TLS_UNTRUSTED, Phase.TLS, ""),
    ("tls handshake eof", ErrorKind.DISCONNECTED, Phase.TLS, ""),
    ("received corrupt message", ErrorKind.TLS_HANDSHAKE, Phase.TLS, _NO_TLS),
    (
        "CertificateRequired",
        ErrorKind.TLS_HANDSHAKE,
        Phase.TLS,
        "the server requires a client certificate",
    ),
    ("received fatal alert", ErrorKind.TLS_HANDSHAKE, Phase.TLS, "the server refused"),
    ("peer is incompatible", ErrorKind.TLS_HANDSHAKE, Phase.TLS, ""),
    ("connection closed before message", ErrorKind.DISCONNECTED, Phase.WAIT, ""),
    ("end of file before message length", ErrorKind.BODY_INCOMPLETE, Phase.DOWNLOAD, ""),
    (_NO_CLOSE_NOTIFY, ErrorKind.BODY_INCOMPLETE, Phase.DOWNLOAD, ""),
    ("unexpected EOF during chunk", ErrorKind.BODY_INCOMPLETE, Phase.DOWNLOAD, ""),
)
_TEMPORARY = ("Temporary failure", "try again")


class AuthorityAsServerError(WireError):
    """The server's own certificate is that of an authority, which rustls never accepts.

    OpenSSL does, if it is trusted. Nothing was sent yet.
    """


def typed_error(exc: exceptions.PyreqwestError, wire: Wire) -> Exception:
    """Map an error that reqwest describes in words to a typed exception."""
    words = _words(exc)
    text = "; ".join(words)
    if isinstance(exc, exceptions.RequestTimeoutError):
        return httpx.TimeoutException(words[-1])
    if "dns error" in words:
        wire.phase = Phase.DNS
        temporary = any(mark in text for mark in _TEMPORARY)
        return socket.gaierror(socket.EAI_AGAIN if temporary else socket.EAI_NONAME, words[-1])
    if found := _OS_ERROR.search(text):
        if "tcp connect error" in words:
            wire.phase = Phase.CONNECT
        return OSError(int(found[1]), words[-1])
    if "CaUsedAsEndEntity" in text:
        wire.phase = Phase.TLS
        return AuthorityAsServerError(ErrorKind.TLS_UNTRUSTED, words[-1])
    if _NO_CLOSE_NOTIFY in text and wire.phase is not Phase.DOWNLOAD:
        detail = "the server closed the connection without a response"
        return WireError(ErrorKind.DISCONNECTED, detail)
    for mark, kind, phase, hint in _BY_WORDS:
        if mark in text:
            wire.phase = phase
            return WireError(kind, f"{hint} ({words[-1]})" if hint else words[-1])
    return httpx.RemoteProtocolError(words[-1])


def _words(exc: exceptions.PyreqwestError) -> list[str]:
    """Return the messages of an error and its causes, the innermost last."""
    causes = exc.details["causes"] if isinstance(exc, exceptions.DetailedPyreqwestError) else None
    messages = [exc.message, *(cause["message"] for cause in causes or ())]
    return [message.partition(": https://docs.rs/")[0] for message in messages]
