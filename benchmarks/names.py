"""Names for loopback: a name server, and a prefix that lets a command use no other one.

A command with the prefix has a mount namespace of its own (unshare(1), Linux), in which
/etc/resolv.conf names that server and lookups use files, then DNS. So every client resolves
in its usual way, by getaddrinfo or with a resolver of its own, and nothing outside this
machine is requested. Port 53 and the namespace need root.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import children
from benchmarks.children import UnsupportedError
from benchmarks.servers import resolver

ZONE = "bench.internal"  # the top-level domain that is reserved for private use
_ADDRESS = "127.0.0.153"
_MOUNT = (
    'mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/nsswitch.conf'
    ' && shift 2 && exec "$@"'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """A prefix for commands, and the process group of the name server."""

    prefix: tuple[str, ...]
    group: int


@contextmanager
def serve(folder: Path) -> Iterator[Names]:
    """Serve names while the context is open. Raises UnsupportedError where that is impossible."""
    resolv, switch = folder / "resolv.conf", folder / "nsswitch.conf"
    resolv.write_text(f"nameserver {_ADDRESS}\n", "ascii")
    switch.write_text("hosts: files dns\n", "ascii")
    unshare = shutil.which("unshare") or "unshare"
    prefix = (unshare, "--mount", "sh", "-c", _MOUNT, "sh", str(resolv), str(switch))
    _try([*prefix, "true"])
    command = [sys.executable, resolver.__file__, _ADDRESS, ZONE]
    with children.running(command, folder=folder) as process:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        if said != "ready":
            raise UnsupportedError(f"no name server on {_ADDRESS}, port 53: {said}")
        yield Names(prefix=prefix, group=process.pid)


def _try(command: list[str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - the command is ours
            command, capture_output=True, text=True, check=False
        )
    except OSError as exc:
        raise UnsupportedError("unshare is not installed (Debian package util-linux)") from exc
    if done.returncode:
        raise UnsupportedError(f"no mount namespace: {done.stderr.strip() or 'no message'}")
