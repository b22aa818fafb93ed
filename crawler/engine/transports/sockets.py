"""Addresses -> a connected socket; a socket -> its peer."""

import errno
import os
import re
import socket

from aiohappyeyeballs import start_connection

from crawler.engine.transports.resolve import Addresses

_RACE = 0.25  # seconds before the next address is tried too (RFC 8305, section 5)
# If several addresses failed in different ways, the most informative failure, in this order.
_INFORMATIVE = (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


def peer(sock: socket.socket) -> str | None:
    """Return the address that a socket is connected to; None if the server has reset it already.

    The reset itself is reported by the next use of the socket.
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
        number = next((known for known in _INFORMATIVE if known in found), found[0])
        raise OSError(number, os.strerror(number)) from exc
