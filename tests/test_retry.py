"""Which results are retried, and after which delay."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import NOON, failed, invalid, responded, steady, target, unreached

from crawler.core import retry
from crawler.models import ErrorKind, Expectation, Limits, Outcome, Phase, Result

TRANSIENT = {
    ErrorKind.DNS_TEMPORARY,
    ErrorKind.CONNECT_REFUSED,
    ErrorKind.UNREACHABLE,
    ErrorKind.RESET,
    ErrorKind.DISCONNECTED,
    ErrorKind.TIMEOUT,
}
STATUSES = [408, 425, 429, 500, 502, 503, 504]

CHANCES = st.floats(0, 1)
ATTEMPTS = st.integers(1, 10_000)
LIMITS = st.builds(
    Limits,
    retries=st.integers(0, 5) | st.just(10_000_000),
    backoff=st.floats(0, 1e8),
    max_wait=st.floats(0, 1e8),
)
RETRY_AFTER = st.floats(0, 1e9)
ANY_TEXT = st.text(st.sampled_from("0123456789 ,:-+GMTJanNovSu.") | st.characters(), max_size=40)
# The years that a two-digit year can stand for.
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2068, 12, 31)).map(  # noqa: DTZ001 - UTC below
    lambda at: int(at.replace(tzinfo=UTC).timestamp())
)
MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
# Rules instead of names: they need no time zone files.
ZONES = ["UTC0", "EST5", "IST-5:30"]


def throttled(retry_after: float | None, status: int = 429) -> Result:
    return responded(status=status, retry_after=retry_after)


@contextmanager
def local_time(zone: str) -> Iterator[None]:
    """Set the local time zone for the duration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


def dates(instant: int) -> list[str]:
    """Return an instant in the three forms of an HTTP date (RFC 9110, section 5.6.7)."""
    at = datetime.fromtimestamp(instant, UTC)
    day = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    weekday, month, clock = (
        day[at.weekday()],
        MONTHS[3 * at.month - 3 : 3 * at.month],
        f"{at:%H:%M:%S}",
    )
    return [
        f"{weekday[:3]}, {at.day:02d} {month} {at.year} {clock} GMT",
        f"{weekday}, {at.day:02d}-{month}-{at.year % 100:02d} {clock} GMT",
        f"{weekday[:3]} {month} {at.day:2d} {clock} {at.year}",
    ]


# Transient failures


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_only_transient_errors_are_transient_failures(kind: ErrorKind) -> None:
    assert retry.is_transient(failed(kind)) is (kind in TRANSIENT)


@pytest.mark.parametrize("kind", [ErrorKind.RESET, ErrorKind.DISCONNECTED])
def test_a_connection_lost_during_the_tls_handshake_is_a_transient_failure(kind: ErrorKind) -> None:
    result = failed(kind)
    assert result.attempt.error
    in_handshake = failed(
        kind, error=type(result.attempt.error)(kind=kind, phase=Phase.TLS, detail="cut")
    )
    assert retry.is_transient(in_handshake)


def test_only_transient_statuses_are_transient_failures() -> None:
    retried = [n for n in range(100, 1000) if retry.is_transient(responded(status=n))]
    assert retried == STATUSES


@pytest.mark.parametrize("status", STATUSES)
def test_an_accepted_status_is_not_a_transient_failure(status: int) -> None:
    of = target(expectation=Expectation(accept=((200, 299), (status, status))))
    assert not retry.is_transient(responded(of, status=status))


@pytest.mark.parametrize(
    ("method", "retried"),
    [
        ("GET", True), ("HEAD", True), ("OPTIONS", True), ("TRACE", True), ("PUT", True),
        ("DELETE", True), ("POST", False), ("PATCH", False), ("LOCK", False),
    ],
)  # fmt: skip
def test_only_idempotent_methods_have_transient_failures(method: str, retried: bool) -> None:
    of = target(method=method)
    assert retry.is_transient(responded(of, status=503)) is retried
    assert retry.is_transient(failed(ErrorKind.TIMEOUT, of)) is retried


@pytest.mark.parametrize("status", [429, 503])
def test_a_response_of_a_bot_protection_is_not_a_transient_failure(status: int) -> None:
    assert not retry.is_transient(responded(status=status, blocked_by="cloudflare"))


def test_a_url_that_was_never_requested_is_not_a_transient_failure() -> None:
    assert not retry.is_transient(invalid())
    assert not retry.is_transient(unreached())


@pytest.mark.parametrize(
    ("retries", "attempts", "retried"),
    [(0, 1, False), (1, 1, True), (1, 2, False), (3, 3, True), (3, 4, False)],
)
def test_a_target_is_retried_at_most_as_often_as_allowed(
    retries: int, attempts: int, retried: bool
) -> None:
    limits = Limits(retries=retries)
    for result in (failed(ErrorKind.TIMEOUT), throttled(None), throttled(1.0)):
        assert (retry.delay(result, limits, attempts, 0.5) is not None) is retried


@pytest.mark.parametrize("result", [responded(), responded(status=404), failed(ErrorKind.DECODE)])
def test_only_transient_failures_are_retried(result: Result) -> None:
    assert retry.delay(result, Limits(retries=5), 1, 0.5) is None


# Backoff


@pytest.mark.parametrize(
    ("attempts", "most"),
    [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30), (8, 30), (10_000, 30)],
)
def test_the_backoff_doubles_up_to_thirty_seconds(attempts: int, most: float) -> None:
    assert retry.backoff_delay(0.5, attempts, 1.0) == most
    assert retry.backoff_delay(0.5, attempts, 0.5) == most / 2
    assert retry.backoff_delay(0.5, attempts, 0.0) == 0


def test_a_backoff_of_zero_retries_immediately() -> None:
    assert retry.delay(failed(ErrorKind.RESET), Limits(backoff=0), 1, 1.0) == 0


@steady
@given(st.floats(0, 1e300), ATTEMPTS, CHANCES)
def test_the_backoff_is_never_negative_or_above_its_maximum(
    base: float, attempts: int, chance: float
) -> None:
    assert 0 <= retry.backoff_delay(base, attempts, chance) <= retry.MAX_BACKOFF == 30


@steady
@given(LIMITS, ATTEMPTS, CHANCES)
def test_a_failure_without_retry_after_is_retried_after_the_backoff(
    limits: Limits, attempts: int, chance: float
) -> None:
    delay = retry.delay(failed(ErrorKind.TIMEOUT), limits, attempts, chance)
    if attempts > limits.retries:
        assert delay is None
    else:
        assert delay == retry.backoff_delay(limits.backoff, attempts, chance)
        assert 0 <= delay <= 30


# Pauses of a host


@pytest.mark.parametrize(
    ("retry_after", "attempts", "chance", "seconds"),
    [
        pytest.param(2.0, 1, 0.0, 2.0, id="its own seconds"),
        pytest.param(2.0, 1, 1.0, 2.2, id="with jitter"),
        pytest.param(0.0, 1, 1.0, 0.55, id="zero: the backoff"),
        pytest.param(1.0, 4, 1.0, 4.4, id="less than the backoff"),
        pytest.param(60.0, 1, 1.0, 60.0, id="the maximum"),
        pytest.param(59.0, 1, 1.0, 60.0, id="capped at the maximum"),
        pytest.param(60.1, 1, 0.0, None, id="too long"),
        pytest.param(1e9, 1, 0.0, None, id="years"),
        pytest.param(None, 1, 1.0, None, id="missing"),
    ],
)
def test_retry_after_pauses_the_host(
    retry_after: float | None, attempts: int, chance: float, seconds: float | None
) -> None:
    result = throttled(retry_after)
    pause = retry.host_pause(result, Limits(backoff=0.5, max_wait=60), attempts, chance)
    assert pause == (None if seconds is None else pytest.approx(seconds))


def test_a_retry_after_above_the_maximum_prevents_the_retry() -> None:
    assert retry.delay(throttled(61.0), Limits(retries=3, max_wait=60), 1, 0.5) is None
    assert retry.delay(throttled(61.0), Limits(retries=3, max_wait=61), 1, 0.5) == 61


@steady
@given(LIMITS, RETRY_AFTER, ATTEMPTS, CHANCES)
def test_the_pause_of_a_host_lies_between_retry_after_and_the_maximum(
    limits: Limits, retry_after: float, attempts: int, chance: float
) -> None:
    pause = retry.host_pause(throttled(retry_after), limits, attempts, chance)
    if retry_after > limits.max_wait:
        assert pause is None
    else:
        assert pause is not None
        assert 0 <= retry_after <= pause <= limits.max_wait


@steady
@given(LIMITS, RETRY_AFTER, ATTEMPTS, CHANCES)
def test_a_retry_waits_as_long_as_its_host_pauses(
    limits: Limits, retry_after: float, attempts: int, chance: float
) -> None:
    result = throttled(retry_after)
    delay = retry.delay(result, limits, attempts, chance)
    assert delay in (None, retry.host_pause(result, limits, attempts, chance))


# Retry-After


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("2", 2), ("120", 120), (" 7\t", 7), ("007", 7), ("999999999", 999_999_999)],
)
def test_a_number_in_retry_after_is_seconds(text: str, seconds: float) -> None:
    assert retry.parse_retry_after(text, NOON) == seconds


@pytest.mark.parametrize("text", ["9999999999", "99999999999999999999", "1" * 5_000])
def test_a_huge_number_in_retry_after_is_a_long_delay(text: str) -> None:
    """delay-seconds has no greatest value (RFC 9110, section 10.2.3)."""
    seconds = retry.parse_retry_after(text, NOON)
    assert seconds is not None
    assert seconds >= 999_999_999
    assert retry.delay(throttled(seconds), Limits(retries=3), 1, 0.0) is None


@pytest.mark.parametrize("form", [0, 1, 2], ids=["IMF-fixdate", "RFC 850", "asctime"])
@pytest.mark.parametrize("zone", ZONES)
def test_each_form_of_http_date_is_a_delay(form: int, zone: str) -> None:
    text = dates(int(NOON) + 90)[form]
    with local_time(zone):
        assert retry.parse_retry_after(text, NOON) == 90
        assert retry.parse_retry_after(text, NOON + 89.5) == 0.5
        assert (
            retry.parse_retry_after(text, NOON + 90)
            == retry.parse_retry_after(text, NOON + 9_000)
            == 0
        )


@pytest.mark.parametrize("zone", ZONES)
def test_a_date_without_a_zone_does_not_depend_on_the_local_time_zone(zone: str) -> None:
    """Python's `formatdate` writes such dates by default, and so do servers."""
    with local_time(zone):
        assert retry.parse_retry_after("Thu, 01 Jan 2026 12:01:30 -0000", NOON) == 90


def test_the_examples_of_rfc_9110_are_dates() -> None:
    then = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()
    for text in (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ):
        assert retry.parse_retry_after(text, then - 10) == 10


@steady
@given(INSTANTS, st.integers(-10_000_000, 10_000_000))
def test_no_date_gives_a_negative_delay(instant: int, before: int) -> None:
    for text in dates(instant):
        assert retry.parse_retry_after(text, instant - before) == max(0, before)


@pytest.mark.parametrize(
    "text",
    [
        None, "", " ", "-5", "+5", "2.5", "1e3", "5 s", "5, 5", "0x10", "1_000", "\u0661", "²",
        "soon", "nan", "inf", "-inf", "Thu, 31 Feb 2026 00:00:00 GMT", "2026-01-01T12:00:00Z",
        "Thu, 01 Jan 2026 25:00:00 GMT", "Thu, 01 Jan 99999 00:00:00 GMT", "GMT", ",", "0 0 0 0",
    ],
)  # fmt: skip
def test_a_malformed_retry_after_is_ignored(text: str | None) -> None:
    assert retry.parse_retry_after(text, NOON) is None


@steady
@given(ANY_TEXT, st.floats(0, 1e11))
def test_any_text_is_a_finite_delay_or_none(text: str, now: float) -> None:
    seconds = retry.parse_retry_after(text, now)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize("unit", ["1", " ", ",", "1 ", "Sun, ", "-", ":", "Jan ", "1:"])
def test_a_hostile_retry_after_takes_linear_time(unit: str) -> None:
    before = time.process_time()
    assert retry.parse_retry_after(unit * (32_000 // len(unit)) + "!", NOON) is None
    assert time.process_time() - before < 1


# Refusals of HEAD


def test_four_statuses_are_a_refusal_of_head() -> None:
    of = target(method="HEAD")
    refusals = [n for n in range(100, 1000) if retry.refuses_head(responded(of, status=n))]
    assert refusals == [403, 404, 405, 501]


@pytest.mark.parametrize("status", [403, 404, 405, 501])
def test_an_accepted_status_is_not_a_refusal_of_head(status: int) -> None:
    of = target(method="HEAD", expectation=Expectation(accept=((status, status),)))
    assert not retry.refuses_head(responded(of, status=status))


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_only_a_closed_connection_is_an_error_that_refuses_head(kind: ErrorKind) -> None:
    closed = {ErrorKind.RESET, ErrorKind.DISCONNECTED}
    assert retry.refuses_head(failed(kind, target(method="HEAD"))) is (kind in closed)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_no_other_outcome_is_a_refusal_of_head(outcome: Outcome) -> None:
    results = {
        Outcome.RESPONDED: responded(),
        Outcome.ERROR: failed(ErrorKind.TIMEOUT),
        Outcome.INVALID: invalid(),
        Outcome.UNREACHED: unreached(),
    }
    assert not retry.refuses_head(results[outcome])


def test_a_response_of_a_bot_protection_is_not_a_refusal_of_head() -> None:
    of = target(method="HEAD")
    assert not retry.refuses_head(responded(of, status=403, blocked_by="cloudflare"))
