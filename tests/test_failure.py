"""Exceptions -> failures: every error has a kind, a phase and a detail."""

import errno
import itertools
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import trustme
from fetching import BOTH, HASTY, PATIENT, detail, fetched
from hostile_cases import TLS_CASES, Authorities, bad, facts_of, good
from loopback import (
    Handler,
    Server,
    raw,
    redirect,
    refusing_port,
    resets,
    silent,
)

from crawler import (
    ErrorKind,
    Failure,
    Limits,
    Outcome,
    Phase,
    Result,
)
from crawler.engine import failure
from crawler.engine.transports.settings import ConnectionSettings, Engine
from crawler.engine.transports.wire import WireError

MISUSE = {errno.EBADF, errno.ENOTSOCK, errno.EFAULT}
CODES = [code for code in sorted(errno.errorcode) if code not in MISUSE]
EACH_CODE = pytest.mark.parametrize("code", CODES, ids=lambda code: errno.errorcode[code])


@pytest.mark.parametrize("phase", list(Phase))
@EACH_CODE
def test_no_system_error_is_an_internal_error(code: int, phase: Phase) -> None:
    for exc in (OSError(code, "message"), _caused(httpx.ReadError(""), OSError(code, "message"))):
        found = failure.from_exception(exc, phase)
        assert found.kind is not ErrorKind.INTERNAL
        assert found.phase is phase
        assert " " in found.detail


@pytest.mark.parametrize(
    "code",
    [errno.EIO, errno.ENOPROTOOPT, errno.EPROTO, errno.EOPNOTSUPP, errno.EAGAIN],
    ids=lambda code: errno.errorcode[code],
)
@pytest.mark.parametrize(
    ("phase", "kind"),
    [
        (Phase.DNS, ErrorKind.DNS_TEMPORARY),
        (Phase.CONNECT, ErrorKind.UNREACHABLE),
        (Phase.TLS, ErrorKind.RESET),
        (Phase.WAIT, ErrorKind.RESET),
        (Phase.DOWNLOAD, ErrorKind.RESET),
    ],
)
def test_an_unlisted_error_keeps_the_message_of_the_system(
    code: int, phase: Phase, kind: ErrorKind
) -> None:
    found = failure.from_exception(OSError(code, "message of a library"), phase)
    assert found.kind is kind
    assert found.detail.startswith(f"{os.strerror(code)} ({errno.errorcode[code]}) ")


@pytest.mark.parametrize("code", sorted(MISUSE), ids=lambda code: errno.errorcode[code])
def test_a_misused_socket_is_an_internal_error(code: int) -> None:
    assert (
        failure.from_exception(OSError(code, "message"), Phase.CONNECT).kind is ErrorKind.INTERNAL
    )


def test_an_unreadable_file_is_an_internal_error() -> None:
    exc = OSError(errno.EIO, "message", "/etc/ssl/cert.pem")
    assert failure.from_exception(exc, Phase.TLS).kind is ErrorKind.INTERNAL


def _caused(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


# Over a transport


@dataclass(frozen=True, slots=True)
class Ground:
    """The servers with which errors are provoked."""

    server: Server
    ca: trustme.CA
    connecting: ConnectionSettings

    def over(self, engine: Engine) -> "Ground":
        return replace(self, connecting=replace(self.connecting, engine=engine))


def over_tls(case_id: str) -> Callable[[Ground], Result]:
    case = next(case for case in TLS_CASES if case.id == case_id)

    def provoke(ground: Ground) -> Result:
        with case.serve(Authorities(ground.ca)) as server:
            return fetched(server.url("/bad"), connecting=ground.connecting)

    return provoke


def refused(ground: Ground) -> Result:
    with refusing_port() as port:
        return fetched(f"http://127.0.0.1:{port}/", connecting=ground.connecting)


def received(handler: Handler, limits: Limits = PATIENT) -> Callable[[Ground], Result]:
    def provoke(ground: Ground) -> Result:
        url = ground.server.on("/page", handler)
        return fetched(url, limits=limits, connecting=ground.connecting)

    return provoke


def failed(*chain: BaseException) -> Callable[[Ground], Result]:
    return lambda _: fetched("http://a.test/", transport=failing(*chain))


def connect_failed(code: int) -> Callable[[Ground], Result]:
    return failed(httpx.ConnectError("All connection attempts failed"), OSError(code, "message"))


def lookup_failed(code: int) -> Callable[[Ground], Result]:
    return failed(httpx.ConnectError("message"), socket.gaierror(code, "message"))


PROVOKED: dict[ErrorKind, tuple[Phase | None, Callable[[Ground], Result]]] = {
    ErrorKind.INVALID_URL: (None, failed(httpx.UnsupportedProtocol("no such scheme"))),
    ErrorKind.BLOCKED: (Phase.CONNECT, connect_failed(errno.EACCES)),
    ErrorKind.DNS_NOT_FOUND: (Phase.DNS, lookup_failed(socket.EAI_NONAME)),
    ErrorKind.DNS_TEMPORARY: (Phase.DNS, lookup_failed(socket.EAI_AGAIN)),
    ErrorKind.CONNECT_REFUSED: (Phase.CONNECT, refused),
    ErrorKind.UNREACHABLE: (Phase.CONNECT, connect_failed(errno.EHOSTUNREACH)),
    ErrorKind.TIMEOUT: (Phase.WAIT, received(silent(), HASTY)),
    ErrorKind.TLS_EXPIRED: (Phase.TLS, over_tls("expired")),
    ErrorKind.TLS_NOT_YET_VALID: (Phase.TLS, over_tls("not-yet-valid")),
    ErrorKind.TLS_HOSTNAME: (Phase.TLS, over_tls("wrong-name")),
    ErrorKind.TLS_UNTRUSTED: (Phase.TLS, over_tls("unknown-root")),
    ErrorKind.TLS_HANDSHAKE: (Phase.TLS, over_tls("handshake-refused")),
    ErrorKind.RESET: (Phase.WAIT, received(resets())),
    ErrorKind.DISCONNECTED: (Phase.WAIT, received(raw(close=True))),
    ErrorKind.PROTOCOL: (Phase.WAIT, received(raw(b"HTTP/1.1 2xx OK\r\n\r\n"))),
    ErrorKind.BODY_INCOMPLETE: (
        Phase.DOWNLOAD,
        received(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", close=True)),
    ),
    ErrorKind.DECODE: (Phase.CONNECT, failed(httpx.DecodingError("incorrect header check"))),
    ErrorKind.TOO_MANY_REDIRECTS: (
        None,
        received(redirect("/other"), replace(PATIENT, max_redirects=0)),
    ),
    ErrorKind.REDIRECT_LOOP: (None, received(redirect("/page"))),
    ErrorKind.BAD_REDIRECT: (None, received(redirect("ftp://a.test/"))),
    ErrorKind.LOCAL_RESOURCE: (Phase.CONNECT, connect_failed(errno.EMFILE)),
    ErrorKind.INTERNAL: (Phase.CONNECT, failed(RuntimeError("a fault"))),
}
"""One way to provoke each kind; a transport that records no phase is in "connect"."""


@BOTH
@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_of_error_can_be_provoked(
    kind: ErrorKind, engine: Engine, ground: Ground
) -> None:
    phase, provoke = PROVOKED[kind]
    result = provoke(ground.over(engine))

    assert result.outcome is Outcome.ERROR
    assert result.attempt.error is not None
    assert (result.attempt.error.kind, result.attempt.error.phase) == (kind, phase)
    assert has_a_useful_detail(result.attempt.error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ECONNREFUSED, ErrorKind.CONNECT_REFUSED),
        (errno.EHOSTUNREACH, ErrorKind.UNREACHABLE),
        (errno.ENETUNREACH, ErrorKind.UNREACHABLE),
        (errno.ETIMEDOUT, ErrorKind.TIMEOUT),
        (errno.ECONNRESET, ErrorKind.RESET),
        (errno.EPIPE, ErrorKind.RESET),
        (errno.EPERM, ErrorKind.BLOCKED),
        (errno.EMFILE, ErrorKind.LOCAL_RESOURCE),
        (errno.ENFILE, ErrorKind.LOCAL_RESOURCE),
        (errno.ENOBUFS, ErrorKind.LOCAL_RESOURCE),
        (errno.EADDRNOTAVAIL, ErrorKind.LOCAL_RESOURCE),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else None,
)
def test_kinds_are_read_from_errno_at_any_depth_of_causes(
    code: int, kind: ErrorKind, ground: Ground
) -> None:
    plain = OSError(code, "message")
    several = ExceptionGroup("multiple connection attempts failed", [OSError(code, "message")])
    outer = httpx.ConnectError("All connection attempts failed")
    found = [
        failed(plain)(ground),
        failed(outer, plain)(ground),
        failed(outer, OSError("All connection attempts failed"), several)(ground),
    ]
    assert [result.attempt.error and result.attempt.error.kind for result in found] == [kind] * 3
    assert len({detail(result) for result in found}) == 1


def test_refused_unreachable_and_out_of_files_have_details_of_their_own(ground: Ground) -> None:
    codes = errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMFILE, errno.ENFILE
    assert len({detail(connect_failed(code)(ground)) for code in codes}) == len(codes)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("EAI_NONAME", ErrorKind.DNS_NOT_FOUND),  # NXDOMAIN
        ("EAI_NODATA", ErrorKind.DNS_NOT_FOUND),
        ("EAI_AGAIN", ErrorKind.DNS_TEMPORARY),  # SERVFAIL, silence
        ("EAI_FAIL", ErrorKind.DNS_TEMPORARY),  # REFUSED
    ],
)
def test_a_failed_lookup_is_permanent_only_if_the_name_does_not_exist(
    name: str, kind: ErrorKind, ground: Ground
) -> None:
    code = getattr(socket, name, None)
    if code is None:
        pytest.skip(f"this system has no {name}")
    assert facts_of(lookup_failed(code)(ground)) == bad(kind, Phase.DNS)


@pytest.mark.parametrize(
    "exc",
    [
        RuntimeError(),
        RuntimeError("message"),
        KeyError("key"),
        AssertionError(),
        RecursionError(),
        UnicodeEncodeError("ascii", "\xe9", 0, 1, "ordinal not in range"),
        ExceptionGroup("several", [ValueError(), RuntimeError()]),
        OSError(),
        OSError(errno.EBADF, "Bad file descriptor"),
        ValueError("two\nlines \x1b[31m"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_any_exception_of_a_transport_becomes_a_failure(exc: Exception, ground: Ground) -> None:
    result = failed(exc)(ground)

    assert facts_of(result) == bad(ErrorKind.INTERNAL, Phase.CONNECT)
    assert result.attempt.error is not None
    assert has_a_useful_detail(result.attempt.error)


@pytest.mark.parametrize(
    "exc",
    [
        httpx.ConnectError(""),
        httpx.ReadError(""),
        httpx.WriteError(""),
        httpx.CloseError(""),
        httpx.ConnectTimeout(""),
        httpx.ReadTimeout(""),
        httpx.WriteTimeout(""),
        httpx.PoolTimeout(""),
        httpx.RemoteProtocolError(""),
        httpx.LocalProtocolError(""),
        httpx.ProxyError(""),
        httpx.UnsupportedProtocol(""),
        httpx.InvalidURL(""),
        httpx.DecodingError(""),
        ssl.SSLError(),
        ssl.SSLError(1, "[SSL] internal error"),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed"),
        ConnectionResetError(),
        BrokenPipeError(),
        TimeoutError(),
        socket.gaierror(),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_an_exception_without_a_message_has_a_detail_and_is_not_internal(
    exc: Exception, ground: Ground
) -> None:
    for result in (failed(exc)(ground), failed(httpx.ConnectError(""), exc)(ground)):
        assert result.attempt.error is not None
        assert result.attempt.error.kind is not ErrorKind.INTERNAL
        assert has_a_useful_detail(result.attempt.error)


def test_the_kind_given_by_a_transport_takes_precedence_over_causes(ground: Ground) -> None:
    for cause in (
        ConnectionResetError(),
        OSError(errno.EMFILE, "message"),
        ssl.SSLError(1, "message"),
    ):
        result = failed(WireError(ErrorKind.DISCONNECTED, "it hung up on us"), cause)(ground)
        assert facts_of(result) == bad(ErrorKind.DISCONNECTED, Phase.CONNECT)
        assert detail(result) == "it hung up on us"


def test_no_detail_shows_a_secret(ground: Ground) -> None:
    for exc in (RuntimeError, httpx.RemoteProtocolError, httpx.ProxyError, httpx.InvalidURL):
        result = failed(exc("cannot request http://user:secret@a.test/ now"))(ground)
        assert "secret" not in detail(result)


def test_a_name_whose_every_address_refuses_is_connect_refused() -> None:
    with refusing_port() as port:
        result = fetched(f"http://localhost:{port}/")
    assert facts_of(result) == bad(ErrorKind.CONNECT_REFUSED, Phase.CONNECT)


def test_the_status_of_a_redirect_is_kept_if_the_next_hop_fails(server: Server) -> None:
    with refusing_port() as port:
        url = server.on("/start", redirect(f"http://127.0.0.1:{port}/"))
        result = fetched(url)

    assert facts_of(result) == bad(ErrorKind.CONNECT_REFUSED, Phase.CONNECT, 302, 1)
    assert (result.attempt.size, result.attempt.ttfb, result.attempt.content_type) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    "case_id",
    ["expired", "not-yet-valid", "wrong-name", "unknown-root", "self-signed", "incomplete-chain"],
)
def test_insecure_takes_any_certificate(case_id: str, ground: Ground) -> None:
    insecure = replace(ground, connecting=replace(ground.connecting, verify=False))
    assert facts_of(over_tls(case_id)(insecure)) == good(5)


@pytest.fixture
def ground(server: Server, ca: trustme.CA, ca_file: Path) -> Ground:
    return Ground(server, ca, ConnectionSettings(cacert=str(ca_file)))


def failing(*chain: BaseException) -> httpx.MockTransport:
    """Return a transport that raises the first exception, caused by the second, and so on."""
    for outer, inner in itertools.pairwise(chain):
        outer.__cause__ = inner

    async def fail(request: httpx.Request) -> httpx.Response:
        raise chain[0]

    return httpx.MockTransport(fail)


def has_a_useful_detail(failure: Failure) -> bool:
    """Whether a detail is more than a class's name, on one line, with nothing unprintable."""
    return len(failure.detail.split()) > 1 and failure.detail.isprintable()
