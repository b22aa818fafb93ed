"""One target -> one `Result`: redirects, one deadline, body cap, error kinds.

Calls an httpx transport directly, not through `httpx.AsyncClient`: redirects, cookies
and time are ours to decide, and no redirect's body is ever read.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Protocol

import httpx

from crawler.core import botblock as botwall
from crawler.core import redirect, retry
from crawler.core.pacing import PUSHES_BACK
from crawler.core.url import without_userinfo
from crawler.engine import failure
from crawler.engine.suspensions import Suspensions
from crawler.engine.timeouts import AttemptTimeouts
from crawler.engine.transports.request import Fields, LazyRequest
from crawler.engine.transports.wire import Gate, InterruptedExchangeError, Wire
from crawler.models import (
    Attempt,
    ErrorKind,
    Failure,
    Hop,
    Limits,
    Phase,
    Target,
    Timings,
)
from crawler.version import __version__

Header = tuple[str, str]

DEFAULT_HEADERS: tuple[Header, ...] = (
    ("User-Agent", f"crawl/{__version__}"),
    ("Accept", "*/*"),
    ("Accept-Encoding", "gzip, deflate, br"),
)
# What of the user's own headers may be shown to another origin after a redirect.
_HARMLESS = frozenset({"accept", "accept-language", "user-agent"})
_TOLD = frozenset({b"content-length", b"content-type", b"retry-after", *botwall.FIELDS})


class Fetch(Protocol):
    """Asks for one target, once; never raises.

    Without a `gate` every request starts at once; the time spent at one is neither latency
    nor timeout.
    """

    def __call__(self, target: Target, gate: Gate | None = None, /) -> Awaitable[Attempt]: ...


def fetcher(
    transport: httpx.AsyncBaseTransport,
    limits: Limits,
    headers: Sequence[Header] = (),
    *,
    fresh: bool = False,
    suspensions: Suspensions | None = None,
    clock: Callable[[], float] = time.perf_counter,
    now: Callable[[], float] = time.time,
) -> Fetch:
    """Return the function that fetches one target over `transport`; it never raises.

    `headers` replace the default ones of the same name and go to every target. With
    `fresh` no connection is used that was used before, where the transport can tell.
    `suspensions` gets the spans in which this process stood still, which count for no attempt.
    `clock` gives monotonic seconds, `now` seconds since the epoch.
    """
    given = {name.lower() for name, _ in headers}
    pairs = [*(pair for pair in DEFAULT_HEADERS if pair[0].lower() not in given), *headers]
    own = Fields(pairs)
    shown = [pair for pair in pairs if pair[0].lower() in _HARMLESS]
    harmless = Fields([*shown, *(p for p in DEFAULT_HEADERS if p[0].lower() not in _HARMLESS)])

    suspensions = suspensions or Suspensions()
    timeouts = AttemptTimeouts(limits.timeout, suspensions)

    async def fetch(target: Target, gate: Gate | None = None) -> Attempt:
        bound = asyncio.timeout(None)
        paused = partial(timeouts.paused, bound)
        request = _Fetching(
            transport, limits, target, clock, now, own, harmless, paused, gate, fresh=fresh
        )
        error: Failure | None = None
        try:
            async with bound:
                timeouts.start(bound)
                error = await request.run()
        except Exception as exc:
            if bound.expired() and isinstance(exc, TimeoutError):
                error = failure.timeout(limits.timeout, request.wire.phase)
            else:
                error = failure.from_exception(exc, request.wire.phase)
        finally:
            timeouts.stop(bound)
        return request.attempt(error, suspensions)

    return fetch


class _Fetching:
    """How far one attempt has come: all that can be said of it when it ends, however it ends."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        limits: Limits,
        target: Target,
        clock: Callable[[], float],
        now: Callable[[], float],
        fields: Fields,
        harmless: Fields,
        paused: Callable[[], AbstractContextManager[None]],
        gate: Gate | None,
        *,
        fresh: bool,
    ) -> None:
        self.wire = Wire(paused=paused, gate=gate)
        self._transport = transport
        self._limits = limits
        self._target = target
        self._clock = clock
        self._now = now
        self._timestamp = now()
        self._fresh = fresh
        self._fields = fields
        self._harmless = harmless
        self._wires = [self.wire]
        self._hops: list[Hop] = []
        self._response: httpx.Response | None = None
        self._answered: str | None = None  # the URL that this response came from
        self._told: dict[bytes, str] = {}  # fields of the final response
        self._size: int | None = None
        self._truncated = False
        self._page = b""
        self._start = clock()
        self._began = self._start  # when the last response's head came

    async def run(self) -> Failure | None:
        """Ask, follow redirects, read the body; return why there is no good response, or None."""
        url, userinfo = without_userinfo(self._target.url)
        method = self._target.method
        fields = self._fields
        if userinfo is not None and "authorization" not in fields.headers:
            token = base64.b64encode(userinfo.encode("utf-8", "surrogateescape")).decode("ascii")
            fields = fields.and_also("Authorization", f"Basic {token}")
        asked = {(method, url.partition("#")[0])}
        while True:
            response = await self._final_or_redirect(method, url, fields)
            locations = self._locations(response)
            if not locations:
                return None
            await response.aclose()
            step = redirect.follow(
                method=method,
                url=url,
                status=response.status_code,
                locations=locations,
                asked=asked,
                masked=self._target.masked,
            )
            if isinstance(step, Failure):
                return step
            if len(self._hops) == self._limits.max_redirects:
                return redirect.too_many(self._limits.max_redirects)
            self._hops.append(Hop(url=url, status=response.status_code))
            await self.wire.start_hop(step.host)
            if not step.same_origin:
                fields = self._harmless
            method, url = step.method, step.url
            self._next_wire()
            asked.add((method, url.partition("#")[0]))

    async def _final_or_redirect(self, method: str, url: str, fields: Fields) -> httpx.Response:
        """Return a final response whose body was read, or a redirect."""
        try:
            return await self._once(method, url, fields, fresh=self._fresh)
        except InterruptedExchangeError:
            self._told, self._size, self._page = {}, None, b""
        # Not in the handler: what fails now must not have that failure for its cause.
        await self.wire.start_resend()
        self._next_wire()
        return await self._once(method, url, fields, fresh=True)

    async def _once(self, method: str, url: str, fields: Fields, *, fresh: bool) -> httpx.Response:
        response = await self._ask(method, url, fields, fresh=fresh)
        if not self._locations(response):
            await self._read(response)
        return response

    def _next_wire(self) -> None:
        self.wire = Wire(paused=self.wire.paused, gate=self.wire.gate)
        self._wires.append(self.wire)

    async def _ask(self, method: str, url: str, fields: Fields, *, fresh: bool) -> httpx.Response:
        request = LazyRequest(method, url, fields, self.wire, self._limits.timeout, fresh=fresh)
        response = await self._transport.handle_async_request(request)
        self._response = response
        self._answered = url
        self._began = self.wire.first_byte or self._clock()
        self.wire.phase = Phase.DOWNLOAD
        return response

    def _locations(self, response: httpx.Response) -> list[str]:
        """Return the Location fields of a redirect that is to be followed, else nothing.

        Bytes that are not ASCII come as lone surrogates (PEP 383).
        """
        if not self._limits.follow or response.status_code not in redirect.STATUSES:
            return []
        fields = response.headers.raw
        found = [value for name, value in fields if name.lower() == b"location"]
        return [value.decode("ascii", "surrogateescape") for value in found]

    async def _read(self, response: httpx.Response) -> None:
        """Count the body's bytes as they are on the wire, up to the cap.

        None are kept but the first ones of what may be the page of a bot protection.
        """
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._told = _last_values(response.headers.raw)
        peek = botwall.PEEK if botwall.worth_a_look(response.status_code, self._told) else 0
        self._size = 0
        try:
            async for chunk in response.stream:
                self._size += len(chunk)
                if len(self._page) < peek:
                    self._page += chunk
                if self._size > self._limits.max_body:
                    self._truncated = True
                    break
        finally:
            await response.stream.aclose()

    def attempt(self, error: Failure | None, suspensions: Suspensions) -> Attempt:
        """Return what is known now; `error` says why that is not a complete response."""
        # The transport saw the end first: what passed since then was our own queue.
        end = self.wire.last_byte or self._clock()
        stall = sum(wire.stall for wire in self._wires)
        last = self._response
        final = last if self._size is not None else None
        fields = self._told
        length = _count(fields.get(b"content-length"))
        if error is not None and error.kind is ErrorKind.BODY_INCOMPLETE:
            whole = "" if length is None else f" of {length:,}"
            detail = f"{error.detail}: {self._size or 0:,}{whole} bytes came"
            error = replace(error, detail=detail)
        own = error is not None and error.kind is ErrorKind.LOCAL_RESOURCE
        if error is not None and self.wire.at_proxy and not own:
            error = replace(error, detail=f"the proxy: {error.detail}")
        attempt = Attempt(
            method=self._target.method,
            status=last.status_code if last is not None else None,
            size=self._size if error is None else None,
            latency=end - self._start - stall,
            ttfb=self._began - self._start - stall if final is not None else None,
            timings=self._timings(end),
            redirects=tuple(self._hops),
            final_url=self._answered,
            http_version=self.wire.http_version,
            remote_ip=self.wire.remote_ip,
            tls=self.wire.tls_peer,
            content_type=fields.get(b"content-type"),
            content_length=length,
            truncated=self._truncated,
            error=error,
            timestamp=self._timestamp,
            retry_after=self._retry_after(),
            blocked_by=self._blocked_by(error),
        )
        if not suspensions.total:
            return attempt
        return suspensions.subtract_from(attempt, self._wires, self._start, self._began, end)

    def _retry_after(self) -> float | None:
        asks = self._response is not None and self._response.status_code in PUSHES_BACK
        if not asks or b"retry-after" not in self._told:
            return None
        return retry.after(self._told[b"retry-after"], self._now())

    def _blocked_by(self, error: Failure | None) -> str | None:
        if error is not None or self._response is None:
            return None
        return botwall.blocked_by(self._response.status_code, self._told, self._page)

    def _timings(self, end: float) -> Timings:
        return Timings(
            dns=_total([wire.dns for wire in self._wires]),
            connect=_total([wire.connect for wire in self._wires]),
            tls=_total([wire.tls for wire in self._wires]),
            wait=_total([wire.wait for wire in self._wires]),
            download=end - self._began if self._size is not None else None,
        )


def _last_values(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, str]:
    """Return, of the fields that a record tells, the last value of each."""
    return {low: _text(value) for name, value in fields if (low := name.lower()) in _TOLD}


def _text(value: bytes) -> str:
    """Return a field value as text: UTF-8 where it is that, else ISO 8859-1 (RFC 9110, 5.5)."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("iso-8859-1")


def _count(text: str | None) -> int | None:
    """Return a Content-Length as a number, None where it is none (RFC 9110, section 8.6)."""
    text = (text or "").strip(" \t")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _total(seconds: list[float | None]) -> float | None:
    if len(seconds) == 1:
        return seconds[0]
    known = [value for value in seconds if value is not None]
    return sum(known) if known else None
