"""The options of connections: engine, TLS, proxies, bounds."""

from dataclasses import dataclass

from crawler.models import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """Proxy URLs by scheme, and the hosts that are requested without one.

    `no_proxy` is in the form of the environment variable of that name: host
    suffixes separated by commas, or "*".
    """

    http: str | None = None
    https: str | None = None
    no_proxy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """The options that say how connections are made.

    Idle connections are kept while there are no more than `idle` in all, and `per_host` to
    one host, those in use counted too; stock and native bound the idle ones alone.
    With `block_private` none is made to an address that is not public, but for a proxy's.
    """

    engine: Engine = Engine.DIRECT
    idle: int = 10
    per_host: int | None = None
    http2: bool = False
    verify: bool = True
    cacert: str | None = None
    proxies: Proxies = Proxies()
    block_private: bool = False
