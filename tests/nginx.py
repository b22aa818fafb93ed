"""A real nginx on a free port of loopback, with all its files in one directory."""

import http.client
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from shell import wait_until

PROGRAM = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/bin")
_ATTEMPTS = 5

# One process in the foreground; every request that is answered, or given up, is a line of the log.
_CONFIG = """
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    log_format asked "$status $request_uri";
    access_log {directory}/access.log asked;
    keepalive_requests 10000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{ return 200 "hello\\n"; }}
    }}
}}
"""


class Nginx(NamedTuple):
    """A server that answers every path with a 200 of six bytes."""

    port: int
    log: Path

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def completed(self) -> int:
        """Return how many requests were answered to their end so far."""
        return sum(1 for line in self.log.read_text().splitlines() if line.startswith("200 "))

    def forget(self) -> None:
        """Count from 0 again."""
        with self.log.open("w"):
            pass


@contextmanager
def serve(directory: Path) -> Iterator[Nginx]:
    """Run nginx while the context is open; skips the test where there is none."""
    if PROGRAM is None:
        pytest.skip("nginx is not installed")
    for _ in range(_ATTEMPTS):
        server = Nginx(_free_port(), directory / "access.log")
        with _started(PROGRAM, directory, server.port) as runs:
            if runs:
                server.forget()
                yield server
                return
    raise RuntimeError((directory / "error.log").read_text())


@contextmanager
def _started(program: str, directory: Path, port: int) -> Iterator[bool]:
    """Start nginx, and end it; the value is whether it answers on this port."""
    config, errors = directory / "nginx.conf", directory / "error.log"
    config.write_text(_CONFIG.format(directory=directory, port=port))
    command = [program, "-p", str(directory), "-e", str(errors), "-c", str(config)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: process.poll() is not None or _answers(port))
            yield process.poll() is None
        finally:
            process.terminate()


def _free_port() -> int:
    """Return a port that is free now; another program may still be faster than nginx."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read() == b"hello\n"
    except OSError:
        return False
    finally:
        connection.close()
