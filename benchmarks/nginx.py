"""Serves with a real nginx of one worker, on any number of loopback ports, plain or TLS."""

import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from benchmarks import children
from benchmarks.children import ServerError

ADDRESS = "127.0.0.1"
_BODY = "0123456789abcdef" * 32  # 512 bytes
_START_WITHIN = 30.0  # seconds
_CONFIG = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
{user}
events {{
    worker_connections {files};
}}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type text/plain;
    {tls}
    server {{
{listen}
        location ^~ /page/ {{ return 200 "{body}"; }}
        location ~ ^/hop/(.*)$ {{ return 302 /page/$1; }}
    }}
}}
"""
_TLS = """\
ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """The ports that nginx serves. `ca` is the PEM file to trust, or None; `group` is its
    process group.

    `/page/...` has status 200 and a body; `/hop/...` redirects to `/page/...`.
    """

    ports: tuple[int, ...]
    ca: Path | None
    group: int


def executable() -> str:
    """Return the path of nginx. Raises ServerError if it is not installed."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ServerError("nginx is not installed (Debian package nginx)")
    return found


@contextmanager
def serve(folder: Path, count: int, *, tls: bool) -> Iterator[Nginx]:
    """Serve on `count` ports while the context is open. `folder` must be empty."""
    ca = _certify(folder) if tls else None
    ports = free_ports(count)
    config = folder / "nginx.conf"
    config.write_text(_config(folder, ports, tls=tls), "ascii")
    command = [executable(), "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(config)]
    with children.running(command, folder=folder) as process:
        deadline = time.monotonic() + _START_WITHIN
        while not _listening(ports[-1]):
            if process.poll() is not None or time.monotonic() > deadline:
                log = (folder / "error.log").read_text("utf-8", "replace").strip()
                raise ServerError(f"nginx does not start: {log or 'no message'}")
            time.sleep(0.05)
        yield Nginx(ports=tuple(ports), ca=ca, group=process.pid)


def free_ports(count: int) -> list[int]:
    """Return unused ports, if possible none of the range that clients get theirs from."""
    low, high = 32_768, 60_999
    with suppress(OSError, ValueError):
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii")
        low, high = (int(number) for number in text.split())
    first = 10_000 + os.getpid() % 1_000  # keeps two suites at once apart
    candidates = chain(range(first, low), range(high + 1, 65_536), range(max(first, low), high + 1))
    ports = list(islice((port for port in candidates if _free(port)), count))
    if len(ports) < count:
        raise ServerError(f"only {len(ports):,} of {count:,} ports are free")
    return ports


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
    return True


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((ADDRESS, port)) == 0


def _config(folder: Path, ports: Sequence[int], *, tls: bool) -> str:
    files = 2 * len(ports) + 8_192  # a listener and a connection each, and spare ones
    secure = " ssl" if tls else ""
    listen = [f"        listen {ADDRESS}:{port}{secure} backlog=4096;" for port in ports]
    return _CONFIG.format(
        folder=folder,
        files=files,
        user="user root;" if os.geteuid() == 0 else "",
        tls=_TLS.format(folder=folder) if tls else "",
        listen="\n".join(listen),
        body=_BODY,
    )


def _certify(folder: Path) -> Path:
    """Write a certificate for the loopback address; return the file of its CA."""
    try:
        import trustme
    except ImportError as exc:
        raise ServerError("trustme is not installed (extra bench)") from exc

    authority = trustme.CA()
    issued = authority.issue_cert(ADDRESS, "localhost")
    issued.private_key_pem.write_to_path(folder / "server.key")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(folder / "server.pem", append=number > 0)
    trusted = folder / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    return trusted
