"""A workload of the benchmarks -> its process in short form, and the verdicts in its output."""

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent


def short_form(workload: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run `python -m benchmarks WORKLOAD --quick`; return the process and its lines of verdicts."""
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", workload, "--quick"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return ended, [line for line in ended.stdout.splitlines() if line.startswith(f"| {workload} ")]
