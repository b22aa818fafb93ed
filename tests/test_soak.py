"""A short form of the soak: 5,000 requests to misbehaving servers leave nothing behind."""

import sys

import pytest
from short_form import CHECKOUT, short_form

pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "benchmarks").is_dir() or sys.platform != "linux",
    reason="the soak is in benchmarks/ of a checkout, and counts descriptors in /proc",
)


def test_a_soak_accounts_for_every_record_and_leaves_nothing_behind() -> None:
    ended, verdicts = short_form("soak")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(verdicts) >= 5
    assert all("| pass" in " ".join(line.split()) for line in verdicts)
