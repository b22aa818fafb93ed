"""One attempt by callbacks, from the request for its target to the facts of its response."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING

from crawler.core.semantics import IDEMPOTENT_METHODS, REDIRECT_STATUSES
from crawler.engine import failure
from crawler.engine.attempt import AttemptState
from crawler.engine.chain import Chain
from crawler.engine.course import Course, Ended
from crawler.engine.slots import Flight
from crawler.engine.transports.connector import record_opening
from crawler.engine.transports.http1.exchange import Exchange
from crawler.engine.transports.requesthead import Origin, head_of_parts, origin_of_site, split
from crawler.engine.transports.wire import Wire, WireError
from crawler.models import Attempt, Failure, Phase, Target

if TYPE_CHECKING:
    from crawler.engine.transports.http1.connection import Connection

_LOST = (OSError, WireError)
_WAIT = Phase.WAIT  # looking up a member of an enum costs as much as a call


class PlainAttempt(AttemptState):
    """One attempt: the listener of its exchanges. `ended` may be called before `start` returns."""

    __slots__ = (
        "_connection",
        "_course",
        "_ended",
        "_exchange",
        "_flight",
        "_has_expired",
        "_head",
        "_is_kept",
        "_locations",
        "_origin",
        "_task",
    )

    def __init__(self, course: Course, target: Target, flight: Flight, ended: Ended) -> None:
        limits = course.limits
        chain, wire = Chain(target, course.headers, limits), Wire(gate=flight)
        super().__init__(chain, wire, course.clock(), course.now(), limits.max_body)
        self._course = course
        self._flight = flight
        self._ended: Ended | None = ended
        self._head = b""  # of the present request
        self._origin: Origin | None = None  # of the present request
        self._connection: Connection | None = None
        self._exchange: Exchange | None = None
        self._is_kept = False  # the connection carried other exchanges before
        self._locations: list[str] = []  # of the redirect that is followed next
        self._task: asyncio.Task[None] | None = None
        self._has_expired = False

    def start(self) -> None:
        """Send the first request."""
        self._course.in_flight.add(self)
        self._course.timeouts.start(self, self.expire)
        self._request()

    def expire(self) -> None:
        """End the attempt: its time is up."""
        self._has_expired = True
        if self._task is not None:
            self._task.cancel()  # it holds a place in a queue until it has ended
            return
        if self._connection is not None and self._exchange is None:
            record_opening(self._connection.opening, self.wire)
        self._stop(failure.timeout(self._course.limits.timeout, self.wire.phase))

    def cancel(self) -> asyncio.Task[None] | None:
        """End the attempt without a call of `ended`; return the task that must end first."""
        self._ended = None
        if self._task is not None:
            self._task.cancel()
        else:
            self._stop(None)
        return self._task

    # What the connection and the exchange call.

    def opened(self, error: Exception | None) -> None:
        """The connection is open, or failed to open."""
        assert self._connection is not None
        record_opening(self._connection.opening, self.wire)
        if error is not None:
            self._connection = None
            self._fail(error)
        else:
            self._go_on(self._send)

    def head_received(self) -> None:
        exchange, connection = self._exchange, self._connection
        assert exchange is not None
        assert connection is not None
        head = exchange.head
        assert head is not None
        wire, opening = self.wire, connection.opening
        wire.first_byte = exchange.first_byte
        wire.remote_ip, wire.tls_peer = opening.remote_ip, opening.tls
        wire.http_version = "HTTP/1.1" if head.version == "1.1" else f"HTTP/{head.version}"
        self.begin_response(head.status, exchange.first_byte or 0.0)
        if head.status in REDIRECT_STATUSES:
            self._locations = self.chain.locations(head.status, head.headers)
        if not self._locations:
            self.begin_body(head.last)
        else:
            # No redirect's body is read, but one that came together with the head is
            # skipped, which saves the connection.
            asyncio.get_running_loop().call_soon(self._skip_body, exchange)

    def body_received(self, data: bytes) -> None:
        if self._locations or self.truncated or not self.receive(data):
            return
        assert self._connection is not None
        self._connection.pause()
        # What came of the body together with this is skipped, as that of a redirect is.
        asyncio.get_running_loop().call_soon(self._skip_body, self._exchange)

    def exchange_ended(self, error: Exception | None) -> None:
        exchange, wire = self._exchange, self.wire
        assert exchange is not None
        wire.first_byte, wire.last_byte = exchange.first_byte, exchange.last_byte
        self._release()
        if self._locations:
            self._follow()
        elif error is None or self.truncated:
            self._end(None)
        elif self._is_kept and exchange.untouched and isinstance(error, _LOST):
            self._resend()
        else:
            self._fail(error)

    # Parts of the above.

    def _request(self) -> None:
        """Send the present request of the chain, on a kept connection if there is one."""
        chain, connector = self.chain, self._course.connector
        try:
            site, path = split(chain.url)
            origin = self._origin = origin_of_site(site)
            self._head = head_of_parts(chain.method, site, path, chain.fields)
            if connector.block_private:
                connector.check(origin[1])
            # The server may be closing a kept connection already: a request that may not be
            # sent twice would fail although the URL is good.
            if chain.method in IDEMPOTENT_METHODS:
                self._connection = connector.take(origin)
            self._is_kept = self._connection is not None
            if self._is_kept:
                self._send()
            else:
                self._open()
        except Exception as exc:
            self._fail(exc)

    def _open(self) -> None:
        assert self._origin is not None
        self._connection = self._course.connector.open_now(self._origin, self.wire, self.opened)
        if self._connection is None:
            self._wait(self._open_later(), self._send)

    async def _open_later(self) -> None:
        assert self._origin is not None
        connector, wire = self._course.connector, self.wire
        wire.paused = partial(self._course.timeouts.paused, self)
        self._connection = await connector.open(self._origin, None, wire)

    def _send(self) -> None:
        assert self._connection is not None
        wire = self.wire
        exchange = self._exchange = Exchange(self, is_head=self.chain.method == "HEAD")
        wire.phase = _WAIT
        wire.sent = time.perf_counter()
        self._connection.send(self._head, exchange)

    def _resend(self) -> None:
        """Send the request on a new connection: a lost kept one says nothing about the URL.

        That is safe (RFC 9112, section 9.3.1).
        """
        wire = self.wire
        wire.sent = wire.first_byte = wire.last_byte = None
        self._is_kept = False
        if self._flight.try_resend():
            self._go_on(self._open)
        else:
            self._wait(self._take_turn(), self._open)

    def _skip_body(self, exchange: Exchange | None) -> None:
        """Do without the rest of a body that has not ended in the meantime."""
        if exchange is not None and self._exchange is exchange:
            self._release()
            exchange.abandon()
            if self._locations:
                self._follow()
            else:
                self._end(None)

    def _follow(self) -> None:
        locations = self._locations
        assert self.status is not None
        self._locations = []
        try:
            host = self.chain.follow(self.status, locations)
        except Exception as exc:
            self._fail(exc)
            return
        if isinstance(host, Failure):
            self._end(host)
        elif self._flight.try_hop(host):
            self._next_request()
        else:
            self._wait(self._take_turn(), self._next_request)

    def _next_request(self) -> None:
        self.begin_request()
        self._request()

    async def _take_turn(self) -> None:
        """Wait until the flight may send its next request; the wait is stall."""
        wire = self.wire
        wire.paused = partial(self._course.timeouts.paused, self)
        with wire.stalled():
            await self._flight.wait_for_turn()

    def _wait(self, coroutine: Coroutine[None, None, None], then: Callable[[], None]) -> None:
        """Go on with `then` after what must be awaited."""
        self._task = asyncio.create_task(coroutine)
        # Not in the task itself: one that is cancelled before its first step never runs.
        self._task.add_done_callback(partial(self._waited, then))

    def _waited(self, then: Callable[[], None], task: asyncio.Task[None]) -> None:
        """Go on, unless the task has failed, or the attempt was ended in the meantime."""
        self._task = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self._ended is None:
            self._stop(None)
        elif self._has_expired and (error is None or task.cancelled()):
            self.expire()
        elif error is not None:
            self._fail(error)
        else:
            self._go_on(then)

    def _go_on(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as exc:
            self._fail(exc)

    def _fail(self, exc: BaseException) -> None:
        self._stop(failure.from_exception(exc, self.wire.phase))

    def _stop(self, error: Failure | None) -> None:
        """Abandon what is in progress, and end."""
        exchange = self._exchange
        self._release()
        if exchange is not None:
            exchange.abandon()
        self._end(error)

    def _release(self) -> None:
        """Release the connection; it is reusable if the request and its response are complete."""
        connection, exchange = self._connection, self._exchange
        self._connection = self._exchange = None
        if connection is None:
            return
        assert self._origin is not None
        reusable = exchange is not None and exchange.reusable and connection.is_sent
        self._course.connector.release(self._origin, connection, reusable)

    def _end(self, error: Failure | None) -> None:
        course, ended = self._course, self._ended
        course.timeouts.stop(self)
        course.in_flight.discard(self)
        self._ended = None
        if ended is None:
            self._flight.release_host()
            return
        try:
            # The exchange saw the last byte first: the time since then is local delay.
            end = self.wire.last_byte or course.clock()
            attempt = self.attempt(error, end, course.now)
            if course.suspensions.total:
                attempt = course.suspensions.subtract_from(
                    attempt, self.wires, self.began, self.head_at, end
                )
        except Exception as exc:
            method = self.chain.target.method
            attempt = Attempt(method=method, error=failure.from_exception(exc, None))
        ended(self._flight, attempt)
