"""A command -> the cost of a whole process; many costs -> medians and paired ratios."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import children, launch

RUN_TIMEOUT = 300.0  # seconds
# Parts of the names of variables that would redirect a client or slow it down.
_UNWANTED = ("PROXY", "SSL_CERT", "CA_BUNDLE", "PYTHONDEVMODE", "PYTHONASYNCIODEBUG", "COVERAGE")


class RunError(Exception):
    """A run that cannot be measured because the client did not do its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One whole process: seconds, CPU seconds, bytes, exit code, and the files of its output."""

    wall: float
    cpu: float
    peak: int
    status: int
    out: Path
    err: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median, minimum and maximum."""

    median: float
    least: float
    most: float


def run(command: Sequence[str], folder: Path, extra: Mapping[str, str] | None = None) -> Run:
    """Run a command in `folder` and return its cost. Raises RunError after RUN_TIMEOUT."""
    out, err = folder / "out", folder / "err"
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(out), str(err), *command]
    with children.running(launcher, folder=folder, environ=environ(extra)) as process:
        try:
            text, _ = process.communicate(timeout=RUN_TIMEOUT)
        except subprocess.TimeoutExpired as exc:
            raise RunError(f"not done after {RUN_TIMEOUT:g} s") from exc
    if process.returncode:
        raise RunError(f"{command[0]} cannot be run")
    wall, cpu, peak, status = text.split()
    return Run(
        wall=float(wall), cpu=float(cpu), peak=int(peak), status=int(status), out=out, err=err
    )


def environ(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without unwanted variables, and with `extra`."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not any(part in name.upper() for part in _UNWANTED)
    }
    return inherited | dict(extra or {})


def spread(values: Sequence[float]) -> Spread:
    return Spread(median=statistics.median(values), least=min(values), most=max(values))


def paired(values: Sequence[float], base: Sequence[float]) -> float:
    """Return the median ratio of values measured in the same round."""
    return statistics.median(value / other for value, other in zip(values, base, strict=True))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value of the nearest rank in sorted values: always a measured one."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def latencies(lines: Path) -> list[float]:
    """Return the latency of each record of a JSONL file, in milliseconds."""
    with lines.open(encoding="ascii") as file:
        return [json.loads(line)["latency_ms"] for line in file]
