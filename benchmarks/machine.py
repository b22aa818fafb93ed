"""The circumstances of a measurement: date, command, machine, and versions of the software."""

import os
import platform
import ssl
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.nginx import executable


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Texts for people; `date` is that of the end, in UTC."""

    date: str
    command: str
    machine: str
    software: str

    def described(self) -> str:
        """Return the lines above the tables."""
        first = f"{self.date}, `{self.command}`, loopback, nginx with one worker."
        return f"{first}\n{self.machine}; {self.software}."


def circumstances(command: str) -> Circumstances:
    """Return the circumstances of a command that measured."""
    openssl = " ".join(ssl.OPENSSL_VERSION.split()[:2])
    return Circumstances(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        command=command,
        machine=f"{_cores()} of {_processor()}, {platform.system()} {platform.release()}",
        software=f"{python()}, {openssl}, nginx {_nginx()}",
    )


def python() -> str:
    """Return name, version and build of this Python.

    Distributions build theirs with optimisations, but do not say so in its configuration.
    """
    name = f"{platform.python_implementation()} {platform.python_version()}"
    if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        return f"{name} (built with optimisations)"
    system = _distribution() if sys.base_prefix == "/usr" else None
    return f"{name} ({system}'s)" if system else f"{name} (built without optimisations)"


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release()["NAME"].split()[0]
    except (OSError, KeyError):
        return None


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
