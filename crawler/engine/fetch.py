"""One target -> one `Attempt`: redirects, one timeout, body cap, error kinds.

Calls an httpx transport directly, not through `httpx.AsyncClient`: redirects, cookies
and time are decided here, and no redirect's body is ever read.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

import httpx

from crawler.core import redirect
from crawler.core.semantics import REDIRECT_STATUSES
from crawler.core.url import without_userinfo
from crawler.engine import failure
from crawler.engine.attempt import AttemptState
from crawler.engine.headers import Header, RequestHeaders
from crawler.engine.suspensions import Suspensions
from crawler.engine.timeouts import AttemptTimeouts, expire
from crawler.engine.transports.request import Fields, LazyRequest
from crawler.engine.transports.wire import Gate, InterruptedExchangeError, Wire
from crawler.models import Attempt, Failure, Hop, Limits, Target


class Fetch(Protocol):
    """Requests one target once; never raises.

    Without a `gate` every request starts at once; the time spent waiting at one counts
    neither as latency nor against the timeout.
    """

    def __call__(self, target: Target, gate: Gate | None = None, /) -> Awaitable[Attempt]: ...


class Fetcher:
    """A `Fetch` over `transport`.

    `headers` replace the default ones of the same name and go to every target. With
    `fresh` every connection is a new one, if the transport can do that. `suspensions` gets
    the spans in which this process was suspended, which count for no attempt. `clock` gives
    monotonic seconds, `now` seconds since the epoch.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        limits: Limits,
        headers: Sequence[Header] = (),
        *,
        fresh: bool = False,
        suspensions: Suspensions | None = None,
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._headers = RequestHeaders(headers)
        self._fresh = fresh
        self._suspensions = suspensions or Suspensions()
        self._timeouts = AttemptTimeouts(limits.timeout, self._suspensions)
        self._clock = clock
        self._now = now

    async def __call__(self, target: Target, gate: Gate | None = None, /) -> Attempt:
        bound = asyncio.timeout(None)
        wire = Wire(paused=partial(self._timeouts.paused, bound), gate=gate)
        state = AttemptState(target, wire, self._clock(), self._now())
        error: Failure | None = None
        try:
            async with bound:
                self._timeouts.start(bound, partial(expire, bound))
                error = await self._run(state)
        except Exception as exc:
            if bound.expired() and isinstance(exc, TimeoutError):
                error = failure.timeout(self._limits.timeout, state.wire.phase)
            else:
                error = failure.from_exception(exc, state.wire.phase)
        finally:
            self._timeouts.stop(bound)
        # The transport saw the last byte first: the time since then is local delay.
        end = state.wire.last_byte or self._clock()
        attempt = state.attempt(error, end, self._now)
        if not self._suspensions.total:
            return attempt
        return self._suspensions.subtract_from(
            attempt, state.wires, state.start, state.head_received, end
        )

    async def _run(self, state: AttemptState) -> Failure | None:
        """Send the request, follow redirects, read the body.

        Return why there is no final response, or None if there is one.
        """
        target = state.target
        url, userinfo = without_userinfo(target.url)
        method = target.method
        fields = self._headers.same_origin
        if userinfo is not None:
            fields = self._headers.with_credentials(userinfo)
        requested = {(method, url.partition("#")[0])}
        while True:
            response, locations = await self._final_or_redirect(state, method, url, fields)
            if not locations:
                return None
            await response.aclose()
            step = redirect.follow(
                method=method,
                url=url,
                status=response.status_code,
                locations=locations,
                requested=requested,
                masked=target.masked,
            )
            if isinstance(step, Failure):
                return step
            if len(state.hops) == self._limits.max_redirects:
                return redirect.too_many(self._limits.max_redirects)
            state.hops.append(Hop(url=url, status=response.status_code))
            await state.wire.start_hop(step.host)
            if not step.same_origin:
                fields = self._headers.cross_origin
            method, url = step.method, step.url
            state.begin_request()
            requested.add((method, url.partition("#")[0]))

    async def _final_or_redirect(
        self, state: AttemptState, method: str, url: str, fields: Fields
    ) -> tuple[httpx.Response, list[str]]:
        """Return a final response whose body was read, or a redirect and its Locations."""
        try:
            return await self._send(state, method, url, fields, fresh=self._fresh)
        except InterruptedExchangeError:
            state.discard_body()
        # Not in the handler: a failure from here on must not have that one as its cause.
        await state.wire.start_resend()
        state.begin_request()
        return await self._send(state, method, url, fields, fresh=True)

    async def _send(
        self, state: AttemptState, method: str, url: str, fields: Fields, *, fresh: bool
    ) -> tuple[httpx.Response, list[str]]:
        request = LazyRequest(method, url, fields, state.wire, self._limits.timeout, fresh=fresh)
        response = await self._transport.handle_async_request(request)
        state.begin_response(response, url, self._clock())
        locations = self._locations(response)
        if not locations:
            await state.read_body(response, self._limits.max_body)
        return response, locations

    def _locations(self, response: httpx.Response) -> list[str]:
        """Return the Location fields of a redirect that is to be followed, else nothing.

        Bytes that are not ASCII become lone surrogates (PEP 383).
        """
        if not self._limits.follow or response.status_code not in REDIRECT_STATUSES:
            return []
        fields = response.headers.raw
        found = [value for name, value in fields if name.lower() == b"location"]
        return [value.decode("ascii", "surrogateescape") for value in found]
