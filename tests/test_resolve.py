"""Names to addresses: one look-up each, remembered, and none that can hold up the exit."""

import asyncio
import socket
import subprocess
import sys
import threading
import time

import pytest

from crawler.engine.resolve import Address, Addresses, Resolver, literal

HERE = (Address(socket.AF_INET, "127.0.0.1"),)


class Names:
    """A look-up that counts, and that waits until it is let go."""

    def __init__(self, answer: Addresses | OSError = HERE) -> None:
        self.asked: list[str] = []
        self.answer = answer
        self.go = threading.Event()
        self.go.set()

    def __call__(self, host: str) -> Addresses:
        self.asked.append(host)
        assert self.go.wait(30)
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("host", "family"),
    [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("2001:db8::1", socket.AF_INET6)],
)
def test_a_literal_address_needs_no_look_up(host: str, family: socket.AddressFamily) -> None:
    assert literal(host) == (Address(family, host),)


@pytest.mark.parametrize("host", ["localhost", "example.com", "a1", "1.2.3", "1.2.3.4.5"])
def test_a_name_is_no_literal_address(host: str) -> None:
    assert literal(host) is None


def test_the_machine_knows_localhost() -> None:
    found = asyncio.run(Resolver(1).resolve("localhost"))
    assert {address.ip for address in found} <= {"127.0.0.1", "::1"}
    assert found


def test_a_name_is_looked_up_once_for_all_who_ask_at_the_same_time() -> None:
    names = Names()
    names.go.clear()

    async def main() -> list[Addresses]:
        resolver = Resolver(8, names)
        asking = [asyncio.create_task(resolver.resolve("a.test")) for _ in range(20)]
        await asyncio.sleep(0)
        names.go.set()
        return await asyncio.gather(*asking)

    assert asyncio.run(main()) == [HERE] * 20
    assert names.asked == ["a.test"]


def test_an_answer_is_remembered() -> None:
    names = Names()

    async def main() -> None:
        resolver = Resolver(2, names)
        for _ in range(3):
            assert await resolver.resolve("a.test") == HERE

    asyncio.run(main())
    assert names.asked == ["a.test"]


def test_a_failure_is_remembered_too_and_raised_to_each() -> None:
    names = Names(socket.gaierror(socket.EAI_NONAME, "no such name"))

    async def main() -> None:
        resolver = Resolver(2, names)
        for _ in range(3):
            with pytest.raises(socket.gaierror) as caught:
                await resolver.resolve("a.test")
            assert caught.value.errno == socket.EAI_NONAME

    asyncio.run(main())
    assert names.asked == ["a.test"]


def test_who_gives_up_takes_the_answer_from_nobody() -> None:
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
    assert names.asked == ["a.test"]


def test_stuck_look_ups_leave_the_other_names_alone() -> None:
    def look_up(host: str) -> Addresses:
        if host == "stuck.test":
            assert stuck.wait(30)
        return HERE

    stuck = threading.Event()

    async def main() -> Addresses:
        resolver = Resolver(2, look_up)
        hanging = asyncio.create_task(resolver.resolve("stuck.test"))
        await asyncio.sleep(0)
        answer = await resolver.resolve("good.test")
        hanging.cancel()
        await asyncio.wait((hanging,))
        return answer

    try:
        assert asyncio.run(main()) == HERE
    finally:
        stuck.set()


def test_no_exit_waits_for_a_stuck_look_up() -> None:
    program = """
import asyncio, time
from crawler.engine.resolve import Resolver

async def main():
    resolver = Resolver(20, lambda host: time.sleep(60))
    asking = [asyncio.create_task(resolver.resolve(f"{n}.test")) for n in range(12)]
    await asyncio.sleep(0.1)
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)

asyncio.run(main())
"""
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)
    assert time.monotonic() - start < 30
