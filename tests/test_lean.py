"""The way of native without httpx objects against its way with them: the same attempts."""

import asyncio
from dataclasses import replace

import httpx
import pytest
from fetching import target
from hostile_cases import CASES, MAX_BODY, TIMEOUT, Case
from loopback import Server, reply

pytest.importorskip("pyreqwest", reason="the extra fast has pyreqwest")

from crawler.engine.fetch import Fetcher
from crawler.engine.transports.lean import LeanTransport
from crawler.engine.transports.reqwest import ReqwestTransport
from crawler.engine.transports.settings import ConnectionSettings
from crawler.models import Attempt, Limits, Timings

# hyper reads these without end, and lets the request time out in whichever phase it is.
_BY_CHANCE = {"flood-of-100s", "flood-of-103s", "endless-chunk-size"}
_FIELDS = (
    "Content-Type: text/html",
    "Content-Type: text/plain",
    "content-type: text/caf\xe9",
    "Retry-After: 7",
    "Server: cloudflare",
    "Location: /elsewhere",
    "Content-Encoding: gzip",
    "cf-mitigated: challenge",
    "x-amzn-waf-action: captcha",
)
_PAGE = b"<script src='/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1'></script>"


class OverHttpx(httpx.AsyncBaseTransport):
    """A transport that has only the way over httpx objects."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()


def facts(attempt: Attempt) -> Attempt:
    """Return an attempt without its times; if the cap cut its body, without its size too."""
    size = None if attempt.truncated else attempt.size
    return replace(attempt, latency=None, ttfb=None, timings=Timings(), timestamp=None, size=size)


def both_ways(urls: list[str], limits: Limits, method: str = "GET") -> tuple[list[Attempt], ...]:
    """Fetch the URLs one after the other, without httpx objects and with them."""

    async def fetch_all(transport: httpx.AsyncBaseTransport) -> list[Attempt]:
        async with transport:
            fetch = Fetcher(transport, limits)
            return [facts(await fetch(target(url, method))) for url in urls]

    settings = ConnectionSettings(idle=10)
    lean = asyncio.run(fetch_all(ReqwestTransport(settings)))
    reference = asyncio.run(fetch_all(OverHttpx(ReqwestTransport(settings))))
    return lean, reference


def test_native_has_a_way_without_httpx_objects() -> None:
    assert issubclass(ReqwestTransport, LeanTransport)
    assert not isinstance(OverHttpx(ReqwestTransport(ConnectionSettings())), LeanTransport)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.id not in _BY_CHANCE], ids=lambda case: case.id
)
def test_a_bad_response_gives_the_same_attempt_both_ways(case: Case) -> None:
    handlers = {f"/{case.id}{path}": handler for path, handler in case.handlers.items()}
    limits = Limits(timeout=TIMEOUT if case.lasts else 30.0, max_body=MAX_BODY)
    with Server({"/ok": reply(200, b"ok"), **handlers}) as server:
        urls = [server.url(path) for path in ("/ok", f"/{case.id}/bad", "/ok?2", "/ok?3")]
        lean, reference = both_ways(urls, limits, case.method)
    assert lean == reference


@pytest.mark.parametrize("status", [200, 202, 204, 304, 307, 403, 405, 429, 503, 999])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_header_fields_give_the_same_attempt_both_ways(status: int, method: str) -> None:
    """Each field alone, and each with the one after it: also twice the same name."""
    chosen = [
        fields
        for field, after in zip(_FIELDS, (*_FIELDS[1:], ""), strict=True)
        for fields in ([field], [field, after])
    ]
    handlers = {
        f"/{number}": reply(status, b"" if status in (204, 304) else _PAGE, *filter(None, fields))
        for number, fields in enumerate(chosen)
    }
    with Server(handlers) as server:
        urls = [server.url(path) for path in handlers]
        lean, reference = both_ways(urls, Limits(timeout=30.0), method)
    assert lean == reference
    assert any(attempt.content_type for attempt in lean)


@pytest.mark.parametrize("follow", [True, False])
def test_redirects_and_the_cap_give_the_same_attempt_both_ways(follow: bool) -> None:
    handlers = {
        "/a": reply(302, b"moved", "Location: /b"),
        "/b": reply(301, b"moved", "Location: /end"),
        "/end": reply(200, b"x" * 5_000),
        "/two": reply(302, b"", "Location: /a", "Location: /b"),
        "/none": reply(302, b"nowhere"),
    }
    with Server(handlers) as server:
        urls = [server.url(path) for path in handlers]
        lean, reference = both_ways(urls, Limits(timeout=30.0, follow=follow, max_body=4_000))
    assert lean == reference
    assert lean[2].truncated
    assert len(lean[0].redirects) == (2 if follow else 0)
