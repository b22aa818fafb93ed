"""Starts programs in process groups of their own, and ends the whole groups."""

import os
import signal
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL


class ServerError(Exception):
    """A server is missing or does not start; the text gives the reason."""


class UnsupportedError(Exception):
    """Something cannot be measured on this machine; the text gives the reason."""


@contextmanager
def running(
    command: Sequence[str], *, folder: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a program, with pipes to its standard streams, while the context is open.

    Its standard error is that of this process. Its whole process group is ended when the
    context is left, however that happens.
    """
    process = subprocess.Popen(  # noqa: S603 - the commands are ours
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environ,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def cpu_of(groups: Collection[int]) -> float | None:
    """Return the CPU seconds of the processes in some process groups; None without /proc."""
    if not Path("/proc/self/stat").exists():
        return None
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # a process that ended meanwhile
            # After the name, which may contain anything: state, parent, group, ...
            fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
            if int(fields[2]) in groups:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _end(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                continue
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
