"""What is asked again, and after how long: never too early, never later than was allowed."""

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

PASSING = {
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
BOUNDS = st.builds(
    Limits,
    retries=st.integers(0, 5) | st.just(10_000_000),
    backoff=st.floats(0, 1e8),
    max_wait=st.floats(0, 1e8),
)
ASKED = st.floats(0, 1e9)
ANY_TEXT = st.text(st.sampled_from("0123456789 ,:-+GMTJanNovSu.") | st.characters(), max_size=40)
# Two digits of a year mean one of these.
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2068, 12, 31)).map(  # noqa: DTZ001 - UTC below
    lambda at: int(at.replace(tzinfo=UTC).timestamp())
)
MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
# Rules, not names: they need no time zone files.
ZONES = ["UTC0", "EST5", "IST-5:30"]


def pushed_back(retry_after: float | None, status: int = 429) -> Result:
    return responded(status=status, retry_after=retry_after)


@contextmanager
def local_time(zone: str) -> Iterator[None]:
    """Let this machine be in a time zone meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


def dates(instant: int) -> list[str]:
    """Return an instant in the three forms that a date may have (RFC 9110, section 5.6.7)."""
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


# What may be asked again


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_only_errors_that_may_pass_are_asked_again(kind: ErrorKind) -> None:
    assert retry.is_transient(failed(kind)) is (kind in PASSING)


@pytest.mark.parametrize("kind", [ErrorKind.RESET, ErrorKind.DISCONNECTED])
def test_a_handshake_that_was_cut_off_may_pass(kind: ErrorKind) -> None:
    result = failed(kind)
    assert result.attempt.error
    in_handshake = failed(
        kind, error=type(result.attempt.error)(kind=kind, phase=Phase.TLS, detail="cut")
    )
    assert retry.is_transient(in_handshake)


def test_only_statuses_that_may_pass_are_asked_again() -> None:
    again = [n for n in range(100, 1000) if retry.is_transient(responded(status=n))]
    assert again == STATUSES


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_that_was_expected_is_not_asked_again(status: int) -> None:
    of = target(expectation=Expectation(accept=((200, 299), (status, status))))
    assert not retry.is_transient(responded(of, status=status))


@pytest.mark.parametrize(
    ("method", "again"),
    [
        ("GET", True), ("HEAD", True), ("OPTIONS", True), ("TRACE", True), ("PUT", True),
        ("DELETE", True), ("POST", False), ("PATCH", False), ("LOCK", False),
    ],
)  # fmt: skip
def test_only_what_may_be_done_twice_is_asked_again(method: str, again: bool) -> None:
    of = target(method=method)
    assert retry.is_transient(responded(of, status=503)) is again
    assert retry.is_transient(failed(ErrorKind.TIMEOUT, of)) is again


@pytest.mark.parametrize("status", [429, 503])
def test_a_bot_protection_is_not_provoked(status: int) -> None:
    assert not retry.is_transient(responded(status=status, blocked_by="cloudflare"))


def test_what_was_never_asked_is_not_asked_again() -> None:
    assert not retry.is_transient(invalid())
    assert not retry.is_transient(unreached())


@pytest.mark.parametrize(
    ("retries", "attempts", "again"),
    [(0, 1, False), (1, 1, True), (1, 2, False), (3, 3, True), (3, 4, False)],
)
def test_no_more_is_asked_again_than_was_allowed(retries: int, attempts: int, again: bool) -> None:
    limits = Limits(retries=retries)
    for result in (failed(ErrorKind.TIMEOUT), pushed_back(None), pushed_back(1.0)):
        assert (retry.delay(result, limits, attempts, 0.5) is not None) is again


@pytest.mark.parametrize("result", [responded(), responded(status=404), failed(ErrorKind.DECODE)])
def test_what_will_not_pass_is_not_waited_for(result: Result) -> None:
    assert retry.delay(result, Limits(retries=5), 1, 0.5) is None


# Back-off


@pytest.mark.parametrize(
    ("attempts", "most"),
    [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30), (8, 30), (10_000, 30)],
)
def test_a_back_off_doubles_up_to_half_a_minute(attempts: int, most: float) -> None:
    assert retry.backoff_delay(0.5, attempts, 1.0) == most
    assert retry.backoff_delay(0.5, attempts, 0.5) == most / 2
    assert retry.backoff_delay(0.5, attempts, 0.0) == 0


def test_without_a_back_off_there_is_no_pause() -> None:
    assert retry.delay(failed(ErrorKind.RESET), Limits(backoff=0), 1, 1.0) == 0


@steady
@given(st.floats(0, 1e300), ATTEMPTS, CHANCES)
def test_a_back_off_is_never_negative_and_never_above_the_cap(
    base: float, attempts: int, chance: float
) -> None:
    assert 0 <= retry.backoff_delay(base, attempts, chance) <= retry.MAX_BACKOFF == 30


@steady
@given(BOUNDS, ATTEMPTS, CHANCES)
def test_a_failure_without_a_wish_waits_for_its_back_off(
    limits: Limits, attempts: int, chance: float
) -> None:
    waits = retry.delay(failed(ErrorKind.TIMEOUT), limits, attempts, chance)
    if attempts > limits.retries:
        assert waits is None
    else:
        assert waits == retry.backoff_delay(limits.backoff, attempts, chance)
        assert 0 <= waits <= 30


# What a host asks for


@pytest.mark.parametrize(
    ("asked", "attempts", "chance", "seconds"),
    [
        pytest.param(2.0, 1, 0.0, 2.0, id="what it says"),
        pytest.param(2.0, 1, 1.0, 2.2, id="and some more"),
        pytest.param(0.0, 1, 1.0, 0.55, id="nothing: the back-off"),
        pytest.param(1.0, 4, 1.0, 4.4, id="less than the back-off"),
        pytest.param(60.0, 1, 1.0, 60.0, id="as long as may be"),
        pytest.param(59.0, 1, 1.0, 60.0, id="no more than may be"),
        pytest.param(60.1, 1, 0.0, None, id="too long"),
        pytest.param(1e9, 1, 0.0, None, id="for years"),
        pytest.param(None, 1, 1.0, None, id="not a word"),
    ],
)
def test_a_host_is_left_alone_for_as_long_as_it_asks(
    asked: float | None, attempts: int, chance: float, seconds: float | None
) -> None:
    result = pushed_back(asked)
    held = retry.host_pause(result, Limits(backoff=0.5, max_wait=60), attempts, chance)
    assert held == (None if seconds is None else pytest.approx(seconds))


def test_one_that_asks_for_too_long_a_wait_is_not_asked_again() -> None:
    assert retry.delay(pushed_back(61.0), Limits(retries=3, max_wait=60), 1, 0.5) is None
    assert retry.delay(pushed_back(61.0), Limits(retries=3, max_wait=61), 1, 0.5) == 61


@steady
@given(BOUNDS, ASKED, ATTEMPTS, CHANCES)
def test_a_host_is_held_at_least_as_long_as_it_asks_and_no_longer_than_is_allowed(
    limits: Limits, asked: float, attempts: int, chance: float
) -> None:
    held = retry.host_pause(pushed_back(asked), limits, attempts, chance)
    if asked > limits.max_wait:
        assert held is None
    else:
        assert held is not None
        assert 0 <= asked <= held <= limits.max_wait


@steady
@given(BOUNDS, ASKED, ATTEMPTS, CHANCES)
def test_a_target_waits_as_long_as_its_host_is_held(
    limits: Limits, asked: float, attempts: int, chance: float
) -> None:
    result = pushed_back(asked)
    waits = retry.delay(result, limits, attempts, chance)
    assert waits in (None, retry.host_pause(result, limits, attempts, chance))


# Retry-After


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("2", 2), ("120", 120), (" 7\t", 7), ("007", 7), ("999999999", 999_999_999)],
)
def test_a_number_is_seconds(text: str, seconds: float) -> None:
    assert retry.parse_retry_after(text, NOON) == seconds


@pytest.mark.parametrize("text", ["9999999999", "99999999999999999999", "1" * 5_000])
def test_a_number_of_any_size_is_a_long_wait_and_not_none(text: str) -> None:
    """delay-seconds has no greatest value (RFC 9110, section 10.2.3)."""
    seconds = retry.parse_retry_after(text, NOON)
    assert seconds is not None
    assert seconds >= 999_999_999
    assert retry.delay(pushed_back(seconds), Limits(retries=3), 1, 0.0) is None


@pytest.mark.parametrize("form", [0, 1, 2], ids=["IMF-fixdate", "RFC 850", "asctime"])
@pytest.mark.parametrize("zone", ZONES)
def test_a_date_of_each_form_is_the_seconds_until_then(form: int, zone: str) -> None:
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
def test_a_date_with_an_unnamed_zone_does_not_hang_on_that_of_this_machine(zone: str) -> None:
    """Python's own `formatdate` writes such dates unless told otherwise, and so servers do."""
    with local_time(zone):
        assert retry.parse_retry_after("Thu, 01 Jan 2026 12:01:30 -0000", NOON) == 90


def test_the_examples_of_the_standard_are_dates() -> None:
    then = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()
    for text in (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ):
        assert retry.parse_retry_after(text, then - 10) == 10


@steady
@given(INSTANTS, st.integers(-10_000_000, 10_000_000))
def test_any_date_in_any_form_is_never_a_negative_wait(instant: int, before: int) -> None:
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
def test_nonsense_asks_for_nothing(text: str | None) -> None:
    assert retry.parse_retry_after(text, NOON) is None


@steady
@given(ANY_TEXT, st.floats(0, 1e11))
def test_any_text_is_a_wait_or_none_at_all(text: str, now: float) -> None:
    seconds = retry.parse_retry_after(text, now)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize("unit", ["1", " ", ",", "1 ", "Sun, ", "-", ":", "Jan ", "1:"])
def test_a_hostile_field_costs_little(unit: str) -> None:
    before = time.process_time()
    assert retry.parse_retry_after(unit * (32_000 // len(unit)) + "!", NOON) is None
    assert time.process_time() - before < 1


# HEAD first


def test_statuses_of_servers_that_do_not_know_head_say_nothing() -> None:
    of = target(method="HEAD")
    useless = [n for n in range(100, 1000) if retry.refuses_head(responded(of, status=n))]
    assert useless == [403, 404, 405, 501]


@pytest.mark.parametrize("status", [403, 404, 405, 501])
def test_a_status_that_was_expected_of_head_says_enough(status: int) -> None:
    of = target(method="HEAD", expectation=Expectation(accept=((status, status),)))
    assert not retry.refuses_head(responded(of, status=status))


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_only_a_connection_that_was_closed_is_taken_for_a_refusal_of_head(kind: ErrorKind) -> None:
    closed = {ErrorKind.RESET, ErrorKind.DISCONNECTED}
    assert retry.refuses_head(failed(kind, target(method="HEAD"))) is (kind in closed)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_no_other_outcome_asks_for_a_second_method(outcome: Outcome) -> None:
    results = {
        Outcome.RESPONDED: responded(),
        Outcome.ERROR: failed(ErrorKind.TIMEOUT),
        Outcome.INVALID: invalid(),
        Outcome.UNREACHED: unreached(),
    }
    assert not retry.refuses_head(results[outcome])


def test_a_head_that_bot_protection_answered_is_not_followed_by_a_get() -> None:
    of = target(method="HEAD")
    assert not retry.refuses_head(responded(of, status=403, blocked_by="cloudflare"))
