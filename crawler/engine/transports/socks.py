"""The SOCKS5 handshake with a proxy that is connected already (RFC 1928, RFC 1929)."""

from typing import TYPE_CHECKING, TypeVar

from crawler.engine.transports.dialogue import Dialogue, refused
from crawler.engine.transports.proxy import Proxy
from crawler.models import ErrorKind

if TYPE_CHECKING:
    from socksio.socks5 import SOCKS5Connection

T = TypeVar("T")
_VERSION = 5
# Replies of RFC 1928, section 6; 3 to 5 are the target's failure, seen from the proxy.
_FAILURES = {
    1: ("it reports a general failure", ErrorKind.PROTOCOL),
    2: ("its rules do not allow the connection", ErrorKind.PROTOCOL),
    3: ("it cannot reach the network of the host", ErrorKind.UNREACHABLE),
    4: ("it cannot reach the host", ErrorKind.UNREACHABLE),
    5: ("its connection to the host was refused", ErrorKind.CONNECT_REFUSED),
    6: ("its connection to the host ran out of hops (TTL)", ErrorKind.UNREACHABLE),
    7: ("it does not support CONNECT", ErrorKind.PROTOCOL),
    8: ("it does not support this type of address", ErrorKind.PROTOCOL),
}


async def connect(dialogue: Dialogue, proxy: Proxy, host: str, port: int) -> None:
    """Have the proxy connect to `host`, whose name it resolves.

    Raises WireError for what the proxy refuses, reports or does wrong.
    """
    from socksio import SOCKSError, socks5  # installed by the extra socks

    methods = [socks5.SOCKS5AuthMethod.NO_AUTH_REQUIRED]
    if proxy.user is not None:
        methods.append(socks5.SOCKS5AuthMethod.USERNAME_PASSWORD)
    connection = socks5.SOCKS5Connection()
    try:
        connection.send(socks5.SOCKS5AuthMethodsRequest(methods))
        dialogue.write(connection.data_to_send())
        reply = await dialogue.exactly(2)
        method = _read(connection, reply, socks5.SOCKS5AuthReply).method
        if reply[0] != _VERSION:
            raise SOCKSError
        if method not in methods:
            raise refused(f"it requires {'another kind of' if proxy.user else 'a'} login")
        if method is socks5.SOCKS5AuthMethod.USERNAME_PASSWORD:
            connection.send(socks5.SOCKS5UsernamePasswordRequest(*proxy.user or (b"", b"")))
            dialogue.write(connection.data_to_send())
            reply = await dialogue.exactly(2)
            if not _read(connection, reply, socks5.SOCKS5UsernamePasswordReply).success:
                raise refused("it refused the name and password")
        command = socks5.SOCKS5Command.CONNECT
        connection.send(socks5.SOCKS5CommandRequest.from_address(command, (host, port)))
        dialogue.write(connection.data_to_send())
        head = await dialogue.exactly(5)
        if head[0] == _VERSION and head[1] in _FAILURES:
            raise refused(*_FAILURES[head[1]])
        # By the type of its address (RFC 1928, section 6); what is missing is read, no more.
        more = {1: 5, 3: head[4] + 2, 4: 17}.get(head[3], 0)
        _read(connection, head + await dialogue.exactly(more), socks5.SOCKS5Reply)
    except SOCKSError as exc:
        raise refused("what it sent is not a SOCKS5 reply") from exc
    except OverflowError as exc:  # raised before anything is sent
        raise refused("SOCKS5 has no room for more than 255 bytes of a name") from exc


def _read(connection: "SOCKS5Connection", data: bytes, kind: type[T]) -> T:
    reply = connection.receive_data(data)
    assert isinstance(reply, kind)  # as the state of the connection demands
    return reply
