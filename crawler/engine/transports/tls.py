"""TLS options -> an SSL context; a finished handshake -> the facts of it."""

import errno
import os
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from crawler.models import Tls

CUT = "the connection was closed without TLS's close_notify"


def context(*, verify: bool = True, cacert: str | None = None) -> ssl.SSLContext:
    """Return a client context; it takes 15 to 25 ms, so one serves a whole run.

    It trusts the machine's roots, certifi's, and those in `cacert`. `SSL_CERT_FILE` and
    `SSL_CERT_DIR` replace the machine's roots, as in OpenSSL. Raises OSError or
    ssl.SSLError if `cacert` is not a readable PEM file.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.sslsocket_class = TlsSocket
    made.set_alpn_protocols(["http/1.1"])
    # No session is ever resumed: tickets would cost a handshake 7 % for nothing.
    made.options |= ssl.OP_NO_TICKET
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made
    # RFC 9110, section 4.3.4: the subject's common name is not to be used.
    made.hostname_checks_common_name = False
    made.load_default_certs(ssl.Purpose.SERVER_AUTH)
    import certifi  # slow to import, and only https needs it

    made.load_verify_locations(cafile=certifi.where())
    if cacert is not None:
        made.load_verify_locations(cafile=cacert)
    return made


def read_rest(connection: ssl.SSLObject, buffer: memoryview) -> Iterator[int]:
    """Read the rest of a connection that is closed; yield the number of bytes in `buffer`.

    Ends at close_notify. Raises ssl.SSLWantReadError if that is missing, since then anybody
    may have cut the connection (RFC 8446, section 6.1), and ssl.SSLError if a record is bad.
    """
    try:
        while count := connection.read(len(buffer), buffer):
            yield int(count)
    except ssl.SSLZeroReturnError:
        return  # the same, after our own close_notify was sent


class TlsSocket(ssl.SSLSocket):
    """A socket that may have been reset before TLS is put on it: the handshake shows that.

    Python would request the peer's address first, and leave the socket open without one.
    """

    def getpeername(self) -> Any:
        try:
            return super().getpeername()
        except OSError:
            return None


def reset_behind(exc: ssl.SSLEOFError) -> ConnectionResetError | None:
    """Return the reset that was reported as the end of a connection; None if it was the end.

    Python reports a failed system call as an end. With OpenSSL 3 a real end has a reason;
    with earlier versions the two look the same.
    """
    if ssl.OPENSSL_VERSION_INFO < (3,) or exc.reason == "UNEXPECTED_EOF_WHILE_READING":
        return None
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


def peer(
    connection: ssl.SSLObject | ssl.SSLSocket, certificate: Mapping[str, Any] | None = None
) -> Tls:
    """Return the facts of a finished handshake: the connection's and the certificate's.

    `certificate` is what `connection.getpeercert()` returned, if it was called already.
    """
    cipher = connection.cipher()
    certificate = connection.getpeercert() or {} if certificate is None else certificate
    expires = certificate.get("notAfter")
    return Tls(
        version=connection.version(),
        cipher=cipher[0] if cipher else None,
        expires=float(ssl.cert_time_to_seconds(expires)) if isinstance(expires, str) else None,
        issuer=_name(certificate.get("issuer")),
        subject=_name(certificate.get("subject")),
    )


def _name(parts: object) -> str | None:
    """Return a distinguished name as text, `CN=example.com, O=Example` (RFC 4514 in spirit)."""
    if not isinstance(parts, tuple):
        return None
    pairs = [pair for relative in parts for pair in relative]
    return ", ".join(f"{_SHORT.get(key, key)}={value}" for key, value in pairs) or None


_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
}
