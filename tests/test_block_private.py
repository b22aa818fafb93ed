"""`--block-private`: only public addresses are connected to, whatever the URL."""

import asyncio
import ipaddress
import socket
from importlib.util import find_spec
from typing import Any

import httpx
import pytest
from loopback import Server, reply
from samples import result_of
from shell import complaint, crawl, records

from crawler import ErrorKind, Limits, Outcome, Phase, Result, Target
from crawler import crawl as library_crawl
from crawler.core.urllist import UrlList
from crawler.engine.fetch import Fetcher
from crawler.engine.transports import guard
from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.httpx_transport import HttpxTransport
from crawler.engine.transports.resolve import Address, Addresses, Resolver
from crawler.engine.transports.settings import ConnectionSettings, Proxies
from crawler.engine.transports.wire import WireError

LOOPBACK = Address(socket.AF_INET, "127.0.0.1")
LOOPBACK6 = Address(socket.AF_INET6, "::1")
PUBLIC = Address(socket.AF_INET, "203.0.112.1")
PUBLIC6 = Address(socket.AF_INET6, "2606:4700::1111")


Made = type[DirectTransport | HttpxTransport]
ENGINES = pytest.mark.parametrize(
    "made", [DirectTransport, HttpxTransport], ids=["direct", "httpx"]
)


class Names:
    """A resolver that returns the results of each name in turn; the last one repeats."""

    def __init__(self, **results: list[Addresses]) -> None:
        self.lookups: list[str] = []
        self._results = results

    def __call__(self, host: str) -> Addresses:
        self.lookups.append(host)
        results = self._results[host.partition(".")[0]]
        return results.pop(0) if len(results) > 1 else results[0]


class Redirecting(httpx.AsyncBaseTransport):
    """Redirects requests for `public.test` to `location`; passes all others to `inner`."""

    def __init__(self, inner: httpx.AsyncBaseTransport, location: str) -> None:
        self._inner = inner
        self._location = location

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "public.test":
            return httpx.Response(302, headers={"Location": self._location})
        return await self._inner.handle_async_request(request)


def fetched(
    url: str,
    names: Names | None = None,
    location: str | None = None,
    made: Made = DirectTransport,
    **options: Any,
) -> Result:
    async def main() -> Result:
        resolver = Resolver(1, names)
        inner: httpx.AsyncBaseTransport
        async with made(ConnectionSettings(block_private=True, **options), resolver) as inner:
            transport = inner if location is None else Redirecting(inner, location)
            target = UrlList().parse_entry(url)
            assert isinstance(target, Target)
            attempt = await Fetcher(transport, Limits(timeout=30))(target)
            return result_of(target, attempt)

    return asyncio.run(main())


def assert_refused(result: Result, words: str) -> None:
    assert result.outcome is Outcome.ERROR
    assert result.attempt.error is not None
    assert result.attempt.error.kind is ErrorKind.BLOCKED
    assert result.attempt.error.phase is Phase.CONNECT
    assert result.attempt.error.detail == f"refused: {words} (--block-private)"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("127.0.0.1", "127.0.0.1 is a loopback address"),
        ("127.0.0.1.", "127.0.0.1 is a loopback address"),
        ("%31%32%37.0.0.1", "127.0.0.1 is a loopback address"),
        ("\uff11\uff12\uff17.0.0.1", "127.0.0.1 is a loopback address"),
        ("0.0.0.0", "0.0.0.0 is an unspecified address"),
        ("169.254.169.254", "169.254.169.254 is a cloud metadata address"),
        ("[::1]", "::1 is a loopback address"),
        ("[::]", ":: is an unspecified address"),
        ("[fe80::1]", "fe80::1 is a link-local address"),
        ("[64:ff9b::7f00:1]", "64:ff9b::7f00:1 is a loopback address"),
        ("localhost", "localhost is a loopback name"),
        ("LocalHost.", "localhost. is a loopback name"),
        ("a.localhost", "a.localhost is a loopback name"),
    ],
)
def test_a_host_that_is_a_private_address_is_refused(host: str, words: str) -> None:
    assert_refused(fetched(f"http://{host}:1/"), words)


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7f.1", "127.1", "127.0.0.0x1", "0177.0.0.1", "0"]
)
def test_another_notation_of_an_address_is_not_taken_for_a_name(host: str) -> None:
    entry = UrlList().parse_entry(f"http://{host}/")
    assert isinstance(entry, Result)
    assert entry.outcome is Outcome.INVALID


@ENGINES
@pytest.mark.parametrize("addresses", [(LOOPBACK,), (LOOPBACK6,), (LOOPBACK, LOOPBACK6)])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_of_a_private_address_is_refused_after_its_lookup(
    server: Server, addresses: Addresses, scheme: str, made: Made
) -> None:
    url = f"{scheme}://name.test:{server.port}/"
    result = fetched(url, Names(name=[addresses]), made=made)
    assert_refused(result, f"{addresses[0].ip} is a loopback address")
    assert server.connections == 0


@ENGINES
def test_the_addresses_that_were_checked_are_connected_to_without_another_lookup(
    server: Server, made: Made
) -> None:
    """DNS rebinding: the address that was checked is the one that is connected to."""
    names = Names(name=[(LOOPBACK,), (PUBLIC,)])
    result = fetched(f"http://name.test:{server.port}/", names, made=made)
    assert_refused(result, "127.0.0.1 is a loopback address")
    assert names.lookups == ["name.test"]
    assert server.connections == 0


def test_of_several_addresses_only_the_public_ones_are_tried() -> None:
    assert guard.public((LOOPBACK, PUBLIC, LOOPBACK6, PUBLIC6)) == (PUBLIC, PUBLIC6)
    with pytest.raises(WireError, match=r"127\.0\.0\.1 is a loopback address"):
        guard.public((LOOPBACK, LOOPBACK6))


@ENGINES
@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://127.0.0.1:{port}/", "127.0.0.1 is a loopback address"),
        ("//127.0.0.1:{port}/", "127.0.0.1 is a loopback address"),
        ("http://name.test:{port}/", "127.0.0.1 is a loopback address"),
        ("http://[::ffff:7f00:1]:{port}/", "{mapped} is a loopback address"),
    ],
    ids=["address", "no scheme", "name", "mapped"],
)
def test_a_redirect_into_the_network_is_refused_at_its_hop(
    server: Server, location: str, words: str, made: Made
) -> None:
    mapped = ipaddress.IPv6Address("::ffff:7f00:1").compressed
    names = Names(name=[(LOOPBACK,)])
    result = fetched("http://public.test/", names, location.format(port=server.port), made)
    assert_refused(result, words.format(mapped=mapped))
    assert [hop.url for hop in result.attempt.redirects] == ["http://public.test/"]
    assert server.connections == 0


def test_the_command_line_refuses_without_a_retry_and_fails(server: Server) -> None:
    url = server.on("/ok", reply())
    ended = crawl(url, "--block-private", "--jsonl", "--retries", "3", "--confirm-after", "0")
    (record,) = records(ended.stdout)
    assert ended.returncode == 1
    assert record["ok"] is False
    assert record["attempts"] == 1
    assert record["retried"] == []
    assert record["error"] == {
        "kind": "blocked",
        "phase": "connect",
        "detail": "refused: 127.0.0.1 is a loopback address (--block-private)",
    }
    assert server.connections == 0


def test_without_the_option_private_addresses_are_requested(server: Server) -> None:
    assert crawl(server.on("/ok", reply())).returncode == 0


def test_an_engine_that_resolves_names_itself_is_a_usage_error() -> None:
    if find_spec("pyreqwest") is None:
        pytest.skip("pyreqwest is missing: the extra fast has it")
    ended = crawl("http://127.0.0.1:1/", "--block-private", "--engine", "native")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--block-private" in complaint(ended)


@pytest.mark.parametrize("options", [["--engine", "httpx"], ["--http2"]])
def test_the_other_engines_refuse_as_direct_does(server: Server, options: list[str]) -> None:
    if "--http2" in options and find_spec("h2") is None:
        pytest.skip("h2 is missing: the extra http2 has it")
    ended = crawl(server.on("/ok", reply()), "--block-private", "--jsonl", *options)
    assert [record["error"]["kind"] for record in records(ended.stdout)] == ["blocked"]
    assert server.connections == 0


# Proxies


def test_a_proxy_may_be_private_but_not_the_target_behind_it(
    server: Server,
) -> None:
    server.on("http://public.test/", reply(200, b"from the proxy"))
    private = ["http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost:1/", "https://10.0.0.1/"]
    ended = crawl(
        "http://public.test/", *private, "--block-private", "--jsonl", "--proxy", server.origin
    )
    found = {record["url"]: record for record in records(ended.stdout)}
    assert found.pop("http://public.test/")["status"] == 200
    assert [record["error"]["kind"] for record in found.values()] == ["blocked"] * len(private)
    assert [request.target for request in server.requests] == ["http://public.test/"]


@ENGINES
def test_requests_that_bypass_the_proxy_are_checked_too(server: Server, made: Made) -> None:
    proxies = Proxies(http=server.origin, no_proxy="name.test")
    names = Names(name=[(LOOPBACK,)])
    result = fetched(f"http://name.test:{server.port}/", names, made=made, proxies=proxies)
    assert_refused(result, "127.0.0.1 is a loopback address")
    assert server.connections == 0


def test_the_library_refuses_private_addresses_with_its_own_transport_only(server: Server) -> None:
    async def kinds(**options: Any) -> list[ErrorKind | None]:
        url = server.on("/ok", reply())
        checks = [check async for check in library_crawl([url], block_private=True, **options)]
        return [
            check.result.attempt.error.kind if check.result.attempt.error else None
            for check in checks
        ]

    assert asyncio.run(kinds()) == [ErrorKind.BLOCKED]
    with pytest.raises(ValueError, match="block_private needs crawl's own transport"):
        asyncio.run(kinds(transport=httpx.MockTransport(lambda _request: httpx.Response(200))))
    assert server.connections == 0
