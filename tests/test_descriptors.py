"""The open-file limit -> how many connections may be open."""

import resource
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import cast

import pytest

from crawler.system.descriptors import affordable


@pytest.fixture
def open_files() -> Iterator[tuple[int, int]]:
    """The open-file limits, restored after the test."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield limits
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_soft_open_file_limit_is_raised(open_files: tuple[int, int]) -> None:
    _, hard = open_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    assert affordable(50) == 50
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert soft >= 50 + 32


def test_a_limit_that_is_high_enough_is_not_changed(open_files: tuple[int, int]) -> None:
    _, hard = open_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    assert affordable(10) == 10
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (200, hard)


class System:
    """A system with its own limits, which it may refuse to change."""

    RLIMIT_NOFILE = 7
    RLIM_INFINITY = -1

    def __init__(self, soft: int, hard: int, refusal: Exception | None = None) -> None:
        self.limits = (soft, hard)
        self.refusal = refusal

    def getrlimit(self, which: int) -> tuple[int, int]:
        assert which == self.RLIMIT_NOFILE
        return self.limits

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        assert which == self.RLIMIT_NOFILE
        if self.refusal:
            raise self.refusal
        soft, hard = limits
        assert hard == self.limits[1]
        assert hard == self.RLIM_INFINITY or soft <= hard
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "least", "most"),
    [
        (64, 64, 200, 1, 32),
        (64, 256, 200, 60, 128),
        (64, 100_000, 200, 200, 200),
        (64, -1, 200, 200, 200),
        (-1, -1, 200, 200, 200),
        (8, 8, 200, 1, 1),
        (1024, 4096, 10, 10, 10),
    ],
    ids=["few", "raised", "enough", "no hard limit", "no limit", "hardly any", "plenty"],
)
def test_connections_are_limited_by_open_files(
    soft: int, hard: int, wanted: int, least: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resource", cast("ModuleType", System(soft, hard)))
    assert least <= affordable(wanted) <= most


@pytest.mark.parametrize(
    "refusal", [ValueError("current limit exceeds maximum limit"), OSError(22, "Invalid argument")]
)
def test_a_limit_that_cannot_be_raised_is_accepted(
    refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = System(256, System.RLIM_INFINITY, refusal)
    monkeypatch.setitem(sys.modules, "resource", cast("ModuleType", system))
    assert 1 < affordable(1000) < 256


def test_a_system_without_limits_allows_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", cast("ModuleType", None))
    assert affordable(5000) == 5000
