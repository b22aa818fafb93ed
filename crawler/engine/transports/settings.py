"""The options of connections: engine, TLS, proxies, bounds."""

from enum import StrEnum

from crawler.facts import fact


class Engine(StrEnum):
    """The HTTP engines to choose from."""

    DIRECT = "direct"
    NATIVE = "native"
    HTTPX = "httpx"


@fact
class Proxies:
    """Proxy URLs by scheme, and the hosts that are requested without one.

    `no_proxy` is in the form of the environment variable of that name: host
    suffixes separated by commas, or "*".
    """

    http: str | None = None
    https: str | None = None
    no_proxy: str = ""


@fact
class ConnectionSettings:
    """The options of connections.

    Idle connections are kept up to `idle` in all and `per_host` for each host, those in use
    included; httpx and native bound only the idle ones. `block_private` forbids connections
    to addresses that are not public, except a proxy's.
    """

    engine: Engine = Engine.DIRECT
    idle: int = 10
    per_host: int | None = None
    http2: bool = False
    verify: bool = True
    cacert: str | None = None
    proxies: Proxies = Proxies()
    block_private: bool = False
