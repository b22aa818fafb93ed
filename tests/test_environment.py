"""Proxies and certificates, from options and environment variables."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from loopback import Server, refusing_port, reply
from shell import (
    complaint,
    crawl,
    environment,
    records,
)

from crawler.cli import environment as variables
from crawler.models import ErrorKind

SECRET = "hunter2"


# Certificates


def test_a_certificate_of_an_unknown_authority_is_an_error(tls_server: Server) -> None:
    ended = crawl(tls_server.on("/ok", reply()), "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["error"]["kind"]) == (1, ErrorKind.TLS_UNTRUSTED)


@pytest.mark.parametrize("option", ["-k", "--insecure"])
def test_insecure_accepts_any_certificate(tls_server: Server, option: str) -> None:
    ended = crawl(tls_server.on("/ok", reply()), option)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_cacert_adds_a_trusted_authority(tls_server: Server, ca_file: Path) -> None:
    ended = crawl(tls_server.on("/ok", reply()), "--cacert", ca_file)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_ssl_cert_file_replaces_the_trusted_authorities(tls_server: Server, ca_file: Path) -> None:
    variables = environment(SSL_CERT_FILE=str(ca_file))
    ended = crawl(tls_server.on("/ok", reply()), env=variables)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSL_CERT_FILE", "/no/such.pem"),
        ("SSL_CERT_FILE", os.devnull),
        ("SSL_CERT_FILE", ""),
        ("SSL_CERT_DIR", "/no/such"),
        ("HTTP_PROXY", "ftp://127.0.0.1"),
        ("http_proxy", "http://"),
        ("HTTPS_PROXY", "http://127.0.0.1:port"),
        ("ALL_PROXY", "a b"),
    ],
)
def test_an_invalid_variable_is_reported_before_any_request(
    site: Server, variable: str, value: str
) -> None:
    ended = crawl(site.url("/ok"), env=environment(**{variable: value}))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert variable in complaint(ended)
    assert site.requests == []


class Behind(NamedTuple):
    """A proxy, and the only URL that it serves: there is no server at its address."""

    proxy: Server
    url: str


@pytest.fixture
def behind(server: Server) -> Iterator[Behind]:
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}/ok"
        server.on(url, reply(200, b"from the proxy"))
        yield Behind(server, url)


# Proxies


def test_proxy_sends_requests_to_the_proxy(behind: Behind) -> None:
    ended = crawl(behind.url, "--proxy", behind.proxy.origin, "--jsonl")
    (record,) = records(ended.stdout)
    assert (ended.returncode, record["size"], ended.stderr) == (0, 14, "")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_from_the_environment_is_used_and_reported_once(
    behind: Behind, variable: str
) -> None:
    ended = crawl(behind.url, env=environment(**{variable: behind.proxy.origin}))
    assert ended.returncode == 0
    assert variable in complaint(ended)
    assert behind.proxy.origin in complaint(ended)


def test_a_proxy_for_both_schemes_is_reported_once(behind: Behind) -> None:
    variables = environment(ALL_PROXY=behind.proxy.origin)
    ended = crawl(behind.url, "https://127.0.0.1:1/", "--jsonl", env=variables)
    assert "ALL_PROXY" in complaint(ended)


def test_a_proxy_from_the_environment_needs_no_scheme(behind: Behind) -> None:
    variables = environment(HTTP_PROXY=f"127.0.0.1:{behind.proxy.port}")
    assert crawl(behind.url, env=variables).returncode == 0


def test_the_proxy_option_takes_precedence_over_the_environment(behind: Behind) -> None:
    variables = environment(HTTP_PROXY="http://127.0.0.1:1")
    ended = crawl(behind.url, "--proxy", behind.proxy.origin, env=variables)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_no_proxy_ignores_the_proxies_from_the_environment(site: Server) -> None:
    variables = environment(HTTP_PROXY="http://127.0.0.1:1", ALL_PROXY="not a proxy")
    ended = crawl(site.url("/ok"), "--no-proxy", env=variables)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("value", ["127.0.0.1", "example.test,127.0.0.1", "*"])
def test_a_host_in_the_no_proxy_variable_is_requested_directly(site: Server, value: str) -> None:
    variables = environment(HTTP_PROXY="http://127.0.0.1:1", NO_PROXY=value)
    assert crawl(site.url("/ok"), env=variables).returncode == 0


def test_a_request_header_cannot_set_the_proxy_of_a_cgi_script(site: Server) -> None:
    variables = environment(HTTP_PROXY="http://127.0.0.1:1", REQUEST_METHOD="GET")
    ended = crawl(site.url("/ok"), env=variables)
    assert (ended.returncode, ended.stderr) == (0, "")


# A password


def test_the_password_of_a_proxy_reaches_the_proxy(behind: Behind) -> None:
    address = behind.proxy.origin.replace("//", f"//user:{SECRET}@")
    ended = crawl(behind.url, "--proxy", address)
    sent = behind.proxy.requests[-1].header("Proxy-Authorization")
    assert ended.returncode == 0
    assert sent == "Basic dXNlcjpodW50ZXIy"


def test_one_of_several_certificate_directories_must_exist(tmp_path: Path) -> None:
    both = os.pathsep.join([str(tmp_path / "none"), str(tmp_path)])
    variables.check_certificates({"SSL_CERT_DIR": str(tmp_path)})
    variables.check_certificates({"SSL_CERT_DIR": both})
    for path in ("", str(tmp_path / "none")):
        with pytest.raises(ValueError, match="is not a directory"):
            variables.check_certificates({"SSL_CERT_DIR": path})


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        pytest.param({}, {}, id="none"),
        pytest.param({"http_proxy": ""}, {}, id="empty"),
        pytest.param(
            {"http_proxy": "http://a"}, {"http": ("http_proxy", "http://a")}, id="only http"
        ),
        pytest.param(
            {"HTTPS_PROXY": "a:1"}, {"https": ("HTTPS_PROXY", "http://a:1")}, id="only https"
        ),
        pytest.param(
            {"http_proxy": "http://a", "HTTP_PROXY": "http://b"},
            {"http": ("http_proxy", "http://a")},
            id="lower case wins",
        ),
        pytest.param(
            {"http_proxy": "", "HTTP_PROXY": "http://b"},
            {"http": ("HTTP_PROXY", "http://b")},
            id="an empty one does not count",
        ),
        pytest.param(
            {"ALL_PROXY": "http://a"},
            {"http": ("ALL_PROXY", "http://a"), "https": ("ALL_PROXY", "http://a")},
            id="for all",
        ),
        pytest.param(
            {"all_proxy": "http://a", "HTTPS_PROXY": "http://b"},
            {"http": ("all_proxy", "http://a"), "https": ("HTTPS_PROXY", "http://b")},
            id="its own before that for all",
        ),
        pytest.param(
            {"HTTP_PROXY": "http://evil", "REQUEST_METHOD": "GET"},
            {},
            id="a header in a CGI script",
        ),
        pytest.param(
            {"http_proxy": "http://a", "REQUEST_METHOD": "GET"},
            {"http": ("http_proxy", "http://a")},
            id="lower case in a CGI script",
        ),
    ],
)
def test_proxies_are_read_from_the_environment(
    environ: dict[str, str], found: dict[str, tuple[str, str]]
) -> None:
    assert variables.proxies(environ) == found


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy"])
def test_an_invalid_proxy_from_the_environment_is_reported_with_its_variable(name: str) -> None:
    with pytest.raises(ValueError, match=f"^environment variable {name}: 'ftp://host' is not a"):
        variables.proxies({name: "ftp://host"})


@pytest.mark.parametrize(
    "value",
    [
        "http://user:hunter2@host/path",
        "http://user:a hunter2@host",
        "http://user:hunter2/x@host",
        "http://user:hunter2@host:port",
        "user:hunter2/x@host",
        "user:a hunter2@host",
        "ftp://user:hunter2@host",
        "http://hunter2@host/path",
    ],
)
def test_the_password_of_an_invalid_proxy_is_not_shown(value: str) -> None:
    with pytest.raises(ValueError, match="environment variable http_proxy") as refused:
        variables.proxies({"http_proxy": value})
    assert SECRET not in str(refused.value)
