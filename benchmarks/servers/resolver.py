"""ADDRESS ZONE -> a name server on port 53 of a loopback address, for all names of a zone.

Each name of the zone has the address 127.0.0.1 and no others (RFC 1035; no data, RFC 2308,
for AAAA and the rest); names outside it do not exist. Prints a line when it is ready. When
standard input ends it prints, as JSON, how many queries of each type came.
"""

import json
import os
import selectors
import socket
import struct
import sys
from collections import Counter

A, AAAA = 1, 28
_HEADER = struct.Struct("!HHHHHH")
_PRESENT, _ABSENT = 0x8580, 0x8583  # a response with authority: no error, no such name
_TTL = 3_600  # seconds


def respond(query: bytes, zone: str) -> tuple[int, bytes]:
    """Return the type of a query's one question, and the response. Raises ValueError."""
    try:
        number, _, _, _, _, _ = _HEADER.unpack_from(query)
        labels, position = [], _HEADER.size
        while length := query[position]:
            labels.append(query[position + 1 : position + 1 + length])
            position += 1 + length
        kind, _ = struct.unpack_from("!HH", query, position + 1)
    except (IndexError, struct.error) as exc:
        raise ValueError("not a DNS query") from exc
    question = query[_HEADER.size : position + 5]
    name = b".".join(labels).decode("ascii", "replace").lower()
    present = name.endswith(f".{zone}")
    answers = present and kind == A
    header = _HEADER.pack(number, _PRESENT if present else _ABSENT, 1, int(answers), 0, 0)
    address = struct.pack("!HHHIH4B", 0xC00C, A, 1, _TTL, 4, 127, 0, 0, 1) if answers else b""
    return kind, header + question + address


def main(address: str, zone: str) -> None:
    queries: Counter[int] = Counter()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        selectors.DefaultSelector() as selector,
    ):
        server.bind((address, 53))
        selector.register(server, selectors.EVENT_READ)
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        print("ready", flush=True)
        while all(key.fileobj is server for key, _ in selector.select()):
            query, client = server.recvfrom(4_096)
            try:
                kind, response = respond(query, zone)
            except ValueError:
                continue
            queries[kind] += 1
            server.sendto(response, client)
    others = queries.total() - queries[A] - queries[AAAA]
    print(json.dumps({"A": queries[A], "AAAA": queries[AAAA], "others": others}))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as problem:
        print(os.strerror(problem.errno or 0), flush=True)
        sys.exit(1)
