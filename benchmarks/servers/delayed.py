"""MILLISECONDS -> a server on 127.0.0.1 that responds to each request after exactly that time.

Prints its port on the first line. When standard input ends it prints, as JSON, the
milliseconds between requests and their responses: p50, p99 and max.

With an event loop each of a hundred concurrent requests would wait for the callbacks of the
others, so the server uses its sockets directly. It waits with select(2), whose timeout is
in microseconds; that of epoll is in milliseconds. It sleeps when nothing is due, because a
process that spins is the first to be preempted on a busy machine.
"""

import json
import selectors
import socket
import sys
from collections import deque
from time import perf_counter

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


class Server:
    """Keeps the responses to send, oldest first; all have the same delay."""

    def __init__(self, delay: float) -> None:
        self.took: list[float] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self._delay = delay
        self._pending: deque[tuple[float, socket.socket]] = deque()
        self._selector = selectors.SelectSelector()
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve until standard input ends."""
        while True:
            for key, _ in self._selector.select(self._timeout()):
                if key.fileobj is self.listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._receive(key.fileobj)
                else:
                    return
                self._send_due()
            self._send_due()

    def _timeout(self) -> float | None:
        """Return the seconds until the next response is due, None if none is pending."""
        if not self._pending:
            return None
        return max(0.0, self._pending[0][0] + self._delay - perf_counter())

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ)

    def _receive(self, connection: socket.socket) -> None:
        """Schedule a response for each request head; clients send a head in one piece."""
        try:
            data = connection.recv(65_536)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            connection.close()
            return
        self._pending.extend([(perf_counter(), connection)] * data.count(b"\r\n\r\n"))

    def _send_due(self) -> None:
        """Send the responses that are due."""
        while self._pending:
            since, connection = self._pending[0]
            waited = perf_counter() - since
            if waited < self._delay:
                return
            self._pending.popleft()
            self.took.append(waited)
            try:
                connection.send(RESPONSE)
            except OSError:
                continue  # the client has gone


def main(milliseconds: float) -> None:
    server = Server(milliseconds / 1000)
    print(server.listener.getsockname()[1], flush=True)
    server.serve()
    took = sorted(server.took) or [0.0]
    ranks = {"p50": len(took) // 2, "p99": len(took) * 99 // 100, "max": len(took) - 1}
    print(json.dumps({name: took[rank] * 1000 for name, rank in ranks.items()}))


if __name__ == "__main__":
    main(float(sys.argv[1]))
