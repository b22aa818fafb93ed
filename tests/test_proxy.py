"""Requests through proxies: the direct transport over forwarding, CONNECT and SOCKS5."""

import asyncio
import base64
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from fetching import BOTH, detail, target
from hostile_cases import bad, facts_of, good
from loopback import (
    Accept,
    Handler,
    Request,
    Server,
    delayed,
    raw,
    refusing_port,
    reply,
    reset,
    silent,
)
from proxies import Reader, Writer, socks5, tunnel
from samples import result_of

from crawler import ErrorKind, Limits, Phase, Result
from crawler.engine.fetch import Fetcher
from crawler.engine.transports import engine_for, open_transport
from crawler.engine.transports.settings import ConnectionSettings, Engine, Proxies

PATIENT = Limits(timeout=30.0)
HASTY = Limits(timeout=0.3)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"

SOCKS = pytest.mark.skipif(find_spec("socksio") is None, reason="socksio is missing")
WAYS = [
    pytest.param(("http", "http"), id="http url, http proxy"),
    pytest.param(("https", "http"), id="https url, http proxy"),
    pytest.param(("http", "https"), id="http url, https proxy"),
    pytest.param(("https", "https"), id="https url, https proxy"),
    pytest.param(("http", "socks5"), id="http url, socks5 proxy", marks=SOCKS),
    pytest.param(("https", "socks5h"), id="https url, socks5h proxy", marks=SOCKS),
]
LOOPS = [pytest.param(asyncio.SelectorEventLoop, id="asyncio")]
if find_spec("uvloop") is not None:
    import uvloop

    LOOPS.append(pytest.param(uvloop.new_event_loop, id="uvloop"))


@dataclass(slots=True)
class Way:
    """A site, the proxy before it, and the options that lead through it."""

    site: Server
    proxy: Server
    connecting: ConnectionSettings
    forwards: bool
    loop: Callable[[], asyncio.AbstractEventLoop]

    def on(self, path: str, handler: Handler) -> str:
        """Let the site, or the proxy on its behalf, respond to `path`."""
        url = self.site.on(path, handler)
        if self.forwards:
            self.proxy.on(url, handler)
        return url

    @property
    def end(self) -> Server:
        """The server that receives our requests."""
        return self.proxy if self.forwards else self.site

    def fetched(self, *urls: str, method: str = "GET") -> list[Result]:
        return fetched(urls, self.connecting, method=method, loop=self.loop)


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=WAYS)
def way(
    request: pytest.FixtureRequest, tls_context: ssl.SSLContext, ca_file: Path, loop: Any
) -> Iterator[Way]:
    url, proxy = request.param
    with ExitStack() as stack:
        site = stack.enter_context(Server(tls=tls_context if url == "https" else None))
        accept = socks5([]) if proxy.startswith("socks") else None
        server = Server(tls=tls_context if proxy == "https" else None, accept=accept)
        stack.enter_context(server).on(f"127.0.0.1:{site.port}", tunnel)
        address = f"{proxy}://127.0.0.1:{server.port}"
        connecting = ConnectionSettings(
            cacert=str(ca_file), proxies=Proxies(http=address, https=address), idle=10
        )
        yield Way(site, server, connecting, url == "http" and accept is None, loop)


def fetched(
    urls: Sequence[str],
    connecting: ConnectionSettings,
    *,
    method: str = "GET",
    limits: Limits = PATIENT,
    headers: Sequence[tuple[str, str]] = (),
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> list[Result]:
    """Fetch the URLs one after the other over one transport."""

    async def run() -> list[Result]:
        async with open_transport(connecting) as wire:
            fetch = Fetcher(wire, limits, headers)
            return [
                result_of(target(url, method), await fetch(target(url, method))) for url in urls
            ]

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(run())


# --- Results ---


def test_every_kind_of_proxy_reaches_the_target(way: Way) -> None:
    url = way.on("/page", reply(200, b"hello"))
    (result,) = way.fetched(url)
    assert facts_of(result) == good(5)
    assert result.attempt.final_url == url
    assert (result.attempt.tls is not None) == url.startswith("https")
    assert result.attempt.remote_ip is None  # the address would be the proxy's
    assert result.attempt.timings.connect is not None
    assert result.attempt.timings.wait is not None
    assert result.attempt.timings.wait >= 0


def test_one_connection_through_a_proxy_serves_consecutive_requests(way: Way) -> None:
    way.fetched(*[way.on(f"/{number}", reply(200, b"hello")) for number in range(5)])
    assert way.proxy.connections == 1
    assert [request.turn for request in way.end.requests[-5:]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(OK + OK.replace(b"200", b"500"), id="two responses"),
        pytest.param(OK + b"more", id="left-over bytes"),
        pytest.param(OK.replace(b"good", b"good, and more"), id="short content-length"),
        pytest.param(b"HTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\nbody", id="204 with a body"),
    ],
)
def test_surplus_bytes_through_a_proxy_are_not_the_next_response(way: Way, response: bytes) -> None:
    spoiled = way.on("/bad", raw(response))
    fine = way.on("/ok", reply(200, b"fine, all of it"))
    _, second = way.fetched(spoiled, fine)
    assert facts_of(second) == good(15)
    assert way.proxy.connections == 2


def test_a_kept_connection_through_a_proxy_that_is_lost_is_replaced_once(way: Way) -> None:
    turns: list[int] = []

    async def once(request: Request, reader: Reader, writer: Writer) -> None:
        turns.append(request.turn)
        if request.turn:
            writer.close()
        else:
            writer.write(OK)

    first, second = way.fetched(way.on("/ok", reply(200, b"good")), way.on("/once", once))
    assert (facts_of(first), facts_of(second)) == (good(4), good(4))
    assert (second.attempts, turns) == (1, [1, 0])


def test_a_forwarding_proxy_keeps_one_connection_for_all_hosts(server: Server) -> None:
    urls = [f"http://{name}.test/" for name in "abcde"]
    for url in urls:
        server.on(url, reply(200, b"hello"))
    results = fetched(urls, ConnectionSettings(proxies=Proxies(http=server.origin)))
    assert [facts_of(result) for result in results] == [good(5)] * 5
    assert server.connections == 1
    assert [request.header("Host") for request in server.requests] == [
        f"{name}.test" for name in "abcde"
    ]


def test_connections_to_a_forwarding_proxy_are_bounded_in_all_and_not_per_host(
    server: Server,
) -> None:
    urls = [f"http://{number}.test/" for number in range(12)]
    for url in urls:
        server.on(url, delayed(0.02, reply(200, b"hello")))

    async def run() -> None:
        connecting = ConnectionSettings(proxies=Proxies(http=server.origin), idle=6, per_host=1)
        async with open_transport(connecting) as wire:
            fetch = Fetcher(wire, PATIENT)
            for _ in range(3):
                for half in (urls[:6], urls[6:]):
                    await asyncio.gather(*(fetch(target(url)) for url in half))

    asyncio.run(run())
    assert server.connections == 6


def test_connections_to_a_forwarding_proxy_are_not_reused_for_direct_requests(
    server: Server,
) -> None:
    server.on("/page", reply(200, b"as a server"))
    server.on("http://a.test/page", reply(200, b"as a proxy"))
    proxies = Proxies(http=server.origin, no_proxy="127.0.0.1")
    results = fetched(
        ["http://a.test/page", server.url("/page")], ConnectionSettings(proxies=proxies)
    )
    assert [result.attempt.size for result in results] == [10, 11]
    assert server.connections == 2


@SOCKS
def test_a_socks_proxy_resolves_names_and_gets_addresses_unchanged(server: Server) -> None:
    server.on("/page", reply(200, b"hello"))
    requested: list[tuple[str, int]] = []
    with Server(accept=socks5(requested)) as proxy:
        proxies = Proxies(http=f"socks5://127.0.0.1:{proxy.port}")
        urls = [server.url("/page", host=host) for host in ("a.test", "127.0.0.1")]
        results = fetched(urls, ConnectionSettings(proxies=proxies))
    assert [facts_of(result) for result in results] == [good(5)] * 2
    assert requested == [("a.test", server.port), ("127.0.0.1", server.port)]


def test_direct_supports_proxies_and_httpx_supports_http2() -> None:
    proxies = Proxies(http="http://127.0.0.1:1")
    assert engine_for(ConnectionSettings(proxies=proxies)) == Engine.DIRECT
    assert engine_for(ConnectionSettings(proxies=proxies, engine=Engine.HTTPX)) == Engine.HTTPX
    if find_spec("h2") is not None:
        assert engine_for(ConnectionSettings(proxies=proxies, http2=True)) == Engine.HTTPX


# --- Credentials ---


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_credentials_of_a_proxy_are_percent_decoded(server: Server, scheme: str) -> None:
    address = server.url("", host="user:p%40ss%C3%A9@127.0.0.1")
    server.on("http://a.test/", reply())
    fetched(
        [f"{scheme}://a.test/"], ConnectionSettings(proxies=Proxies(http=address, https=address))
    )
    token = base64.b64encode("user:p@ssé".encode()).decode()
    assert server.requests[-1].header("Proxy-Authorization") == f"Basic {token}"


def test_credentials_for_the_proxy_do_not_reach_the_target(
    server: Server, tls_server: Server, ca_file: Path
) -> None:
    server.on(f"127.0.0.1:{tls_server.port}", tunnel)
    proxies = Proxies(https=server.url("", host="user:secret@127.0.0.1"))
    url = tls_server.on("/page", reply())
    fetched([url], ConnectionSettings(cacert=str(ca_file), proxies=proxies))
    assert server.requests[-1].header("Proxy-Authorization") is not None
    assert tls_server.requests[-1].header("Proxy-Authorization") is None


def test_the_users_proxy_authorization_replaces_the_credentials_of_the_proxy_url(
    server: Server,
) -> None:
    server.on("http://a.test/", reply())
    proxies = Proxies(http=server.url("", host="user:secret@127.0.0.1"))
    headers = [("proxy-authorization", "Bearer mine")]
    fetched(["http://a.test/"], ConnectionSettings(proxies=proxies), headers=headers)
    sent = [v for k, v in server.requests[-1].headers if k.lower() == "proxy-authorization"]
    assert sent == ["Bearer mine"]


@SOCKS
@pytest.mark.parametrize(
    ("userinfo", "message"),
    [
        pytest.param("user:p%40ss@", None, id="right"),
        pytest.param("user:wrong@", "it refused the name and password", id="wrong"),
        pytest.param("", "it requires a login", id="none"),
        pytest.param(f"{'u' * 300}:p@", "255 bytes", id="too long"),
    ],
)
def test_a_socks_proxy_may_require_a_login(
    server: Server, userinfo: str, message: str | None
) -> None:
    url = server.on("/page", reply(200, b"hello"))
    with Server(accept=socks5([], login=(b"user", b"p@ss"))) as proxy:
        proxies = Proxies(http=f"socks5://{userinfo}127.0.0.1:{proxy.port}")
        (result,) = fetched([url], ConnectionSettings(proxies=proxies))
    if message is None:
        assert facts_of(result) == good(5)
    else:
        assert facts_of(result) == bad(ErrorKind.PROTOCOL, Phase.CONNECT)
        assert message in detail(result)


# --- Proxies that fail ---


@BOTH
def test_a_body_that_a_forwarding_https_proxy_cuts_short_is_incomplete(
    tls_server: Server, ca_file: Path, engine: Engine
) -> None:
    async def cut(request: Request, reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        await writer.drain()
        # TCP ends without close_notify.
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        await reader.read()
        writer.transport.abort()

    tls_server.on("http://a.test/", cut)
    connecting = ConnectionSettings(
        engine=engine, cacert=str(ca_file), proxies=Proxies(http=tls_server.origin)
    )
    (result,) = fetched(["http://a.test/"], connecting)
    assert facts_of(result) == bad(ErrorKind.BODY_INCOMPLETE, Phase.DOWNLOAD, 200)


async def _closes(reader: Reader, writer: Writer) -> None:
    await reader.read(1)


async def _resets(reader: Reader, writer: Writer) -> None:
    await reader.read(1)
    reset(writer)


async def _stalls(reader: Reader, writer: Writer) -> None:
    while await reader.read(65536):
        pass


def _says(*pieces: bytes) -> Accept:
    """Return a proxy that reads something before it sends each piece, and then waits."""

    async def accept(reader: Reader, writer: Writer) -> None:
        for piece in pieces:
            await reader.read(65536)
            writer.write(piece)
            await writer.drain()
        await _stalls(reader, writer)

    return accept


def _refuses(status: str) -> Accept:
    return _says(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())


OPEN = b"\x05\x00"
FAILING = [
    pytest.param("http", _closes, ErrorKind.DISCONNECTED, "closed", id="closes"),
    pytest.param("http", _resets, ErrorKind.RESET, "reset", id="resets"),
    pytest.param("http", _stalls, ErrorKind.TIMEOUT, "timed out after", id="stalls"),
    pytest.param(
        "http", _says(b"HTTP/1.1 2"), ErrorKind.TIMEOUT, "timed out after", id="stalls inside"
    ),
    pytest.param("http", _refuses("403 No"), ErrorKind.PROTOCOL, "403 No", id="refuses"),
    pytest.param("http", _refuses("407"), ErrorKind.PROTOCOL, "407", id="refuses without a reason"),
    pytest.param("http", _says(b"SSH-2.0-x\r\n\r\n"), ErrorKind.PROTOCOL, "HTTP", id="no http"),
    pytest.param("http", _says(bytes(70_000)), ErrorKind.PROTOCOL, "longer", id="endless head"),
    pytest.param(
        "http",
        _says(b"HTTP/1.1 200 OK\r\n\r\nmore"),
        ErrorKind.PROTOCOL,
        "unsolicited",
        id="sends first",
    ),
    pytest.param("socks5", _closes, ErrorKind.DISCONNECTED, "closed", id="socks, closes"),
    pytest.param("socks5", _resets, ErrorKind.RESET, "reset", id="socks, resets"),
    pytest.param("socks5", _stalls, ErrorKind.TIMEOUT, "timed out after", id="socks, stalls"),
    pytest.param(
        "socks5", _says(b"HTTP/1.1 400"), ErrorKind.PROTOCOL, "SOCKS5", id="socks, sends http"
    ),
    pytest.param("socks5", _says(b"\4\0"), ErrorKind.PROTOCOL, "SOCKS5", id="socks, version 4"),
    pytest.param(
        "socks5",
        _says(OPEN, b"\5\0\0\7......"),
        ErrorKind.PROTOCOL,
        "SOCKS5",
        id="socks, no such type of address",
    ),
    pytest.param(
        "socks5",
        _says(OPEN, b"\5\x63\0\1......"),
        ErrorKind.PROTOCOL,
        "SOCKS5",
        id="socks, code 99",
    ),
    pytest.param(
        "socks5",
        _says(OPEN, b"\5\0\0\1"),
        ErrorKind.TIMEOUT,
        "timed out after",
        id="socks, half a reply",
    ),
    pytest.param(
        "socks5",
        _says(OPEN, b"\5\0\0\1......more"),
        ErrorKind.PROTOCOL,
        "unsolicited",
        id="socks, sends first",
    ),
]


@pytest.mark.parametrize(("scheme", "accept", "kind", "words"), FAILING)
def test_a_proxy_that_fails_before_the_tunnel_is_open_is_named(
    scheme: str, accept: Accept, kind: ErrorKind, words: str, loop: Any
) -> None:
    if scheme == "socks5" and find_spec("socksio") is None:
        pytest.skip("socksio is missing")
    with Server(accept=accept) as proxy:
        proxies = Proxies(https=f"{scheme}://127.0.0.1:{proxy.port}")
        (result,) = fetched(
            ["https://a.test/"], ConnectionSettings(proxies=proxies), limits=HASTY, loop=loop
        )
    assert facts_of(result) == bad(kind, Phase.CONNECT)
    assert detail(result).startswith("the proxy: ")
    assert words in detail(result)


@pytest.mark.parametrize(
    ("scheme", "accept"),
    [
        pytest.param(*case.values[:2], id=case.id)
        for case in FAILING
        # httpcore does not check for bytes that are sent too early.
        if "sends first" not in str(case.id)
    ],
)
def test_the_engine_httpx_names_a_proxy_that_fails(scheme: str, accept: Accept, loop: Any) -> None:
    if scheme == "socks5" and find_spec("socksio") is None:
        pytest.skip("socksio is missing")
    with Server(accept=accept) as proxy:
        connecting = ConnectionSettings(
            engine=Engine.HTTPX, proxies=Proxies(https=f"{scheme}://127.0.0.1:{proxy.port}")
        )
        (result,) = fetched(["https://a.test/"], connecting, limits=HASTY, loop=loop)
    assert result.attempt.error is not None
    assert result.attempt.error.kind is not ErrorKind.INTERNAL
    assert result.attempt.error.phase is Phase.CONNECT
    assert detail(result).startswith("the proxy: ")


@SOCKS
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, ErrorKind.PROTOCOL),
        (2, ErrorKind.PROTOCOL),
        (3, ErrorKind.UNREACHABLE),
        (4, ErrorKind.UNREACHABLE),
        (5, ErrorKind.CONNECT_REFUSED),
        (6, ErrorKind.UNREACHABLE),
        (7, ErrorKind.PROTOCOL),
        (8, ErrorKind.PROTOCOL),
    ],
)
def test_the_error_kind_is_what_a_socks_proxy_reports_of_the_host(
    code: int, kind: ErrorKind
) -> None:
    with Server(accept=socks5([], reply=code)) as proxy:
        proxies = Proxies(http=f"socks5://127.0.0.1:{proxy.port}")
        (result,) = fetched(["http://a.test/"], ConnectionSettings(proxies=proxies))
    assert facts_of(result) == bad(kind, Phase.CONNECT)
    assert detail(result).startswith("the proxy: it")


@BOTH
@pytest.mark.parametrize("url", ["http://a.test/", "https://a.test/"])
def test_a_proxy_that_refuses_connections_is_named(url: str, engine: Engine) -> None:
    with refusing_port() as port:
        address = f"http://127.0.0.1:{port}"
        connecting = ConnectionSettings(engine=engine, proxies=Proxies(http=address, https=address))
        (result,) = fetched([url], connecting)
    assert facts_of(result) == bad(ErrorKind.CONNECT_REFUSED, Phase.CONNECT)
    assert detail(result) == "the proxy: connection refused"


@BOTH
def test_the_certificate_of_a_proxy_is_verified(tls_server: Server, engine: Engine) -> None:
    proxies = Proxies(http=tls_server.origin)
    (result,) = fetched(["http://a.test/"], ConnectionSettings(engine=engine, proxies=proxies))
    assert facts_of(result) == bad(ErrorKind.TLS_UNTRUSTED, Phase.TLS)
    assert detail(result).startswith("the proxy: certificate")


@BOTH
def test_the_certificate_of_a_forwarding_proxy_is_not_that_of_the_target(
    tls_server: Server, ca_file: Path, engine: Engine
) -> None:
    tls_server.on("http://a.test/", reply(200, b"hello"))
    connecting = ConnectionSettings(
        engine=engine, cacert=str(ca_file), proxies=Proxies(http=tls_server.origin)
    )
    (result,) = fetched(["http://a.test/"], connecting)
    assert (facts_of(result), result.attempt.tls, result.attempt.timings.tls) == (
        good(5),
        None,
        None,
    )


@BOTH
def test_a_bad_certificate_behind_a_proxy_is_the_targets_and_not_the_proxys(
    server: Server, tls_server: Server, engine: Engine
) -> None:
    server.on(f"127.0.0.1:{tls_server.port}", tunnel)
    connecting = ConnectionSettings(engine=engine, proxies=Proxies(https=server.origin))
    (result,) = fetched([tls_server.url("/")], connecting)
    assert facts_of(result) == bad(ErrorKind.TLS_UNTRUSTED, Phase.TLS)
    assert detail(result).startswith("certificate")


@BOTH
def test_a_timeout_through_a_tunnel_has_no_negative_wait(
    server: Server, tls_server: Server, ca_file: Path, engine: Engine
) -> None:
    server.on(f"127.0.0.1:{tls_server.port}", tunnel)
    connecting = ConnectionSettings(
        engine=engine, cacert=str(ca_file), proxies=Proxies(https=server.origin)
    )
    url = tls_server.on("/silent", silent())
    (result,) = fetched([url], connecting, limits=replace(HASTY, timeout=0.8))
    assert facts_of(result) == bad(ErrorKind.TIMEOUT, Phase.WAIT)
    assert result.attempt.timings.wait is None
    assert result.attempt.timings.connect is not None
    assert result.attempt.timings.tls is not None


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_cancelled_tunnels_leave_no_descriptor_and_no_task(loop: Any) -> None:
    async def give_up(port: int, count: int) -> None:
        proxies = Proxies(https=f"http://127.0.0.1:{port}")
        async with open_transport(ConnectionSettings(proxies=proxies)) as wire:
            fetch = Fetcher(wire, HASTY)
            urls = [target(f"https://{number}.test/") for number in range(count)]
            attempts = await asyncio.gather(*(fetch(url) for url in urls))
        results = map(result_of, urls, attempts)
        assert {facts_of(result) for result in results} == {bad(ErrorKind.TIMEOUT, Phase.CONNECT)}
        await asyncio.sleep(0.05)

    async def run(port: int) -> None:
        await give_up(port, 1)  # uvloop opens a descriptor of its own with the first
        before = len(os.listdir("/proc/self/fd"))
        await give_up(port, 20)
        for _ in range(100):  # the proxy closes its ends in a thread of its own
            if len(os.listdir("/proc/self/fd")) == before:
                break
            await asyncio.sleep(0.02)
        assert len(os.listdir("/proc/self/fd")) == before
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with Server(accept=_stalls) as proxy, asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run(proxy.port))


def test_a_handshake_that_fails_through_a_tunnel_is_the_targets(server: Server, loop: Any) -> None:
    with Server(accept=_closes) as breaking:
        server.on(f"127.0.0.1:{breaking.port}", tunnel)
        connecting = ConnectionSettings(proxies=Proxies(https=server.origin))
        (result,) = fetched([f"https://127.0.0.1:{breaking.port}/"], connecting, loop=loop)
    assert facts_of(result).phase is Phase.TLS
    assert facts_of(result).kind in {ErrorKind.DISCONNECTED, ErrorKind.RESET}
    assert "proxy" not in detail(result)
