"""HTTP/2: connections that end, streams that are refused, and servers without it."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from hostile_cases import bad, facts_of, good
from loopback import Server, reply
from nginx import serve
from proxies import Reader, Writer, tunnel
from samples import result_of

from crawler import ErrorKind, Limits, Phase, Result, Target, crawl
from crawler.core.urllist import UrlList
from crawler.engine.fetch import Fetcher
from crawler.engine.transports import open_transport
from crawler.engine.transports.settings import ConnectionSettings, Proxies

connection = pytest.importorskip("h2.connection", reason="the extra http2 has h2")
config = pytest.importorskip("h2.config")
events = pytest.importorskip("h2.events")
frames = pytest.importorskip("hyperframe.frame")

LIMITS = Limits(max=10, per_host=10, timeout=30.0, retries=0)
BODY = bytes(20_000)
REFUSED_STREAM = 7
INTERNAL_ERROR = 2


@pytest.fixture(scope="session")
def h2_context(ca: trustme.CA) -> ssl.SSLContext:
    """A server's context that offers HTTP/2 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.fixture
def connecting(ca_file: Path) -> ConnectionSettings:
    return ConnectionSettings(http2=True, cacert=str(ca_file))


Stream = Callable[[Any, int, int], bool]


def speaking_h2(stream: Stream, seen: list[int]) -> Callable[[Reader, Writer], Awaitable[None]]:
    """Return a server that calls `stream` for each request, and ends when that returns False.

    It gets the connection, the stream and how many requests came before; `seen` notes the
    number of the connection of each request.
    """
    accepted = 0

    async def accept(reader: Reader, writer: Writer) -> None:
        nonlocal accepted
        accepted += 1
        number, goes_on = accepted, True
        state = connection.H2Connection(config.H2Configuration(client_side=False))
        state.initiate_connection()
        writer.write(state.data_to_send())
        while goes_on and (data := await reader.read(65536)):
            for event in state.receive_data(data):
                if isinstance(event, events.RequestReceived):
                    seen.append(number)
                    goes_on = stream(state, event.stream_id, len(seen) - 1)
            writer.write(state.data_to_send())
            await writer.drain()
        writer.write(state.data_to_send())
        await writer.drain()

    return accept


def respond(state: Any, stream: int, end: int = len(BODY)) -> None:
    """Send a response; of its body only the first `end` bytes, if that is given."""
    state.send_headers(stream, [(":status", "200"), ("content-length", str(len(BODY)))])
    for begin in range(0, end, 10_000):
        state.send_data(
            stream, BODY[begin : begin + 10_000], end_stream=begin + 10_000 >= len(BODY)
        )


def target(url: str, method: str) -> Target:
    entry = UrlList(method=method).parse_entry(url)
    assert isinstance(entry, Target), entry
    return entry


def fetched(
    urls: list[str], connecting: ConnectionSettings, *, method: str = "GET", limits: Limits = LIMITS
) -> list[Result]:
    """Fetch the URLs one after the other over one transport."""

    async def run() -> list[Result]:
        async with open_transport(connecting) as wire:
            fetch = Fetcher(wire, limits)
            return [
                result_of(target(url, method), await fetch(target(url, method))) for url in urls
            ]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "size", "count"),
    [
        pytest.param("/", 6, 4_000, id="small"),
        pytest.param("/files/large", 100_000, 1_000, id="large"),
    ],
)
def test_every_url_passes_if_the_server_ends_connections_after_a_hundred_requests(
    ca: trustme.CA, connecting: ConnectionSettings, tmp_path: Path, path: str, size: int, count: int
) -> None:
    certificate = tmp_path / "server.pem"
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "large").write_bytes(bytes(100_000))
    seen: Counter[object] = Counter()

    async def run(urls: list[str]) -> None:
        transport = open_transport(connecting)
        async for check in crawl(urls, limits=LIMITS, transport=transport):
            result = check.result
            seen[
                result.attempt.http_version,
                result.attempt.size,
                result.attempts,
                result.attempt.error,
            ] += 1

    with serve(tmp_path, certificate=certificate, requests=100) as nginx:
        asyncio.run(run([nginx.url(f"{path}?{number}") for number in range(count)]))
    assert seen == {("HTTP/2", size, 1, None): count}


def _goes_away_in_the_head(state: Any, stream: int, before: int) -> bool:
    if before == 1:
        state.close_connection(last_stream_id=stream)
        return False
    respond(state, stream)
    return True


def _goes_away_in_the_body(state: Any, stream: int, before: int) -> bool:
    if before == 1:
        respond(state, stream, end=10_000)
        state.close_connection(last_stream_id=stream)
        return False
    respond(state, stream)
    return True


def _just_closes(state: Any, stream: int, before: int) -> bool:
    if before == 1:
        return False
    respond(state, stream)
    return True


def _refuses_the_stream(state: Any, stream: int, before: int) -> bool:
    if before == 1:
        state.reset_stream(stream, error_code=REFUSED_STREAM)
    else:
        respond(state, stream)
    return True


def _resets_the_stream(state: Any, stream: int, before: int) -> bool:
    if before == 1:
        state.reset_stream(stream, error_code=INTERNAL_ERROR)
    else:
        respond(state, stream)
    return True


@pytest.mark.parametrize(
    "stream",
    [_goes_away_in_the_head, _goes_away_in_the_body, _just_closes, _refuses_the_stream],
)
def test_a_request_whose_connection_ends_is_sent_once_more_without_counting_as_a_retry(
    h2_context: ssl.SSLContext, connecting: ConnectionSettings, stream: Stream
) -> None:
    seen: list[int] = []
    with Server(tls=h2_context, accept=speaking_h2(stream, seen)) as server:
        first, second = fetched([server.url("/1"), server.url("/2")], connecting)
    assert (facts_of(first), facts_of(second)) == (good(len(BODY)), good(len(BODY)))
    assert (second.attempts, second.attempt.http_version) == (1, "HTTP/2")
    assert seen == [1, 1, 2]


def test_responses_after_a_goaway_are_not_awaited(
    h2_context: ssl.SSLContext, connecting: ConnectionSettings
) -> None:
    """h2 drops what comes with a GOAWAY; here the server leaves the connection open then."""
    seen: list[int] = []
    first: list[int] = []

    def stream(state: Any, number: int, before: int) -> bool:
        if before == 1:
            first.append(number)  # its response goes out with the next one
        elif before == 2:
            sent = [(stream, b"hello") for stream in (*first, number)]
            for each, body in sent:
                state.send_headers(each, [(":status", "200"), ("content-length", "5")])
                state.send_data(each, body, end_stream=True)
            goaway = frames.GoAwayFrame(0, last_stream_id=number).serialize()
            state._data_to_send = bytearray(goaway) + state._data_to_send
        else:
            respond(state, number)
        return True

    async def run(server: Server) -> list[Result]:
        async with open_transport(connecting) as wire:
            fetch = Fetcher(wire, replace(LIMITS, timeout=10.0))
            await fetch(target(server.url("/"), "GET"))
            urls = [target(server.url(f"/{number}"), "GET") for number in range(2)]
            return list(map(result_of, urls, await asyncio.gather(*(fetch(url) for url in urls))))

    with Server(tls=h2_context, accept=speaking_h2(stream, seen)) as server:
        results = asyncio.run(run(server))
    assert [facts_of(result) for result in results] == [good(len(BODY))] * 2
    assert seen == [1, 1, 1, 2, 3]


def test_a_request_whose_stream_is_reset_is_not_sent_again(
    h2_context: ssl.SSLContext, connecting: ConnectionSettings
) -> None:
    seen: list[int] = []
    with Server(tls=h2_context, accept=speaking_h2(_resets_the_stream, seen)) as server:
        _, second = fetched([server.url("/1"), server.url("/2")], connecting)
    assert facts_of(second) == bad(ErrorKind.PROTOCOL, Phase.WAIT)
    assert seen == [1, 1]


def test_a_post_has_a_connection_of_its_own_and_is_sent_once(
    h2_context: ssl.SSLContext, connecting: ConnectionSettings
) -> None:
    seen: list[int] = []
    with Server(tls=h2_context, accept=speaking_h2(_goes_away_in_the_head, seen)) as server:
        first, second = fetched([server.url("/1"), server.url("/2")], connecting, method="POST")
    assert facts_of(first) == good(len(BODY))
    assert second.attempt.error is not None
    assert seen == [1, 2]


def test_a_request_sent_once_more_fails_with_its_second_error(
    h2_context: ssl.SSLContext, connecting: ConnectionSettings
) -> None:
    def stream(state: Any, number: int, before: int) -> bool:
        if before == 0:
            return False
        state.reset_stream(number, error_code=INTERNAL_ERROR)
        return True

    seen: list[int] = []
    with Server(tls=h2_context, accept=speaking_h2(stream, seen)) as server:
        (result,) = fetched([server.url("/")], connecting)
    assert facts_of(result) == bad(ErrorKind.PROTOCOL, Phase.WAIT)
    assert seen == [1, 2]


def test_a_server_that_always_sends_goaway_is_disconnected(
    h2_context: ssl.SSLContext, connecting: ConnectionSettings
) -> None:
    def closes(state: Any, stream: int, before: int) -> bool:
        return False

    seen: list[int] = []
    with Server(tls=h2_context, accept=speaking_h2(closes, seen)) as server:
        (result,) = fetched([server.url("/")], connecting)
    assert facts_of(result) == bad(ErrorKind.DISCONNECTED, Phase.WAIT)
    assert seen == [1, 2]


def test_connections_to_a_server_without_http2_are_reused(
    tls_server: Server, connecting: ConnectionSettings
) -> None:
    urls = [tls_server.on(f"/{number}", reply(200, b"hello")) for number in range(5)]
    results = fetched(urls, connecting)
    assert [facts_of(result) for result in results] == [good(5)] * 5
    assert tls_server.connections == 2  # one to find out, one for all others


def test_connections_for_plain_http_are_reused_with_http2_enabled(
    server: Server, connecting: ConnectionSettings
) -> None:
    urls = [server.on(f"/{number}", reply(200, b"hello")) for number in range(5)]
    assert [facts_of(result) for result in fetched(urls, connecting)] == [good(5)] * 5
    assert server.connections == 1


def test_http2_goes_through_a_tunnel(
    server: Server, h2_context: ssl.SSLContext, connecting: ConnectionSettings
) -> None:
    def stream(state: Any, number: int, before: int) -> bool:
        respond(state, number)
        return True

    with Server(tls=h2_context, accept=speaking_h2(stream, [])) as site:
        server.on(f"127.0.0.1:{site.port}", tunnel)
        through = replace(connecting, proxies=Proxies(https=server.origin))
        results = fetched([site.url("/1"), site.url("/2")], through)
    assert [facts_of(result) for result in results] == [good(len(BODY))] * 2
    assert [result.attempt.http_version for result in results] == ["HTTP/2"] * 2
    assert [result.attempt.remote_ip for result in results] == [None] * 2
    assert server.connections == 1
