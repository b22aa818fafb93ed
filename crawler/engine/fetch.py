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

from crawler.engine import failure
from crawler.engine.attempt import RECORDED, AttemptState
from crawler.engine.chain import Chain
from crawler.engine.headers import Header, RequestHeaders
from crawler.engine.suspensions import Suspensions
from crawler.engine.timeouts import AttemptTimeouts, expire
from crawler.engine.transports.lean import LeanResponse, LeanTransport
from crawler.engine.transports.request import LazyRequest
from crawler.engine.transports.wire import Gate, InterruptedExchangeError, Wire
from crawler.models import Attempt, Failure, Limits, Target


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
        self._lean = transport if isinstance(transport, LeanTransport) else None
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
        chain = Chain(target, self._headers, self._limits)
        state = AttemptState(chain, wire, self._clock(), self._now(), self._limits.max_body)
        error: Failure | None = None
        try:
            async with bound:
                self._timeouts.start(bound, partial(expire, bound))
                error = await self.run(state)
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
        return self._suspensions.subtract_from(
            attempt, state.wires, state.began, state.head_at, end
        )

    async def run(self, state: AttemptState) -> Failure | None:
        """Send the request, follow redirects, read the body.

        Return why there is no final response, or None if there is one.
        """
        chain = state.chain
        while True:
            response, locations = await self._final_or_redirect(state)
            if not locations:
                return None
            await response.aclose()
            host = chain.follow(response.status_code, locations)
            if isinstance(host, Failure):
                return host
            await state.wire.start_hop(host)
            state.begin_request()

    async def _final_or_redirect(
        self, state: AttemptState
    ) -> tuple[httpx.Response | LeanResponse, list[str]]:
        """Return a final response whose body was read, or a redirect and its Locations."""
        try:
            return await self._send(state, fresh=self._fresh)
        except InterruptedExchangeError:
            state.discard_body()
        # Not in the handler: a failure from here on must not have that one as its cause.
        await state.wire.start_resend()
        state.begin_request()
        return await self._send(state, fresh=True)

    async def _send(
        self, state: AttemptState, *, fresh: bool
    ) -> tuple[httpx.Response | LeanResponse, list[str]]:
        chain, timeout = state.chain, self._limits.timeout
        if self._lean is not None:
            lean = await self._lean.send(
                chain.method, chain.url, chain.fields, state.wire, seconds=timeout, fresh=fresh
            )
            if lean is not None:
                state.begin_response(lean.status_code, self._clock())
                locations = chain.locations(lean.status_code, lean.locations())
                if not locations:
                    state.begin_body(lean.fields(RECORDED))
                    await lean.read_body(state.receive)
                return lean, locations
        request = LazyRequest(
            chain.method, chain.url, chain.fields, state.wire, timeout, fresh=fresh
        )
        response = await self._transport.handle_async_request(request)
        state.begin_response(response.status_code, self._clock())
        locations = chain.locations(response.status_code, response.headers.raw)
        if not locations:
            state.begin_body({name.lower(): value for name, value in response.headers.raw})
            await _read_body(response, state)
        return response, locations


async def _read_body(response: httpx.Response, state: AttemptState) -> None:
    """Read the final response's body up to the cap."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    try:
        async for chunk in response.stream:
            if state.receive(chunk):
                break
    finally:
        await response.stream.aclose()
