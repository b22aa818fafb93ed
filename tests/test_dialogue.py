"""The exchange with a proxy: in any pieces, with partial sends, and bounded."""

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from loops import POLLERS, Loop

from crawler.engine.transports.dialogue import Dialogue
from crawler.engine.transports.wire import WireError
from crawler.models import ErrorKind

WITHIN = 10.0  # seconds
ON_EACH = pytest.mark.parametrize("loop", POLLERS)
END = re.compile(rb"\r\n\r\n")


def talking(
    loop: Loop, body: Callable[[Dialogue, socket.socket], Coroutine[Any, Any, None]]
) -> None:
    """Run `body` on a dialogue and its far end, a blocking socket."""

    async def main() -> None:
        poller = loop.poller(asyncio.get_running_loop())
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            far.settimeout(WITHIN)
            dialogue = Dialogue(poller, near)
            try:
                async with asyncio.timeout(WITHIN):
                    await body(dialogue, far)
            finally:
                dialogue.close()
                poller.close()

    loop.run(main())


async def heads(dialogue: Dialogue) -> None:
    """Read one head after the other."""
    while True:
        await dialogue.until(END, 65_536)


@ON_EACH
def test_replies_in_any_pieces_are_returned_complete(loop: Loop) -> None:
    async def body(dialogue: Dialogue, far: socket.socket) -> None:
        for piece in (b"ab", b"c", b"head\r\n", b"\r", b"\nrest"):
            far.send(piece)
            await asyncio.sleep(0.002)
        assert await dialogue.exactly(3) == b"abc"
        assert await dialogue.until(END, 100) == b"head\r\n\r\n"
        assert await dialogue.exactly(4) == b"rest"
        dialogue.finish()

    talking(loop, body)


@ON_EACH
def test_a_large_message_reaches_a_slow_proxy_whole(loop: Loop) -> None:
    size = 5_000_000

    async def body(dialogue: Dialogue, far: socket.socket) -> None:
        def serve() -> int:
            count = 0
            while count < size:
                count += len(far.recv(65_536))
            far.send(b"done")
            return count

        dialogue.write(bytes(size - 4))
        dialogue.write(b"last")
        await asyncio.sleep(0.02)
        assert await asyncio.to_thread(serve) == size
        assert await dialogue.exactly(4) == b"done"

    talking(loop, body)


@ON_EACH
@pytest.mark.parametrize("piece", [b"x" * 50_000, b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000])
def test_a_proxy_that_sends_without_end_is_refused(loop: Loop, piece: bytes) -> None:
    async def body(dialogue: Dialogue, far: socket.socket) -> None:
        def flood() -> None:
            with suppress(OSError):
                while True:
                    far.sendall(piece)

        thread = threading.Thread(target=flood)
        thread.start()
        with pytest.raises(WireError, match=r"longer than|more than") as caught:
            await heads(dialogue)
        assert caught.value.kind is ErrorKind.PROTOCOL
        far.shutdown(socket.SHUT_RDWR)
        await asyncio.to_thread(thread.join)

    talking(loop, body)


@ON_EACH
def test_a_proxy_that_closes_is_disconnected_after_its_last_bytes(loop: Loop) -> None:
    async def body(dialogue: Dialogue, far: socket.socket) -> None:
        far.send(b"ab")
        far.close()
        assert await dialogue.exactly(2) == b"ab"
        with pytest.raises(WireError) as caught:
            await dialogue.exactly(1)
        assert caught.value.kind is ErrorKind.DISCONNECTED
        with pytest.raises(WireError):
            dialogue.finish()

    talking(loop, body)


@ON_EACH
def test_unsolicited_bytes_keep_the_socket_from_being_used(loop: Loop) -> None:
    async def body(dialogue: Dialogue, far: socket.socket) -> None:
        far.send(b"head\r\n\r\nmore")
        await dialogue.until(END, 100)
        with pytest.raises(WireError, match="unsolicited"):
            dialogue.finish()

    talking(loop, body)
