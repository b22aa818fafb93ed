"""A real nginx on a free port of loopback, with all its files in one directory."""

import http.client
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from shell import wait_until

PROGRAM = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/bin")
_ATTEMPTS = 5

# One process in the foreground; every request, completed or cancelled, is a line of the log.
_CONFIG = """
daemon off;
master_process off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    log_format requests "$status $request_uri";
    access_log {directory}/access.log requests;
    keepalive_requests {requests};
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024{tls};
        location / {{ return 200 "hello\\n"; }}
        location /files/ {{ alias {directory}/files/; }}
    }}
}}
"""


_TLS = """ ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate}"""


class Nginx(NamedTuple):
    """A server that responds to every path with a 200 of six bytes.

    Paths in `/files/` are the files in the directory `files` next to its log.
    """

    port: int
    log: Path
    scheme: str = "http"

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def completed(self) -> int:
        """Return the number of requests completed so far."""
        return sum(1 for line in self.log.read_text().splitlines() if line.startswith("200 "))

    def forget(self) -> None:
        """Count from 0 again."""
        with self.log.open("w"):
            pass


@contextmanager
def serve(
    directory: Path, *, certificate: Path | None = None, requests: int = 10_000_000
) -> Iterator[Nginx]:
    """Run nginx while the context is open; skips the test if it is not installed.

    With a `certificate`, a PEM file with its key, it serves HTTP/2 over TLS, with at
    most `requests` on each connection.
    """
    if PROGRAM is None:
        pytest.skip("nginx is not installed")
    (directory / "files").mkdir(exist_ok=True)
    tls = "" if certificate is None else _TLS.format(certificate=certificate)
    for _ in range(_ATTEMPTS):
        scheme = "http" if certificate is None else "https"
        server = Nginx(_free_port(), directory / "access.log", scheme)
        config = _CONFIG.format(directory=directory, port=server.port, tls=tls, requests=requests)
        with _started(PROGRAM, directory, config, server) as runs:
            if runs:
                server.forget()
                yield server
                return
    raise RuntimeError((directory / "error.log").read_text())


@contextmanager
def _started(program: str, directory: Path, config: str, server: Nginx) -> Iterator[bool]:
    """Start nginx, and end it; the value is whether it accepts on its port."""
    file, errors = directory / "nginx.conf", directory / "error.log"
    file.write_text(config)
    command = [program, "-p", str(directory), "-e", str(errors), "-c", str(file)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: process.poll() is not None or _responds(server))
            yield process.poll() is None
        finally:
            process.terminate()


def _free_port() -> int:
    """Return a port that is free now; another program may still be faster than nginx."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _responds(server: Nginx) -> bool:
    address = "127.0.0.1", server.port
    connection: http.client.HTTPConnection
    if server.scheme == "https":
        # Any certificate: the question is only whether this is our server.
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(*address, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(*address, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read() == b"hello\n"
    except OSError:
        return False
    finally:
        connection.close()
