"""MILLISECONDS -> a server on 127.0.0.1 that answers each request after exactly that time.

Prints its port on the first line. When standard input ends it prints, as JSON, how many
milliseconds passed between each request and its answer: p50, p99 and max.

No event loop stands between it and its sockets: a hundred requests at once would each pay
for the callbacks of the others. It waits with select(2), whose timeout is in microseconds
where that of epoll is in milliseconds, and sleeps whenever nothing is due: who spins is
the first to be kept waiting when a processor is short.
"""

import json
import selectors
import socket
import sys
from collections import deque
from time import perf_counter

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


class Server:
    """The answers that are owed, oldest first: all wait equally long."""

    def __init__(self, delay: float) -> None:
        self.took: list[float] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self._delay = delay
        self._owed: deque[tuple[float, socket.socket]] = deque()
        self._selector = selectors.SelectSelector()
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve until standard input ends."""
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self.listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._receive(key.fileobj)
                else:
                    return
                self._pay()
            self._pay()

    def _patience(self) -> float | None:
        """Return how long nothing is due for: None while nothing is owed."""
        if not self._owed:
            return None
        return max(0.0, self._owed[0][0] + self._delay - perf_counter())

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ)

    def _receive(self, connection: socket.socket) -> None:
        """Owe an answer for each head that ends here; clients send one in one piece."""
        try:
            data = connection.recv(65_536)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(connection)
            connection.close()
            return
        self._owed.extend([(perf_counter(), connection)] * data.count(b"\r\n\r\n"))

    def _pay(self) -> None:
        """Answer what is due."""
        while self._owed:
            since, connection = self._owed[0]
            waited = perf_counter() - since
            if waited < self._delay:
                return
            self._owed.popleft()
            self.took.append(waited)
            try:
                connection.send(ANSWER)
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
