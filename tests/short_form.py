"""A workload of the benchmarks in its short form -> how that ended, and the verdicts it shows."""

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent


def short_form(workload: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a workload in a process of its own; return its end, and the lines with its verdicts."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", workload, "--quick"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return ended, [line for line in ended.stdout.splitlines() if line.startswith(f"| {workload} ")]
