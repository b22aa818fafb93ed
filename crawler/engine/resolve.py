"""Host names -> addresses: own threads, one look-up per name at a time, and a bounded cache."""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from crawler.threads import DaemonExecutor

_KEEP = 60.0  # seconds; getaddrinfo does not tell how long an answer may be kept
_KEEP_FAILURE = 5.0
_ENTRIES = 10_000
_MOST_THREADS = 256


class Address(NamedTuple):
    """One place to connect to: a socket family and an IP address."""

    family: socket.AddressFamily
    ip: str


Addresses = tuple[Address, ...]


class Resolver:
    """Looks names up in at most `workers` threads; an exit never waits for one that is stuck.

    `look_up` blocks; the one there is calls `socket.getaddrinfo`, so /etc/hosts, search
    domains and nsswitch hold.
    """

    def __init__(self, workers: int, look_up: Callable[[str], Addresses] | None = None) -> None:
        self._look_up = look_up or _look_up
        self._threads = DaemonExecutor(min(workers, _MOST_THREADS), "dns")
        self._cache: OrderedDict[str, tuple[float, Addresses | OSError]] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[Addresses]] = {}

    async def resolve(self, host: str) -> Addresses:
        """Return the addresses of `host`, in the order in which to try them.

        Raises socket.gaierror; a failure too is remembered for a few seconds.
        """
        loop = asyncio.get_running_loop()
        if (kept := self._cache.get(host)) is not None and loop.time() < kept[0]:
            if isinstance(kept[1], OSError):
                raise kept[1].with_traceback(None)
            return kept[1]
        looking = self._under_way.get(host)
        if looking is None:
            looking = loop.run_in_executor(self._threads, self._look_up, host)
            self._under_way[host] = looking
            looking.add_done_callback(lambda done: self._remember(host, done, loop.time()))
        await asyncio.wait((looking,))  # not cancelled with us: others wait for it too
        return looking.result()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _remember(self, host: str, looked: asyncio.Future[Addresses], now: float) -> None:
        del self._under_way[host]
        if looked.cancelled():
            return
        failure = looked.exception()
        if failure is None:
            self._cache[host] = now + _KEEP, looked.result()
        elif isinstance(failure, OSError):
            self._cache[host] = now + _KEEP_FAILURE, failure
        while len(self._cache) > _ENTRIES:
            self._cache.popitem(last=False)


def literal(host: str) -> Addresses | None:
    """Return the address that `host` spells out, or None where it is a name."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):  # the latter for what is no text of C
        return None
    return (Address(family, host),)


def _look_up(host: str) -> Addresses:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    wanted = (socket.AF_INET, socket.AF_INET6)
    pairs = [(family, str(address[0])) for family, _, _, _, address in found if family in wanted]
    if not pairs:
        raise socket.gaierror(socket.EAI_NONAME, "no address of a usable family")
    return tuple(Address(family, ip) for family, ip in dict.fromkeys(pairs))
