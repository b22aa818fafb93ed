"""A short form of the soak: what 5,000 requests to rude servers leave behind is nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "benchmarks").is_dir() or sys.platform != "linux",
    reason="the soak is in benchmarks/ of a checkout, and counts descriptors in /proc",
)


def test_a_soak_accounts_for_every_record_and_leaves_nothing_behind() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", "soak", "--quick"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    verdicts = [line for line in ended.stdout.splitlines() if line.startswith("| soak ")]
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(verdicts) >= 5
    assert all("| pass" in " ".join(line.split()) for line in verdicts)
