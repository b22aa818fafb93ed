"""Addresses -> a connected socket, and what can be known of one."""

import errno
import os
import re
import select
import socket
from collections.abc import Callable

from aiohappyeyeballs import start_connection

from crawler.engine.transports.resolve import Addresses

_RACE = 0.25  # seconds one address is given before the next is tried too (RFC 8305, section 5)
# Of several addresses that failed in different ways, the failure that says most.
_TELLING = (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


def peer(sock: socket.socket) -> str | None:
    """Return the address that a socket is connected to; None if it is connected no more.

    A server may have reset it already: that shows in the phase in which it matters.
    """
    try:
        return str(sock.getpeername()[0])
    except OSError:
        return None


async def open_socket(addresses: Addresses, port: int) -> socket.socket:
    """Connect to the first of `addresses` that accepts (RFC 8305). Raises OSError."""
    infos = [
        (a.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (a.ip, port)) for a in addresses
    ]
    try:
        return await start_connection(infos, happy_eyeballs_delay=_RACE)
    except OSError as exc:
        if exc.errno is not None:
            raise
        found = [int(number) for number in re.findall(r"\[Errno (\d+)\]", str(exc))]
        if not found:
            raise
        number = next((telling for telling in _TELLING if telling in found), found[0])
        raise OSError(number, os.strerror(number)) from exc


def readable(fd: int) -> Callable[[], bool]:
    """Return a function that says whether bytes, or the end, wait to be read from `fd`."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: bool(select.select([fd], [], [], 0)[0])
    watch = select.poll()
    watch.register(fd, select.POLLIN)
    return lambda: bool(watch.poll(0))
