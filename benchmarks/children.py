"""Starts programs in process groups of their own, and ends the whole groups."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL


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
