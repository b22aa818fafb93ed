"""The clients that are measured: which there are, and in which order they take turns."""

from benchmarks.clients.client import Client, Load
from benchmarks.clients.crawl import BESIDE, DIRECT, HTTPX, NATIVE, TABLE, outputs, with_engine
from benchmarks.clients.loops import (
    AIOHTTP,
    HTTPX_LOOP,
    IMPORT,
    PYREQWEST,
    aiohttp,
    event_loop,
    httpx,
    import_baseline,
    pyreqwest,
)
from benchmarks.clients.tools import ARIA2, CURL, LYCHEE, WGET2, aria2, curl, lychee, wget2

__all__ = [
    "AIOHTTP",
    "ARIA2",
    "BESIDE",
    "CURL",
    "DIRECT",
    "HTTPX",
    "HTTPX_LOOP",
    "IMPORT",
    "LYCHEE",
    "NATIVE",
    "PYREQWEST",
    "TABLE",
    "WGET2",
    "Client",
    "Load",
    "by_name",
    "event_loop",
    "with_engine",
]


def by_name() -> dict[str, Client]:
    """Return every client by its name, in the order in which they take turns."""
    clients = [
        *(with_engine(DIRECT), curl(), lychee(), with_engine(NATIVE)),
        *(pyreqwest(), aiohttp(), wget2(), aria2(), httpx(), with_engine(HTTPX)),
        *(*outputs(), import_baseline()),
    ]
    return {client.name: client for client in clients}
