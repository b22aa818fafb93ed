"""Attempts over a `LeanTransport`: a task for each, without worker, sender and httpx objects.

The requests are those of a `Fetcher`, so the records are too. A transport that can only be
awaited needs a task for an attempt, but nothing around it: that costs a sixth less.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

from crawler.engine import failure
from crawler.engine.attempt import AttemptState
from crawler.engine.chain import Chain
from crawler.engine.course import Ended
from crawler.engine.fetch import Fetcher
from crawler.engine.headers import Header, RequestHeaders
from crawler.engine.slots import Flight
from crawler.engine.suspensions import Suspensions
from crawler.engine.timeouts import AttemptTimeouts
from crawler.engine.transports.lean import LeanTransport
from crawler.engine.transports.wire import Wire
from crawler.models import Attempt, Failure, Limits, Target


class LeanPath:
    """Sends the requests of attempts with a `Fetcher`; the arguments are those of one."""

    def __init__(
        self,
        transport: LeanTransport,
        limits: Limits,
        headers: Sequence[Header] = (),
        *,
        suspensions: Suspensions | None = None,
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.limits = limits
        self.headers = RequestHeaders(headers)
        self.suspensions = suspensions or Suspensions()
        self.timeouts = AttemptTimeouts(limits.timeout, self.suspensions)
        self.clock = clock
        self.now = now
        self.run = Fetcher(transport, limits, headers, clock=clock, now=now).run
        self.in_flight: set[_LeanAttempt] = set()

    def start(self, target: Target, flight: Flight, ended: Ended) -> None:
        """Start an attempt."""
        self.in_flight.add(_LeanAttempt(self, target, flight, ended))

    async def cancel(self) -> None:
        """Cancel all attempts: their `ended` is not called any more."""
        attempts = tuple(self.in_flight)
        if attempts:
            await asyncio.wait([attempt.cancel() for attempt in attempts])
        # A task that is cancelled before its first step never runs.
        for attempt in tuple(self.in_flight):
            attempt.discard()


class _LeanAttempt:
    __slots__ = ("_ended", "_flight", "_has_expired", "_path", "_task")

    def __init__(self, path: LeanPath, target: Target, flight: Flight, ended: Ended) -> None:
        self._path = path
        self._flight = flight
        self._ended: Ended | None = ended
        self._has_expired = False
        self._task = asyncio.create_task(self._run(target))

    def expire(self) -> None:
        """End the attempt: its time is up."""
        self._has_expired = True
        self._task.cancel()

    def cancel(self) -> "asyncio.Task[None]":
        """End the attempt without a call of `ended`; return the task that must end first."""
        self._ended = None
        self._task.cancel()
        return self._task

    def discard(self) -> None:
        """Release the host's slot of an attempt that was cancelled."""
        self._path.in_flight.discard(self)
        self._flight.release_host()

    async def _run(self, target: Target) -> None:
        path = self._path
        wire = Wire(paused=partial(path.timeouts.paused, self), gate=self._flight)
        chain = Chain(target, path.headers, path.limits)
        state = AttemptState(chain, wire, path.clock(), path.now(), path.limits.max_body)
        path.timeouts.start(self, self.expire)
        error: Failure | None
        try:
            error = await path.run(state)
        except asyncio.CancelledError as exc:
            if self._has_expired:
                error = failure.timeout(path.limits.timeout, state.wire.phase)
            else:
                error = failure.from_exception(exc, state.wire.phase)
        except Exception as exc:
            error = failure.from_exception(exc, state.wire.phase)
        self._end(state, error)

    def _end(self, state: AttemptState, error: Failure | None) -> None:
        path = self._path
        path.timeouts.stop(self)
        if self._ended is None:
            self.discard()
            return
        path.in_flight.discard(self)
        try:
            end = state.wire.last_byte or path.clock()
            attempt = path.suspensions.subtract_from(
                state.attempt(error, end, path.now), state.wires, state.began, state.head_at, end
            )
        except Exception as exc:
            method = state.chain.target.method
            attempt = Attempt(method=method, error=failure.from_exception(exc, None))
        self._ended(self._flight, attempt)
