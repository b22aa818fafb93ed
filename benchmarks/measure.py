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

RUN_TIMEOUT = 600.0  # seconds
# Parts of the names of variables that would redirect a client or slow it down. Without bytecode,
# which an installation has, each start of crawl compiles all its modules.
_UNWANTED = (
    "PROXY",
    "SSL_CERT",
    "CA_BUNDLE",
    "PYTHONDEVMODE",
    "PYTHONASYNCIODEBUG",
    "PYTHONDONTWRITEBYTECODE",
    "COVERAGE",
)


class RunError(Exception):
    """A run that cannot be measured because the client did not do its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One whole process: seconds, CPU seconds, bytes, exit code, and the files of its output.

    `server_cpu` are the CPU seconds that the servers used meanwhile, and `others` is the
    share of the machine, of all its cores, that everything else used. Both are None where
    /proc is missing.
    """

    wall: float
    cpu: float
    peak: int
    status: int
    server_cpu: float | None
    others: float | None
    out: Path
    err: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run has around it.

    `servers` are the process groups whose CPU time is theirs. `prefix` is a command that
    runs another in a place of its own, as `unshare` does. `environ` are additional variables.
    """

    servers: tuple[int, ...] = ()
    prefix: tuple[str, ...] = ()
    environ: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median, minimum and maximum."""

    median: float
    least: float
    most: float


def run(command: Sequence[str], folder: Path, around: Surroundings | None = None) -> Run:
    """Run a command in `folder` and return its cost. Raises RunError after RUN_TIMEOUT."""
    around = around or Surroundings()
    out, err = folder / "out", folder / "err"
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(out), str(err), *command]
    before = children.cpu_of(around.servers)
    with children.running(
        [*around.prefix, *launcher], folder=folder, environ=environ(around.environ)
    ) as process:
        try:
            text, _ = process.communicate(timeout=RUN_TIMEOUT)
        except subprocess.TimeoutExpired as exc:
            raise RunError(f"not done after {RUN_TIMEOUT:g} s") from exc
    after = children.cpu_of(around.servers)
    if process.returncode:
        raise RunError(f"{command[0]} cannot be run")
    cost = json.loads(text)
    server_cpu = None if before is None or after is None else after - before
    return Run(
        wall=cost["wall"],
        cpu=cost["cpu"],
        peak=cost["peak"],
        status=cost["status"],
        server_cpu=server_cpu,
        others=_others(cost["busy"], cost["cpu"], server_cpu, cost["wall"]),
        out=out,
        err=err,
    )


def _others(busy: float | None, cpu: float, server_cpu: float | None, wall: float) -> float | None:
    """Return the share of the machine that neither the client nor its servers used.

    The machine's times come in steps of 10 ms, so that of a short run is not exact.
    """
    if busy is None or server_cpu is None or not wall:
        return None
    return max(0.0, busy - cpu - server_cpu) / (wall * (os.cpu_count() or 1))


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
