"""TLS: the recorded facts of a connection, and which certificates are trusted."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from fetching import BOTH, fetched
from hostile_cases import bad, facts_of, good
from loopback import (
    Server,
    redirect,
    reply,
)

from crawler import (
    ErrorKind,
    Phase,
)
from crawler.engine.transports.settings import ConnectionSettings, Engine


@BOTH
def test_the_tls_connection_and_its_certificate_are_recorded(
    ca: trustme.CA, ca_file: Path, engine: Engine
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    expires = datetime(2100, 2, 3, 4, 5, 6, tzinfo=UTC)
    leaf = ca.issue_cert(
        "127.0.0.1", common_name="a.test", organization_name="A, Inc", not_after=expires
    )
    leaf.configure_cert(context)
    with Server({"/page": reply()}, tls=context) as server:
        result = fetched(
            server.url("/page"), connecting=ConnectionSettings(engine=engine, cacert=str(ca_file))
        )

    assert result.attempt.tls is not None
    assert result.attempt.tls.version == "TLSv1.3"
    assert result.attempt.tls.cipher is not None
    assert result.attempt.tls.cipher.startswith("TLS_")
    assert result.attempt.tls.expires == expires.timestamp()
    assert result.attempt.tls.subject is not None
    assert "CN=a.test" in result.attempt.tls.subject
    assert result.attempt.tls.issuer is not None
    assert "trustme" in result.attempt.tls.issuer


def test_the_certificate_of_a_reused_connection_is_recorded(
    tls_server: Server, ca_file: Path
) -> None:
    tls_server.on("/start", redirect("/end"))
    tls_server.on("/end", reply())
    result = fetched(tls_server.url("/start"), connecting=ConnectionSettings(cacert=str(ca_file)))

    assert tls_server.connections == 1
    assert result.attempt.tls is not None
    assert result.attempt.tls.expires is not None


def test_plain_http_records_no_certificate(server: Server) -> None:
    assert fetched(server.on("/page", reply())).attempt.tls is None


def test_an_unknown_authority_is_not_trusted(tls_server: Server) -> None:
    result = fetched(tls_server.on("/page", reply()))
    assert facts_of(result) == bad(ErrorKind.TLS_UNTRUSTED, Phase.TLS)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_holds_for_each_of_its_names(
    tls_server: Server, ca_file: Path, host: str
) -> None:
    tls_server.on("/page", reply(200, b"hello"))
    connecting = ConnectionSettings(cacert=str(ca_file))
    assert facts_of(fetched(tls_server.url("/page", host=host), connecting=connecting)) == good(5)


def test_roots_named_by_the_environment_are_trusted(
    tls_server: Server, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    assert facts_of(fetched(tls_server.on("/page", reply(200, b"hello")))) == good(5)
