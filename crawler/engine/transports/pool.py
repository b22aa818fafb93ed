"""The open connections of a transport -> one to use again, and room for one more.

Connections, idle and in use, are bounded like requests in flight, in all and for each host:
before one more is opened, the oldest idle one is closed, of that host or of all. A
connection in use is never closed to make room.
"""

from collections import OrderedDict
from time import perf_counter

from crawler.engine.transports.http1.connection import Connection
from crawler.engine.transports.requesthead import Origin

_MOST_IDLE = 15.0  # seconds; servers and middleboxes drop older ones silently


class Pool:
    """Every step costs the same for one origin or 50,000.

    `most` bounds all connections, `per_host` those to the host of an origin, whatever its
    port and scheme; None: no bound.
    """

    def __init__(self, most: int, per_host: int | None) -> None:
        self._most = most
        self._per_host = per_host
        self._open: dict[Connection, _Host] = {}
        self._hosts: dict[str | None, _Host] = {}
        self._idle: dict[Origin, dict[Connection, None]] = {}  # newest last
        # Ordered dicts, since the oldest is needed: a dict would search for its first key.
        self._oldest: OrderedDict[Connection, Origin] = OrderedDict()

    def take(self, origin: Origin) -> Connection | None:
        """Return the newest idle connection that can be used again."""
        now = perf_counter()
        while idle := self._idle.get(origin):
            connection, _ = idle.popitem()
            if not idle:
                del self._idle[origin]
            del self._oldest[connection]
            del self._open[connection].idle[connection]
            if now - connection.idle_since < _MOST_IDLE and connection.is_fresh:
                return connection
            connection.close()
        return None

    def reserve(self, connection: Connection, host: str | None) -> bool:
        """Count a connection that is about to be opened; return whether idle ones were closed.

        `host` is None for one that may carry requests for any host.
        """
        state = self._hosts.get(host)
        if state is None:
            state = self._hosts[host] = _Host(host)
        self._open[connection] = state
        state.open += 1
        return self._shrink(state)

    def give_back(self, connection: Connection, origin: Origin) -> None:
        """Keep a connection whose exchange left it reusable."""
        state = self._open[connection]
        connection.rest()
        connection.idle_since = perf_counter()
        idle = self._idle.get(origin)
        if idle is None:
            idle = self._idle[origin] = {}
        idle[connection] = state.idle[connection] = None
        self._oldest[connection] = origin
        if len(self._open) > self._most or self._has_too_many(state):
            self._shrink(state)  # more were in use at once than the bounds allow

    def discard(self, connection: Connection) -> None:
        """Stop counting a connection that is closed or about to be. Twice does no harm."""
        state = self._open.pop(connection, None)
        if state is None:
            return
        state.open -= 1
        if not state.open:
            del self._hosts[state.name]
        origin = self._oldest.pop(connection, None)
        if origin is None:
            return
        del state.idle[connection]
        idle = self._idle[origin]
        del idle[connection]
        if not idle:
            del self._idle[origin]

    def close(self) -> None:
        """Close every connection, idle or not."""
        for connection in tuple(self._open):
            connection.close()

    def _has_too_many(self, host: "_Host") -> bool:
        if self._per_host is None or host.name is None:
            return False
        return host.open > self._per_host

    def _shrink(self, host: "_Host") -> bool:
        """Close idle connections until both bounds hold, or none is idle."""
        closed = False
        while self._has_too_many(host) and host.idle:
            next(iter(host.idle)).close()
            closed = True
        while len(self._open) > self._most and self._oldest:
            next(iter(self._oldest)).close()
            closed = True
        return closed


class _Host:
    """The number of open connections to one host, and the idle ones, oldest first."""

    __slots__ = ("idle", "name", "open")

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.open = 0
        self.idle: OrderedDict[Connection, None] = OrderedDict()
