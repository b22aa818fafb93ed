"""The event loops and pollers that connections of our own run on."""

import asyncio
import select
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

import pytest

from crawler.engine.transports.http1.poller import EpollPoller, LoopPoller, Poller

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """An event loop, and what watches the sockets on it."""

    poller: Callable[[asyncio.AbstractEventLoop], Poller]
    uvloop: bool = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        factory = import_module("uvloop").new_event_loop if self.uvloop else None
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(work)


_NO_EPOLL = pytest.mark.skipif(not hasattr(select, "epoll"), reason="epoll is Linux's")
_NO_UVLOOP = pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is missing")
POLLERS = [
    pytest.param(Loop(poller=EpollPoller), id="asyncio", marks=_NO_EPOLL),
    pytest.param(Loop(poller=EpollPoller, uvloop=True), id="uvloop", marks=(_NO_EPOLL, _NO_UVLOOP)),
    pytest.param(Loop(poller=LoopPoller), id="asyncio without epoll"),
    pytest.param(Loop(poller=LoopPoller, uvloop=True), id="uvloop without epoll", marks=_NO_UVLOOP),
]
"""Values of a parameter `loop`."""
