"""Attempts over a lean transport: each ends once, whatever happens, and holds nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from fetching import target
from samples import run

from crawler.engine.clock import SystemClock
from crawler.engine.leanpath import LeanPath
from crawler.engine.slots import Flight, Slots
from crawler.engine.suspensions import Suspensions
from crawler.engine.transports.lean import LeanTransport
from crawler.engine.transports.requesthead import Fields
from crawler.engine.transports.wire import Wire
from crawler.engine.visit import Visit
from crawler.models import Attempt, ErrorKind, Limits, Phase

WITHIN = 10.0  # seconds


class Response:
    """A response with a body of five bytes."""

    status_code = 200

    def fields(self, names: frozenset[bytes]) -> dict[bytes, bytes]:
        return {b"content-type": b"text/plain"}

    def locations(self) -> list[tuple[bytes, bytes]]:
        return []

    async def read_body(self, receive: Callable[[bytes], bool]) -> None:
        receive(b"hello")

    async def aclose(self) -> None: ...


class Scripted(LeanTransport):
    """Does what `act` does with each request; without a response, httpx's way is taken."""

    def __init__(self, act: Callable[[Wire], Awaitable[Response | None]]) -> None:
        self._act = act

    def send(
        self, method: str, url: str, fields: Fields, wire: Wire, *, seconds: float, fresh: bool
    ) -> Awaitable[Response | None]:
        return self._act(wire)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(204)


class Lean:
    """Starts attempts; `ended` holds the facts of those that ended, in order."""

    def __init__(
        self,
        act: Callable[[Wire], Awaitable[Response | None]],
        *,
        timeout: float = WITHIN,
        suspensions: Suspensions | None = None,
    ) -> None:
        limits = Limits(timeout=timeout)
        self.ended: list[Attempt] = []
        self.slots = Slots(limits, SystemClock())
        self.path = LeanPath(Scripted(act), limits, suspensions=suspensions)
        self._change = asyncio.Event()

    async def start(self) -> None:
        visit = Visit(target("https://a.test/"), 0.0)
        self.slots.lanes.enqueue(visit)
        await self.slots.acquire()
        assert self.slots.lanes.take() is visit
        self.path.start(visit.target, Flight(self.slots, visit), self._attempt_ended)

    async def fetch(self) -> Attempt:
        await self.start()
        async with asyncio.timeout(WITHIN):
            await self._change.wait()
        return self.ended[-1]

    @property
    def is_idle(self) -> bool:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        return not (tasks or self.path.in_flight or self.slots.requests_in_flight)

    def _attempt_ended(self, flight: Flight, attempt: Attempt) -> None:
        self.ended.append(attempt)
        flight.release_host()
        self._change.set()


async def responds(wire: Wire) -> Response:
    await asyncio.sleep(0)
    return Response()


async def hangs(wire: Wire) -> Response:
    wire.phase = Phase.WAIT
    await asyncio.sleep(2 * WITHIN)
    return Response()


def fetched(lean: Callable[[], Lean]) -> Attempt:
    async def body() -> Attempt:
        made = lean()
        attempt = await made.fetch()
        await asyncio.sleep(0)
        assert made.is_idle
        assert len(made.ended) == 1
        return attempt

    return run(body())


def kind_of(attempt: Attempt) -> tuple[ErrorKind, Phase | None] | None:
    return None if attempt.error is None else (attempt.error.kind, attempt.error.phase)


def test_a_response_ends_an_attempt() -> None:
    attempt = fetched(lambda: Lean(responds))
    assert kind_of(attempt) is None
    assert (attempt.status, attempt.size, attempt.content_type) == (200, 5, "text/plain")


def test_what_the_transport_leaves_to_httpx_goes_over_httpx() -> None:
    async def leaves(wire: Wire) -> None:
        return None

    assert fetched(lambda: Lean(leaves)).status == 204


def test_an_attempt_times_out() -> None:
    attempt = fetched(lambda: Lean(hangs, timeout=0.1))
    assert kind_of(attempt) == (ErrorKind.TIMEOUT, Phase.WAIT)
    assert attempt.latency is not None
    assert 0.1 <= attempt.latency < WITHIN


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError(), (ErrorKind.RESET, Phase.CONNECT)),
        (RuntimeError("unexpected"), (ErrorKind.INTERNAL, Phase.CONNECT)),
        (asyncio.CancelledError(), (ErrorKind.INTERNAL, Phase.CONNECT)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_the_transport_raises_ends_an_attempt(
    error: BaseException, kind: tuple[ErrorKind, Phase]
) -> None:
    async def fails(wire: Wire) -> Response:
        raise error

    assert kind_of(fetched(lambda: Lean(fails))) == kind


def test_a_failure_to_state_the_facts_ends_an_attempt() -> None:
    class Broken(Suspensions):
        def subtract_from(self, *_args: object) -> Attempt:
            raise RuntimeError("unexpected")

    attempt = fetched(lambda: Lean(responds, suspensions=Broken()))
    assert kind_of(attempt) == (ErrorKind.INTERNAL, None)


@pytest.mark.parametrize("steps", [0, 1, 2], ids=["before it began", "begun", "in flight"])
def test_a_cancelled_attempt_ends_without_a_call(steps: int) -> None:
    async def body() -> None:
        lean = Lean(hangs)
        for _ in range(3):
            await lean.start()
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(WITHIN):
            await lean.path.cancel()
        assert lean.is_idle
        assert lean.ended == []

    run(body())
