"""Names -> addresses: one lookup each, cached, and never delaying the exit."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from crawler.engine.transports.resolve import Address, Addresses, Resolver, literal
from crawler.engine.transports.wire import Wire, WireError
from crawler.models import ErrorKind, Phase

HERE = (Address(socket.AF_INET, "127.0.0.1"),)


class Names:
    """A lookup that counts its calls, and blocks until it is released."""

    def __init__(self, result: Addresses | OSError = HERE) -> None:
        self.lookups: list[str] = []
        self.result = result
        self.go = threading.Event()
        self.go.set()

    def __call__(self, host: str) -> Addresses:
        self.lookups.append(host)
        assert self.go.wait(30)
        if isinstance(self.result, OSError):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("host", "family"),
    [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("2001:db8::1", socket.AF_INET6)],
)
def test_a_literal_address_needs_no_lookup(host: str, family: socket.AddressFamily) -> None:
    assert literal(host) == (Address(family, host),)


@pytest.mark.parametrize("host", ["localhost", "example.com", "a1", "1.2.3", "1.2.3.4.5"])
def test_a_name_is_not_a_literal_address(host: str) -> None:
    assert literal(host) is None


def test_localhost_is_resolved() -> None:
    found = asyncio.run(Resolver(1).resolve("localhost"))
    assert {address.ip for address in found} <= {"127.0.0.1", "::1"}
    assert found


def test_concurrent_requests_for_a_name_share_one_lookup() -> None:
    names = Names()
    names.go.clear()

    async def main() -> list[Addresses]:
        resolver = Resolver(8, names)
        tasks = [asyncio.create_task(resolver.resolve("a.test")) for _ in range(20)]
        await asyncio.sleep(0)
        names.go.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [HERE] * 20
    assert names.lookups == ["a.test"]


def test_addresses_are_cached() -> None:
    names = Names()

    async def main() -> None:
        resolver = Resolver(2, names)
        for _ in range(3):
            assert await resolver.resolve("a.test") == HERE

    asyncio.run(main())
    assert names.lookups == ["a.test"]


def test_a_name_that_does_not_exist_is_cached_and_raised_each_time() -> None:
    names = Names(socket.gaierror(socket.EAI_NONAME, "no such name"))

    async def main() -> None:
        resolver = Resolver(2, names)
        for _ in range(3):
            with pytest.raises(socket.gaierror) as caught:
                await resolver.resolve("a.test")
            assert caught.value.errno == socket.EAI_NONAME

    asyncio.run(main())
    assert names.lookups == ["a.test"]


def test_a_cancelled_request_does_not_cancel_the_lookup_for_others() -> None:
    names = Names()
    names.go.clear()

    async def main() -> Addresses:
        resolver = Resolver(2, names)
        impatient = asyncio.create_task(resolver.resolve("a.test"))
        patient = asyncio.create_task(resolver.resolve("a.test"))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait((impatient,))
        names.go.set()
        return await patient

    assert asyncio.run(main()) == HERE
    assert names.lookups == ["a.test"]


def test_stuck_lookups_do_not_delay_other_names() -> None:
    def lookup(host: str) -> Addresses:
        if host == "stuck.test":
            assert event.wait(30)
        return HERE

    event = threading.Event()

    async def main() -> Addresses:
        resolver = Resolver(2, lookup)
        hanging = asyncio.create_task(resolver.resolve("stuck.test"))
        await asyncio.sleep(0)
        result = await resolver.resolve("good.test")
        hanging.cancel()
        await asyncio.wait((hanging,))
        return result

    try:
        assert asyncio.run(main()) == HERE
    finally:
        event.set()


def test_exit_does_not_wait_for_a_stuck_lookup() -> None:
    program = """
import asyncio, time
from crawler.engine.transports.resolve import Resolver

async def main():
    resolver = Resolver(20, lambda host: time.sleep(60))
    tasks = [asyncio.create_task(resolver.resolve(f"{n}.test")) for n in range(12)]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

asyncio.run(main())
"""
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("code", [socket.EAI_AGAIN, socket.EAI_FAIL], ids=["again", "fail"])
def test_a_temporary_failure_reaches_all_waiters_and_is_not_cached(code: int) -> None:
    names = Names(socket.gaierror(code, "no result"))

    async def main() -> None:
        resolver = Resolver(2, names)
        waiting = (resolver.resolve("a.test") for _ in range(3))
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [getattr(failure, "errno", None) for failure in found] == [code] * 3
        assert names.lookups == ["a.test"]
        names.result = HERE
        assert await resolver.resolve("a.test") == HERE

    asyncio.run(main())
    assert names.lookups == ["a.test"] * 2


class Stuck(Names):
    """Lookups of names that start with "stuck" wait until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.go.clear()

    def __call__(self, host: str) -> Addresses:
        if host.startswith("stuck"):
            return super().__call__(host)
        self.lookups.append(host)
        return HERE


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    names = Stuck()
    yield names
    names.go.set()


async def give_up(*waiting: asyncio.Task[Addresses]) -> None:
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


def test_an_abandoned_lookup_does_not_count_as_a_worker(stuck: Stuck) -> None:
    async def main() -> None:
        resolver = Resolver(1, stuck)
        for number in range(5):
            await give_up(asyncio.create_task(resolver.resolve(f"stuck{number}.test")))
        async with asyncio.timeout(10):
            assert await resolver.resolve("good.test") == HERE

    asyncio.run(main())


def test_a_name_whose_lookup_is_stuck_gets_another_lookup(stuck: Stuck) -> None:
    async def main() -> None:
        resolver = Resolver(1, stuck)
        await give_up(asyncio.create_task(resolver.resolve("stuck.test")))
        again = asyncio.create_task(resolver.resolve("stuck.test"))
        await asyncio.sleep(0)
        stuck.go.set()
        assert await again == HERE

    asyncio.run(main())
    assert stuck.lookups == ["stuck.test"] * 2


def test_the_wait_for_a_thread_is_stall_and_not_lookup_time(stuck: Stuck) -> None:
    async def main() -> Wire:
        resolver = Resolver(1, stuck)
        first = asyncio.create_task(resolver.resolve("stuck.test"))
        wire = Wire()
        second = asyncio.create_task(resolver.resolve("good.test", wire))
        await asyncio.sleep(0.2)
        assert (wire.phase, wire.dns, stuck.lookups) == (Phase.DNS, None, ["stuck.test"])
        stuck.go.set()
        assert (await first, await second) == (HERE, HERE)
        return wire

    wire = asyncio.run(main())
    assert wire.stall > 0.15
    assert wire.dns is not None
    assert wire.dns < 0.15


def test_the_timeout_is_suspended_while_a_lookup_waits_for_a_thread(stuck: Stuck) -> None:
    paused: list[str] = []

    @contextmanager
    def pause() -> Iterator[None]:
        paused.append("paused")
        yield
        paused.append("resumed")

    async def main() -> None:
        resolver = Resolver(1, stuck)
        first = asyncio.create_task(resolver.resolve("stuck.test"))
        second = asyncio.create_task(resolver.resolve("good.test", Wire(paused=pause)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert paused == ["paused"]
        stuck.go.set()
        await asyncio.gather(first, second)

    asyncio.run(main())
    assert paused == ["paused", "resumed"]


def test_a_lookup_abandoned_in_the_queue_is_not_performed(stuck: Stuck) -> None:
    async def main() -> None:
        resolver = Resolver(1, stuck)
        first = asyncio.create_task(resolver.resolve("stuck.test"))
        await asyncio.sleep(0)
        await give_up(asyncio.create_task(resolver.resolve("queued.test")))
        stuck.go.set()
        await first
        await resolver.resolve("last.test")

    asyncio.run(main())
    assert stuck.lookups == ["stuck.test", "last.test"]


def test_with_all_threads_stuck_a_name_fails_with_local_resource(stuck: Stuck) -> None:
    async def main() -> WireError:
        resolver = Resolver(8, stuck, threads=3, patience=0.05)
        for number in range(3):
            await give_up(asyncio.create_task(resolver.resolve(f"stuck{number}.test")))
        wire = Wire()
        with pytest.raises(WireError) as caught:
            await resolver.resolve("good.test", wire)
        assert wire.dns is None
        assert wire.stall > 0.04
        stuck.go.set()
        async with asyncio.timeout(10):
            assert await resolver.resolve("good.test") == HERE
        return caught.value

    failure = asyncio.run(main())
    assert failure.kind is ErrorKind.LOCAL_RESOURCE
    assert failure.detail == "no thread for the lookup within 0.05 s: 3 lookups are stuck"
    assert stuck.lookups == [*(f"stuck{n}.test" for n in range(3)), "good.test"]


@pytest.mark.parametrize("running", [0, 1], ids=["none at all", "one"])
def test_without_a_thread_to_start_a_name_waits_for_one_or_fails(
    stuck: Stuck, running: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        resolver = Resolver(8, stuck)
        first = [asyncio.create_task(resolver.resolve("stuck.test")) for _ in range(running)]
        await asyncio.sleep(0)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        good = asyncio.create_task(resolver.resolve("good.test"))
        await asyncio.sleep(0)
        stuck.go.set()
        if running:
            assert await good == await first[0] == HERE
            return
        with pytest.raises(WireError, match="cannot start a thread: too many processes") as caught:
            await good
        assert caught.value.kind is ErrorKind.LOCAL_RESOURCE

    asyncio.run(main())
