"""Fixtures for all tests: servers on loopback, a certificate authority, a clean environment."""

import signal
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from loopback import Server, reply

from crawler.models import Check
from crawler.report import record

# For benchmarks/; at the end, so that an installed crawler takes precedence over the checkout.
sys.path.append(str(Path(__file__).parents[1]))

# A signal that is ignored here, as in a background job or under nohup, would be ignored by the
# programs that the tests start, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

# Variables that change where a request goes, or which certificates are trusted.
_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def records_as_encoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each record that a test has written has the bytes that the JSON encoder gives.

    A failure inside a run would only be a broken output: so it is reported when the test ends.
    """
    template = record.dumps
    others: list[tuple[str, str]] = []

    def dumps(check: Check) -> str:
        text, encoded = template(check), record.encode(record.dump(check))
        if text != encoded:
            others.append((text, encoded))
        return text

    monkeypatch.setattr(record, "dumps", dumps)
    yield
    assert others == []


@pytest.fixture
def terminal_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 100 columns with colours, whatever the environment says."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "25")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that relative paths start from."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def site(server: Server) -> Server:
    """A server with a good and a bad page."""
    server.on("/ok", reply(200, b"hello"))
    server.on("/gone", reply(410))
    return server


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    """The authority in `ca_file`, which issued the certificate of `tls_server`."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def tls_context(ca: trustme.CA) -> ssl.SSLContext:
    """A server's context with a valid certificate for 127.0.0.1 and localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def tls_server(tls_context: ssl.SSLContext) -> Iterator[Server]:
    with Server(tls=tls_context) as running:
        yield running
