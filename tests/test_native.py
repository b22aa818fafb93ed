"""The native transport: how rustls and reqwest differ from OpenSSL and direct."""

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fetching import target
from hostile_cases import bad, facts_of, good
from loopback import Handler, Request, Server, raw, reply, reset
from proxies import Reader, Writer

from crawler import ErrorKind, Limits, Phase, Result, crawl
from crawler.engine.fetch import Fetcher
from crawler.engine.transports import open_transport
from crawler.engine.transports.settings import ConnectionSettings, Engine
from crawler.models import Attempt

pytest.importorskip("pyreqwest", reason="the extra fast has pyreqwest")

BOTH = pytest.mark.parametrize("engine", [Engine.DIRECT, Engine.NATIVE])


def crawled(urls: list[str], connecting: ConnectionSettings, retries: int = 0) -> list[Result]:
    """Check the URLs one after the other."""
    limits = Limits(max=1, timeout=30.0, retries=retries, backoff=0)

    async def run() -> list[Result]:
        transport = open_transport(connecting)
        return [check.result async for check in crawl(urls, limits=limits, transport=transport)]

    return asyncio.run(run())


async def _closes(reader: Reader, writer: Writer) -> None:
    await reader.read(1)


async def _closes_tcp(reader: Reader, writer: Writer) -> None:
    """End TCP without ending TLS by close_notify."""
    await reader.read(1)
    writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    await reader.read()


async def _closes_tcp_at_once(reader: Reader, writer: Writer) -> None:
    writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    await reader.read()


async def _closes_tcp_inside_the_head(reader: Reader, writer: Writer) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 200 OK\r\nConten")
    await writer.drain()
    writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    await reader.read()


async def _resets(reader: Reader, writer: Writer) -> None:
    await reader.read(1)
    reset(writer)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (_closes, ErrorKind.DISCONNECTED),
        (_closes_tcp, ErrorKind.DISCONNECTED),
        (_closes_tcp_at_once, ErrorKind.DISCONNECTED),
        (_closes_tcp_inside_the_head, ErrorKind.DISCONNECTED),
        (_resets, ErrorKind.RESET),
    ],
)
@BOTH
def test_a_tls_connection_that_ends_before_the_response_is_retried(
    tls_context: ssl.SSLContext,
    ca_file: Path,
    accept: Callable[[Reader, Writer], Awaitable[None]],
    kind: ErrorKind,
    engine: Engine,
) -> None:
    with Server(tls=tls_context, accept=accept) as server:
        connecting = ConnectionSettings(engine=engine, cacert=str(ca_file))
        (result,) = crawled([server.url("/")], connecting, retries=1)
    assert facts_of(result) == bad(kind, Phase.WAIT)
    assert result.attempts == 2


# Kept connections


def _good_until_reused(end: Callable[[Writer], None]) -> Handler:
    async def handler(request: Request, reader: Reader, writer: Writer) -> None:
        if request.turn:
            end(writer)
        else:
            await reply(200, b"hello")(request, reader, writer)

    return handler


def _close(writer: Writer) -> None:
    writer.close()


def _close_tcp(writer: Writer) -> None:
    """End TCP without ending TLS by close_notify."""
    writer.get_extra_info("socket").shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("end", [_close, _close_tcp, reset])
@BOTH
def test_a_request_is_sent_again_if_its_kept_connection_was_lost(
    tls_server: Server, ca_file: Path, end: Callable[[Writer], None], engine: Engine
) -> None:
    url = tls_server.on("/page", _good_until_reused(end))
    connecting = ConnectionSettings(engine=engine, cacert=str(ca_file))
    results = crawled([f"{url}?{number}" for number in range(12)], connecting)

    assert [facts_of(result) for result in results] == [good(5)] * 12
    assert [result.attempts for result in results] == [1] * 12
    lost = sum(request.turn > 0 for request in tls_server.requests)
    assert lost > 0
    assert tls_server.counts["/page"] == 12 + lost


@BOTH
def test_a_request_is_sent_again_only_once(
    tls_server: Server, ca_file: Path, engine: Engine
) -> None:
    async def respond(request: Request, reader: Reader, writer: Writer) -> None:
        if request.query == "bad":
            writer.close()
        else:
            await reply(200, b"hello")(request, reader, writer)

    url = tls_server.on("/page", respond)
    connecting = ConnectionSettings(engine=engine, idle=10, cacert=str(ca_file))
    *_, result = crawled([f"{url}?1", f"{url}?2", f"{url}?3", f"{url}?bad"], connecting)

    assert facts_of(result) == bad(ErrorKind.DISCONNECTED, Phase.WAIT)
    assert result.attempts == 1
    assert [request.query for request in tls_server.requests].count("bad") == 2


def test_a_request_on_a_new_connection_is_not_sent_again(tls_server: Server, ca_file: Path) -> None:
    url = tls_server.on("/page", raw(close=True))
    connecting = ConnectionSettings(engine=Engine.NATIVE, cacert=str(ca_file))
    results = crawled([f"{url}?{number}" for number in range(4)], connecting)

    assert [facts_of(r) for r in results] == [bad(ErrorKind.DISCONNECTED, Phase.WAIT)] * 4
    assert tls_server.counts["/page"] == 4


@pytest.mark.parametrize(
    "before",
    [
        ["/good", "/good", "/closing"],
        ["/good", "/closing", "/closing"],
        ["/good", "/good", "/bad"],  # its kept connection was lost, and no other one is left
    ],
    ids=["ends its connection", "never kept", "lost"],
)
@BOTH
def test_a_request_is_not_sent_again_if_no_connection_was_kept(
    tls_server: Server, ca_file: Path, before: list[str], engine: Engine
) -> None:
    tls_server.on("/good", reply(200, b"hello"))
    tls_server.on("/closing", reply(200, b"hello", "Connection: close"))
    url = tls_server.on("/bad", raw(close=True))
    connecting = ConnectionSettings(engine=engine, cacert=str(ca_file))
    urls = [f"{tls_server.url(path)}?{number}" for number, path in enumerate(before)]
    *_, result = crawled([*urls, f"{url}?last"], connecting)

    assert facts_of(result) == bad(ErrorKind.DISCONNECTED, Phase.WAIT)
    assert [request.query for request in tls_server.requests].count("last") == 1


@BOTH
def test_a_request_that_is_sent_again_waits_for_its_turn(
    tls_server: Server, ca_file: Path, engine: Engine
) -> None:
    class Closed:
        """A gate that lets nothing pass before it was waited for."""

        waits = 0

        def try_hop(self, host: str) -> bool:
            return False

        def try_resend(self) -> bool:
            return False

        async def wait_for_turn(self) -> None:
            self.waits += 1

    async def run(urls: list[str]) -> list[Attempt]:
        connecting = ConnectionSettings(engine=engine, cacert=str(ca_file))
        async with open_transport(connecting) as transport:
            fetch = Fetcher(transport, Limits(timeout=30.0))
            return [await fetch(target(url), gate) for url in urls]

    gate = Closed()
    url = tls_server.on("/page", _good_until_reused(_close))
    attempts = asyncio.run(run([f"{url}?{number}" for number in range(12)]))

    assert [attempt.size for attempt in attempts] == [5] * 12
    assert gate.waits == sum(request.turn > 0 for request in tls_server.requests) > 0


@pytest.mark.parametrize(
    "body",
    [b"Content-Length: 2\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
)
@BOTH
def test_surplus_bytes_that_come_with_a_response_are_not_the_next_one(
    tls_server: Server, ca_file: Path, body: bytes, engine: Engine
) -> None:
    surplus = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nbad"
    url = tls_server.on("/page", raw(b"HTTP/1.1 200 OK\r\n" + body + surplus))
    connecting = ConnectionSettings(engine=engine, cacert=str(ca_file))
    results = crawled([f"{url}?{number}" for number in range(20)], connecting)

    assert [facts_of(result) for result in results] == [good(2)] * 20
    assert tls_server.connections == 20


# Certificates


@pytest.fixture(params=[True, False, None], ids=["an authority's", "a server's", "unlimited"])
def self_signed_certificate(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self-signed")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
    )
    if request.param is not None:
        constraints = x509.BasicConstraints(ca=request.param, path_length=None)
        made = made.add_extension(constraints, critical=True)
    path = tmp_path / "own.pem"
    path.write_bytes(
        made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@BOTH
def test_a_self_signed_certificate_that_cacert_names_is_trusted(
    self_signed_certificate: Path, engine: Engine
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed_certificate)
    with Server({"/ok": reply(200, b"hello")}, tls=context) as server:
        urls = [server.url(f"/ok?{number}") for number in range(3)]
        named = crawled(
            urls, ConnectionSettings(engine=engine, cacert=str(self_signed_certificate))
        )
        (unnamed,) = crawled(urls[:1], ConnectionSettings(engine=engine))
    assert [facts_of(result) for result in named] == [good(5)] * 3
    assert facts_of(unnamed) == bad(ErrorKind.TLS_UNTRUSTED, Phase.TLS)


def test_a_failure_after_an_authoritys_certificate_is_not_blamed_on_the_certificate(
    self_signed_certificate: Path,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed_certificate)
    with Server(tls=context, accept=_resets) as server:
        connecting = ConnectionSettings(engine=Engine.NATIVE, cacert=str(self_signed_certificate))
        (result,) = crawled([server.url("/")], connecting)
    assert facts_of(result) == bad(ErrorKind.RESET, Phase.WAIT)
