"""Proxy options -> the proxy of an origin, and what to send to it."""

import re
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import unquote_to_bytes, urlsplit

from crawler.core import noproxy
from crawler.engine.transports.requesthead import Origin
from crawler.engine.transports.settings import Proxies
from crawler.facts import fact

PORT = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}


@fact
class Proxy:
    """A proxy URL in parts; `user` is name and password, percent-decoded."""

    url: str
    scheme: str
    host: str
    port: int
    user: tuple[bytes, bytes] | None = None

    @classmethod
    def parse(cls, url: str) -> "Proxy":
        parts = urlsplit(url)
        user = None
        if parts.username is not None:
            user = unquote_to_bytes(parts.username), unquote_to_bytes(parts.password or "")
        return cls(
            url=url,
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=parts.port or PORT[parts.scheme],
            user=user,
        )

    @property
    def secure(self) -> bool:
        """Whether the connection to the proxy itself uses TLS."""
        return self.scheme == "https"

    @property
    def pool(self) -> Origin:
        """The key under which the pool keeps the connections to a forwarding proxy."""
        return f"proxy {self.scheme}", self.host, self.port

    def forwards(self, scheme: str) -> bool:
        """Whether it forwards requests for URLs of this scheme, instead of opening a tunnel."""
        return scheme == "http" and self.scheme in ("http", "https")

    @property
    def authorization(self) -> bytes:
        """The header line with the credentials (RFC 7617), or nothing."""
        if self.user is None:
            return b""
        return b"Proxy-Authorization: Basic %b\r\n" % b64encode(b"%b:%b" % self.user)

    def absolute(self, head: bytes, origin: Origin) -> bytes:
        """Return a request in absolute-form (RFC 9112, section 3.2.2), with our credentials.

        The user's own Proxy-Authorization replaces them.
        """
        scheme, host, port = origin
        authority = bracketed(host) if port is None else f"{bracketed(host)}:{port}"
        line, _, rest = head.partition(b"\r\n")
        line = line.replace(b" ", f" {scheme}://{authority}".encode("ascii"), 1)
        fields = rest.partition(b"\r\n\r\n")[0].lower()
        own = re.search(rb"^proxy-authorization:", fields, re.MULTILINE)
        return b"%b\r\n%b%b" % (line, b"" if own else self.authorization, rest)


Choose = Callable[[Origin], Proxy | None]


def chooser(proxies: Proxies) -> Choose | None:
    """Return a function from an origin to its proxy; None if no proxy is set."""
    if not (proxies.http or proxies.https):
        return None
    urls = {"http": proxies.http, "https": proxies.https}
    by_scheme = {scheme: Proxy.parse(url) if url else None for scheme, url in urls.items()}
    exempt = noproxy.parse(proxies.no_proxy)

    def choose(origin: Origin) -> Proxy | None:
        scheme, host, port = origin
        proxy = by_scheme[scheme]
        return None if proxy is None or exempt(host, port or PORT[scheme]) else proxy

    return choose


def bracketed(host: str) -> str:
    """Return a host as written before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
