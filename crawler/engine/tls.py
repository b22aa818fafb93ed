"""TLS options -> one SSL context: the machine's roots, certifi's, and a file of the user's."""

import ssl

import certifi


def context(*, verify: bool = True, cacert: str | None = None) -> ssl.SSLContext:
    """Return a client context; costs 15 to 25 ms, so make one for a whole run.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the machine's roots, as OpenSSL has it.
    Raises OSError or ssl.SSLError where `cacert` is not a readable PEM file.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.set_alpn_protocols(["http/1.1"])
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made
    made.load_default_certs(ssl.Purpose.SERVER_AUTH)
    made.load_verify_locations(cafile=certifi.where())
    if cacert is not None:
        made.load_verify_locations(cafile=cacert)
    return made
