"""The circumstances of a measurement -> the lines above its tables."""

import os
import platform
import ssl
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.nginx import executable


def described(arguments: Sequence[str]) -> str:
    """Return date, command, processor, system, and the versions of shared software."""
    command = " ".join(["python -m benchmarks", *arguments])
    python = f"{platform.python_implementation()} {platform.python_version()}"
    shared = f"{python}, {' '.join(ssl.OPENSSL_VERSION.split()[:2])}, nginx {_nginx()}"
    return "\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}, `{command}`, loopback, nginx with one worker.",
            f"{_cores()} of {_processor()}, {platform.system()} {platform.release()}; {shared}.",
        ]
    )


def _cores() -> str:
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return "1 core" if count == 1 else f"{count} cores"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _nginx() -> str:
    done = subprocess.run(  # noqa: S603 - the command is ours
        [executable(), "-v"], capture_output=True, text=True, check=False
    )
    return done.stderr.strip().rpartition("/")[2] or "of unknown version"
