"""Exceptions into failures: every error of the system has a kind, a phase and words."""

import errno
import os

import httpx
import pytest

from crawler.engine import failure
from crawler.models import ErrorKind, Phase

MISUSE = {errno.EBADF, errno.ENOTSOCK, errno.EFAULT}
CODES = [code for code in sorted(errno.errorcode) if code not in MISUSE]
EACH_CODE = pytest.mark.parametrize("code", CODES, ids=lambda code: errno.errorcode[code])


@pytest.mark.parametrize("phase", list(Phase))
@EACH_CODE
def test_no_system_error_is_an_internal_error(code: int, phase: Phase) -> None:
    for exc in (OSError(code, "words"), _caused(httpx.ReadError(""), OSError(code, "words"))):
        told = failure.from_exception(exc, phase)
        assert told.kind is not ErrorKind.INTERNAL
        assert told.phase is phase
        assert " " in told.detail


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
    told = failure.from_exception(OSError(code, "words of a library"), phase)
    assert told.kind is kind
    assert told.detail.startswith(f"{os.strerror(code)} ({errno.errorcode[code]}) ")


@pytest.mark.parametrize("code", sorted(MISUSE), ids=lambda code: errno.errorcode[code])
def test_a_misused_socket_is_an_internal_error(code: int) -> None:
    assert failure.from_exception(OSError(code, "words"), Phase.CONNECT).kind is ErrorKind.INTERNAL


def test_an_unreadable_file_is_an_internal_error() -> None:
    exc = OSError(errno.EIO, "words", "/etc/ssl/cert.pem")
    assert failure.from_exception(exc, Phase.TLS).kind is ErrorKind.INTERNAL


def _caused(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer
