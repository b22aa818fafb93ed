"""What a client is: a name, a command line, and how many URLs a run of it found to be good."""

import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measure import Run, RunError, environ


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a client is to fetch: the URLs in `url_file`, `concurrency` at a time.

    `ca` is the PEM file whose certificates it must trust, or None.
    """

    url_file: Path
    count: int
    concurrency: int
    ca: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One program with its options.

    `label` is its name and version for people. `missing` is why it cannot run here, or None.
    `succeeded` counts the URLs for which a run received status 200, after redirects; it is
    None for a program that requests nothing.
    """

    name: str
    label: str
    command: Callable[[Load], list[str]]
    succeeded: Callable[[Run], int] | None
    missing: str | None = None
    environ: Callable[[Load], Mapping[str, str]] = field(default=lambda _load: {})

    def check(self, run: Run, load: Load) -> None:
        """Raise RunError if a run did not fetch all its URLs."""
        if run.status != 0:
            lines = run.err.read_text("utf-8", "replace").strip().splitlines()
            raise RunError(f"exit code {run.status}: {lines[-1] if lines else 'no message'}")
        if self.succeeded is None:
            return
        succeeded = self.succeeded(run)
        if succeeded != load.count:
            raise RunError(f"{succeeded:,} of {load.count:,} URLs have status 200")


def script(name: str) -> str | None:
    """Return the path of a program in this environment, else on the PATH."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def missing(package: str) -> str | None:
    """Return why a Python package cannot be measured, or None."""
    return f"missing: {package} is not installed" if find_spec(package) is None else None


def versioned(package: str, name: str | None = None) -> str:
    """Return a package's name, or `name` instead, and its version if it has one."""
    try:
        return f"{name or package} {version(package)}"
    except PackageNotFoundError:
        return name or package


def version_output(name: str, program: str | None) -> str:
    """Return `name` and the first number in the output of `program --version`, if any."""
    if program is None:
        return name
    done = subprocess.run(  # noqa: S603 - the command is ours
        [program, "--version"], capture_output=True, text=True, check=False, env=environ()
    )
    words = done.stdout.partition("\n")[0].split()
    numbers = [word.lstrip("vV") for word in words if word.lstrip("vV")[:1].isdigit()]
    return " ".join([name, *numbers[:1]])
