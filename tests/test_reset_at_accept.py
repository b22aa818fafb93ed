"""Servers that reset a connection as soon as they have accepted it."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crawler import ErrorKind, Limits, crawl
from crawler.engine.transports import open_transport
from crawler.engine.transports.settings import ConnectionSettings


@contextmanager
def resetting() -> Iterator[int]:
    """Reset each connection at once, in threads parallel to the client; yield the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:

        def serve() -> None:
            while True:
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                accepted.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_reset_at_accept_is_recorded_as_a_reset(scheme: str, host: str, ca_file: Path) -> None:
    async def main(port: int) -> list[ErrorKind | None]:
        urls = [f"{scheme}://{host}:{port}/{n}" for n in range(300)]
        limits = Limits(max=100, per_host=100, retries=0, timeout=30)
        transport = open_transport(ConnectionSettings(idle=100, cacert=str(ca_file)))
        checks = crawl(urls, limits=limits, transport=transport)
        errors = [check.result.attempt.error async for check in checks]
        return [error.kind if error else None for error in errors]

    with resetting() as port:
        kinds = asyncio.run(main(port))
    assert set(kinds) == {ErrorKind.RESET}
    assert len(kinds) == 300
