"""Host names -> addresses: single-flight lookups in threads of our own, and a bounded cache."""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import NamedTuple

from crawler.engine.transports.wire import Wire, WireError
from crawler.models import ErrorKind, Phase
from crawler.system.threads import DaemonExecutor, NoThreadError

_KEEP = 60.0  # seconds; getaddrinfo does not report how long a result may be kept
_KEEP_MISSING = 5.0  # seconds that a name is known not to exist
_ENTRIES = 10_000
_AT_ONCE = 256  # lookups in progress that a request waits for
_THREADS = 512  # including those whose lookup was abandoned
_PATIENCE = 30.0  # seconds that a request waits for a thread
# EAI_NODATA is EAI_NONAME on some systems, and unknown to others.
_MISSING = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class Address(NamedTuple):
    """A socket family and an IP address."""

    family: socket.AddressFamily
    ip: str


Addresses = tuple[Address, ...]


class _Lookup:
    """A lookup, queued or running, and how many requests wait for it."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.waiters = 0
        self.begun = asyncio.Event()
        self.pending: asyncio.Future[Addresses] | None = None  # from when it has begun
        self.abandoned = False


class Resolver:
    """Resolves names in at most `workers` threads; neither an exit nor another name waits for
    a lookup that is stuck.

    `getaddrinfo` cannot be cancelled: with a silent name server it blocks its thread for
    20 seconds or more. Once all requests that wait for it have given up, its thread no
    longer counts against `workers`, and another one takes its place; there are `threads`
    in all. A request that gets none of them within `patience` seconds fails.

    `look_up` blocks; the default calls `socket.getaddrinfo`, so that /etc/hosts, search
    domains and nsswitch hold. All methods belong to one event loop.
    """

    def __init__(
        self,
        workers: int,
        look_up: Callable[[str], Addresses] | None = None,
        *,
        threads: int = _THREADS,
        patience: float = _PATIENCE,
    ) -> None:
        self._look_up = look_up or _look_up
        self._workers = min(workers, _AT_ONCE, threads)
        self._most = threads
        self._patience = patience
        self._threads = DaemonExecutor(threads, "dns")
        self._cache: OrderedDict[str, tuple[float, Addresses | OSError]] = OrderedDict()
        self._lookups: dict[str, _Lookup] = {}  # those that requests wait for
        self._queue: dict[_Lookup, None] = {}  # of these, those that wait for a thread
        self._running = 0
        self._abandoned = 0

    async def resolve(self, host: str, wire: Wire | None = None) -> Addresses:
        """Return the addresses of `host`, in the order in which to try them.

        Raises socket.gaierror, or WireError if no thread becomes free in time. The result
        that a name does not exist is cached for a few seconds; a temporary failure is not,
        or a retry would only get the failure of its predecessor. `wire` gets phase and duration;
        the wait for a thread is stall.
        """
        wire = wire or Wire()
        if (known := self.known(host, wire)) is not None:
            return known
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = self._lookups[host] = _Lookup(host)
            self._queue[lookup] = None
            self._start()
        lookup.waiters += 1
        try:
            return await self._answer(lookup, wire)
        finally:
            lookup.waiters -= 1
            if not lookup.waiters:
                self._abandon(lookup)

    def known(self, host: str, wire: Wire) -> Addresses | None:
        """Return the addresses of `host` if they are in the cache; raise the failure if that is."""
        wire.phase = Phase.DNS
        start = perf_counter()
        kept = self._cache.get(host)
        if kept is None or start >= kept[0]:
            return None
        wire.dns = perf_counter() - start
        if isinstance(kept[1], OSError):
            raise kept[1].with_traceback(None)
        return kept[1]

    def close(self) -> None:
        self._queue.clear()
        self._threads.shutdown(cancel_futures=True)

    async def _answer(self, lookup: _Lookup, wire: Wire) -> Addresses:
        if lookup.pending is None:
            with wire.stalled():
                await _within(self._patience, lookup.begun)
        if lookup.pending is None:
            detail = f"no thread for the lookup within {self._patience:g} s:"
            detail += f" {self._running + self._abandoned} lookups are stuck"
            raise WireError(ErrorKind.LOCAL_RESOURCE, detail)
        start = perf_counter()
        try:
            return await asyncio.shield(lookup.pending)  # others wait for it too
        finally:
            wire.dns = perf_counter() - start

    def _start(self) -> None:
        """Assign free threads to queued lookups."""
        loop = asyncio.get_running_loop()
        while self._queue:
            in_all = self._running + self._abandoned
            if self._running >= self._workers or in_all >= self._most:
                return
            lookup = next(iter(self._queue))
            try:
                pending = loop.run_in_executor(self._threads, self._look_up, lookup.host)
            except NoThreadError as exc:
                if in_all:
                    return  # one of them will be free
                pending = loop.create_future()
                pending.set_exception(WireError(ErrorKind.LOCAL_RESOURCE, str(exc)))
            del self._queue[lookup]
            self._running += 1
            lookup.pending = pending
            lookup.begun.set()
            pending.add_done_callback(partial(self._ended, lookup))

    def _ended(self, lookup: _Lookup, pending: asyncio.Future[Addresses]) -> None:
        if lookup.abandoned:
            self._abandoned -= 1
        else:
            self._running -= 1
            del self._lookups[lookup.host]
        self._remember(lookup.host, pending)
        self._start()

    def _abandon(self, lookup: _Lookup) -> None:
        """Stop counting a lookup that no request waits for any more."""
        if lookup.pending is None:
            self._queue.pop(lookup, None)
        elif lookup.pending.done():
            return
        else:
            lookup.abandoned = True
            self._running -= 1
            self._abandoned += 1
        del self._lookups[lookup.host]  # another request for it does not wait for a stuck one
        self._start()

    def _remember(self, host: str, pending: asyncio.Future[Addresses]) -> None:
        if pending.cancelled():
            return
        now = perf_counter()
        failure = pending.exception()
        if failure is None:
            self._cache[host] = now + _KEEP, pending.result()
        elif isinstance(failure, socket.gaierror) and failure.errno in _MISSING:
            self._cache[host] = now + _KEEP_MISSING, failure
        while len(self._cache) > _ENTRIES:
            self._cache.popitem(last=False)


def literal(host: str) -> Addresses | None:
    """Return the address that `host` is, or None if it is a name."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):  # ValueError: embedded NUL
        return None
    return (Address(family, host),)


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Wait for an event, but no longer than `seconds`."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _look_up(host: str) -> Addresses:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    wanted = (socket.AF_INET, socket.AF_INET6)
    pairs = [(family, str(address[0])) for family, _, _, _, address in found if family in wanted]
    if not pairs:
        raise socket.gaierror(socket.EAI_NONAME, "no address of a usable family")
    return tuple(Address(family, ip) for family, ip in dict.fromkeys(pairs))
