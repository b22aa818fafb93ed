"""A short form of the soak: thousands of requests to misbehaving servers leave nothing behind."""

import subprocess
import sys

import pytest
from short_form import CHECKOUT, short_form

pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "benchmarks").is_dir() or sys.platform != "linux",
    reason="the soak is in benchmarks/ of a checkout, and counts descriptors in /proc",
)

# Prints what is left of each resource, what is wrong, and which errors there were.
_RUN = """
import sys
from benchmarks import soak
soaked = soak.run(2_000, sys.argv[1], loop=sys.argv[2])
left = [now - then for now, then in zip(soaked.after.open, soaked.before.open)]
print(left, soaked.missing, soaked.duplicated, soaked.examples, sorted(soaked.by_error.items()))
"""


def test_a_soak_accounts_for_every_record_and_leaves_nothing_behind() -> None:
    ended, verdicts = short_form("soak")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(verdicts) >= 10
    assert all("| pass" in " ".join(line.split()) for line in verdicts)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_soak_gives_the_same_records_over_fast_path_and_transport(loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    fast, slow = (
        subprocess.run(
            [sys.executable, "-c", _RUN, path, loop],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        for path in ("fast path", "transport")
    )
    assert fast.startswith("[0, 0, 0, 0] 0 0 []")
    assert "reset" in fast
    assert fast == slow
