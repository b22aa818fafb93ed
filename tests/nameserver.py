"""Misbehaving name servers, and `crawl` in a network namespace in which there are no others.

The names resolve as those of any program do: through getaddrinfo, /etc/resolv.conf and UDP.
"""

import fcntl
import json
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from loopback import Server, reply
from shell import COMMAND, PATIENCE, environment

_ADDRESSES = ("127.0.0.53", "127.0.0.54")
_A, _NXDOMAIN, _SERVFAIL = 1, 3, 2


class NameServer:
    """Responds with 127.0.0.1, except for names that start with another behaviour.

    `silent` gets no response, `missing` NXDOMAIN, `later` SERVFAIL; `queries` counts the A queries.
    """

    def __init__(self, address: str, queries: Counter[str]) -> None:
        self._queries = queries
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4096)
            if (response := self._respond(query)) is not None:
                self._socket.sendto(response, client)

    def _respond(self, query: bytes) -> bytes | None:
        """Return the response to a query (RFC 1035, section 4.1)."""
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        (kind,) = struct.unpack_from("!H", query, at + 1)
        name = ".".join(labels)
        if kind == _A:
            self._queries[name] += 1
        if name.startswith("silent"):
            return None
        code = _NXDOMAIN if name.startswith("missing") else 0
        code = _SERVFAIL if name.startswith("later") else code
        record = b""
        if kind == _A and not code:
            record = struct.pack("!HHHIH", 0xC00C, _A, 1, 60, 4) + socket.inet_aton("127.0.0.1")
        head = struct.pack("!HHHHHH", 0, 0x8180 | code, 1, 1 if record else 0, 0, 0)[2:]
        return query[:2] + head + query[12 : at + 5] + record


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The outcome of a run of `crawl`. `queries` counts the A queries by name."""

    code: int
    records: list[dict[str, Any]]
    stderr: str
    queries: dict[str, int]


def crawl_names(names: Sequence[str], *args: str) -> Run:
    """Run `crawl --jsonl` on `http://NAME/` for each name; the server responds with 200."""
    inside = ["unshare", "--map-root-user", "--mount", "--net"]
    try:
        subprocess.run([*inside, "mount", "--bind", "/etc/hosts", "/etc/hosts"], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no namespaces for a name server of the test's own")
    ended = subprocess.run(
        [*inside, sys.executable, __file__],
        input=json.dumps({"names": names, "args": args}),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return Run(**json.loads(ended.stdout))


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH14s", b"lo", 0x49, b""))  # SIOCSIFFLAGS


def _main() -> None:
    """Run inside the namespace: read a job from standard input, write its result."""
    wanted = json.load(sys.stdin)
    _raise_loopback()
    queries: Counter[str] = Counter()
    with TemporaryDirectory() as folder, Server() as server:
        for path, text in (
            ("/etc/resolv.conf", "".join(f"nameserver {one}\n" for one in _ADDRESSES)),
            ("/etc/nsswitch.conf", "hosts: files dns\n"),
        ):
            mine = Path(folder, Path(path).name)
            mine.write_text(text)
            subprocess.run(["mount", "--bind", mine, path], check=True)
        for address in _ADDRESSES:
            NameServer(address, queries)
        server.on("/", reply(200, b"good"))
        urls = Path(folder, "urls.txt")
        urls.write_text("".join(server.url("/\n", host=name) for name in wanted["names"]))
        ended = subprocess.run(
            [*COMMAND, str(urls), "--jsonl", *wanted["args"]],
            capture_output=True,
            text=True,
            timeout=PATIENCE - 5,
            check=False,
        )
        records = [json.loads(line) for line in ended.stdout.splitlines()]
        report = {"code": ended.returncode, "stderr": ended.stderr, "queries": queries}
        json.dump({**report, "records": records}, sys.stdout)


if __name__ == "__main__":
    _main()
