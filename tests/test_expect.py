"""Ranges of statuses that pass, and the verdicts on every outcome."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import BY_KIND, BY_OUTCOME, failed, hops, invalid, responded, target, unreached

from crawler.core.expect import NAMES, accepted, classes, judge, parse
from crawler.models import (
    Classes,
    ErrorKind,
    Expectation,
    Outcome,
    Result,
    Target,
    Verdict,
)

PROPERTY = settings(derandomize=True, database=None, deadline=None)

STATUSES = st.integers(100, 999)
PAIRS = st.tuples(STATUSES, STATUSES).map(lambda pair: (min(pair), max(pair)))


def answered(status: int | None, accept: tuple[tuple[int, int], ...]) -> Result:
    return responded(target(expectation=Expectation(accept=accept)), status=status)


@pytest.mark.parametrize(
    ("text", "accept"),
    [
        ("200", ((200, 200),)),
        ("200-399", ((200, 399),)),
        ("200,204,300-399", ((200, 200), (204, 204), (300, 399))),
        (" 200 , 404 ", ((200, 200), (404, 404))),
        ("2xx", ((200, 299),)),
        ("2XX,4xx", ((200, 299), (400, 499))),
        ("100-999", ((100, 999),)),
        ("404-404", ((404, 404),)),
    ],
)
def test_ranges_are_read_as_they_are_written(
    text: str, accept: tuple[tuple[int, int], ...]
) -> None:
    assert parse(text) == Expectation(accept=accept)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "''"),
        ("200,", "''"),
        ("20", "'20'"),
        ("2000", "'2000'"),
        ("200,ok", "'ok'"),
        ("-200", "'-200'"),
        ("200-", "'200-'"),
        ("200-300-400", "'200-300-400'"),
        ("0xx", "'0xx'"),
        ("2x", "'2x'"),
        ("2xx-3xx", "'2xx-3xx'"),
        ("399-200", "'399-200'"),
        ("099", "'099'"),
        ("000-200", "'000-200'"),
        ("٢٠٠", "'٢٠٠'"),
        ("200;204", "'200;204'"),
    ],
)
def test_what_is_no_range_is_refused_and_named(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=f"^contains {part}, which is not a "):
        parse(text)


@PROPERTY
@given(st.text(st.sampled_from("0123456789-,xX ") | st.characters(), max_size=12))
def test_any_text_is_a_set_of_ranges_or_breaks_a_rule(text: str) -> None:
    try:
        accept = parse(text).accept
    except ValueError:
        return
    assert accept
    assert all(100 <= low <= high <= 999 for low, high in accept)


@PROPERTY
@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_exactly_the_statuses_of_the_ranges_pass(pairs: list[tuple[int, int]]) -> None:
    accept = parse(",".join(f"{low}-{high}" for low, high in pairs)).accept
    passing = {n for n in range(100, 1000) if judge(answered(n, accept)).passed}
    assert passing == {n for low, high in pairs for n in range(low, high + 1)}


def test_by_default_a_status_of_200_to_399_passes() -> None:
    accept = Expectation().accept
    passing = [n for n in range(100, 1000) if judge(answered(n, accept)).passed]
    assert passing == list(range(200, 400))


def test_a_status_that_does_not_pass_is_named_with_what_would() -> None:
    assert judge(answered(404, ((200, 200), (300, 399)))) == Verdict(
        reasons=("status 404 is not in 200,300-399",)
    )


def test_a_response_without_a_status_does_not_pass() -> None:
    assert not judge(answered(None, ((100, 999),))).passed


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_an_error_of_any_kind_does_not_pass_and_its_detail_is_the_reason(kind: ErrorKind) -> None:
    result = BY_KIND[kind].result
    assert result.attempt.error
    assert judge(result) == Verdict(reasons=(result.attempt.error.detail,))


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_a_good_status_does_not_save_a_response_that_broke(kind: ErrorKind) -> None:
    assert not judge(failed(kind, status=200)).passed


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_a_response_passes(outcome: Outcome) -> None:
    assert judge(BY_OUTCOME[outcome].result).passed == (outcome is Outcome.RESPONDED)


def test_a_line_that_is_no_url_fails_for_what_is_wrong_with_it() -> None:
    result = invalid()
    assert result.attempt.error
    assert judge(result).reasons == (result.attempt.error.detail,)


def test_a_url_that_was_not_reached_has_that_as_its_reason() -> None:
    assert judge(unreached()) == Verdict(reasons=("not checked: the run ended first",))


@pytest.mark.parametrize("unit", ["1", "200-", "2xx,", ",", " ", "x", "-"])
def test_hostile_ranges_cost_little(unit: str) -> None:
    before = time.process_time()
    with pytest.raises(ValueError, match="not a status such as"):
        parse(unit * (65_000 // len(unit)) + "!")
    assert time.process_time() - before < 1


# Classes: what is to fail, and what only to warn


def expecting(fail_on: str = "", warn_on: str = "", accept: str = "200-399") -> Target:
    return target(
        expectation=Expectation(
            accept=parse(accept).accept,
            fail_on=classes(fail_on) if fail_on else Classes(),
            warn_on=classes(warn_on) if warn_on else Classes(),
        )
    )


@pytest.mark.parametrize(
    ("text", "names", "statuses"),
    [
        ("timeout", {"timeout"}, ()),
        ("dns,tls,connect", {"dns", "tls", "connect"}, ()),
        (" Blocked , FLAKY", {"blocked", "flaky"}, ()),
        ("429", set(), ((429, 429),)),
        ("4xx,5XX", set(), ((400, 499), (500, 599))),
        ("redirect,301-303", {"redirect"}, ((301, 303),)),
        ("tls_expired,404", {"tls_expired"}, ((404, 404),)),
        ("timeout,timeout", {"timeout"}, ()),
    ],
)
def test_classes_are_names_and_statuses(
    text: str, names: set[str], statuses: tuple[tuple[int, int], ...]
) -> None:
    assert classes(text) == Classes(names=frozenset(names), statuses=statuses)


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind is not ErrorKind.INVALID_URL])
def test_every_kind_of_error_of_a_url_is_a_name(kind: ErrorKind) -> None:
    assert classes(kind.value).names == {kind.value}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "''"), ("timeout,", "''"), ("time-out", "'time-out'"), ("timeouts", "'timeouts'"),
        ("404,oops", "'oops'"), ("4x", "'4x'"), ("0xx", "'0xx'"), ("tls expired", "'tls expired'"),
        ("passed", "'passed'"), ("*", r"'\*'"),
    ],
)  # fmt: skip
def test_what_is_no_class_is_refused_and_named(text: str, part: str) -> None:
    with pytest.raises(
        ValueError, match=f"^contains {part}, which is neither an error kind, nor a status such as"
    ):
        classes(text)


def test_a_line_that_is_no_url_can_be_neither_tolerated_nor_named() -> None:
    with pytest.raises(ValueError, match=r"^contains 'invalid_url': an invalid URL always fails"):
        classes("timeout,invalid_url")


def test_a_range_of_statuses_from_high_to_low_is_no_class() -> None:
    with pytest.raises(ValueError, match=r"^contains '499-400', which is not a valid status range"):
        classes("499-400")


@PROPERTY
@given(
    st.lists(
        st.sampled_from(NAMES) | STATUSES.map(str) | st.integers(1, 9).map("{}xx".format),
        min_size=1,
        max_size=6,
    )
)
def test_names_and_statuses_can_stand_in_any_order(parts: list[str]) -> None:
    names = {part for part in parts if part in NAMES}
    found = classes(",".join(parts))
    assert found.names == names
    assert len(found.statuses) == len([part for part in parts if part not in NAMES])
    assert found == classes(" , ".join(parts).upper())


BELONGS = {
    "dns": {ErrorKind.DNS_NOT_FOUND, ErrorKind.DNS_TEMPORARY},
    "connect": {ErrorKind.CONNECT_REFUSED, ErrorKind.UNREACHABLE},
    "tls": {
        ErrorKind.TLS_EXPIRED,
        ErrorKind.TLS_NOT_YET_VALID,
        ErrorKind.TLS_HOSTNAME,
        ErrorKind.TLS_UNTRUSTED,
        ErrorKind.TLS_HANDSHAKE,
    },
    "timeout": {ErrorKind.TIMEOUT},
    "blocked": {ErrorKind.BLOCKED},
    "flaky": set(),
    "redirect": set(),
}


@pytest.mark.parametrize("name", BELONGS)
def test_a_class_of_errors_holds_its_kinds_and_no_other(name: str) -> None:
    kinds = [kind for kind in ErrorKind if kind is not ErrorKind.INVALID_URL]
    warned = {kind for kind in kinds if judge(failed(kind, expecting(warn_on=name))).passed}
    assert warned == BELONGS[name]


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind is not ErrorKind.INVALID_URL])
def test_an_error_that_is_only_to_warn_passes_and_says_why(kind: ErrorKind) -> None:
    result = failed(kind, expecting(warn_on=kind.value))
    assert result.attempt.error
    assert judge(result) == Verdict(warnings=(result.attempt.error.detail,))


def test_a_status_that_is_only_to_warn_passes_and_says_why() -> None:
    of = expecting(warn_on="404,5xx")
    assert judge(responded(of, status=404)) == Verdict(warnings=("status 404 is not in 200-399",))
    assert judge(responded(of, status=503)).passed
    assert judge(responded(of, status=403)) == Verdict(reasons=("status 403 is not in 200-399",))
    assert judge(responded(of, status=200)) == Verdict()


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("redirect", {"redirects": hops("https://a.example/")}),
        ("flaky", {"flaky": True}),
        ("204", {"status": 204}),
        ("204-299", {"status": 204}),
    ],
    ids=["redirect", "flaky", "status", "statuses"],
)
def test_a_good_answer_may_be_told_to_fail_or_to_warn(name: str, result: dict[str, object]) -> None:
    assert judge(responded(expecting(), **result)) == Verdict()
    fails = judge(responded(expecting(fail_on=name), **result))
    warns = judge(responded(expecting(warn_on=name), **result))
    word = "status 204" if "status" in result else name
    assert (fails.passed, fails.warnings) == (False, ())
    assert word in fails.reasons[0]
    assert (warns.passed, warns.reasons) == (True, ())
    assert word in warns.warnings[0]
    assert judge(responded(expecting(fail_on=name, warn_on=name))) == Verdict()


def test_a_redirect_that_is_judged_itself_is_told_by_its_status() -> None:
    assert not judge(responded(expecting(fail_on="3xx"), status=301)).passed
    assert judge(responded(expecting(fail_on="301"), status=302)).passed


def test_what_is_to_fail_fails_even_if_it_is_to_warn() -> None:
    of = expecting(fail_on="timeout,429,redirect", warn_on="timeout,4xx,redirect")
    assert not judge(failed(ErrorKind.TIMEOUT, of)).passed
    assert not judge(responded(of, status=429)).passed
    assert judge(responded(of, status=404)).passed
    assert not judge(responded(of, redirects=hops("https://a.example/"))).passed


def test_a_failure_keeps_its_own_reason_where_it_is_told_to_fail() -> None:
    of = expecting(fail_on="timeout,404")
    assert judge(failed(ErrorKind.TIMEOUT, of)).reasons == ("it ended in timeout",)
    assert judge(responded(of, status=404)).reasons == ("status 404 is not in 200-399",)


def test_an_error_is_not_excused_by_the_status_that_came_before_it() -> None:
    result = failed(ErrorKind.BODY_INCOMPLETE, expecting(warn_on="2xx,404"), status=200)
    assert not judge(result).passed


@pytest.mark.parametrize("outcome", [Outcome.INVALID, Outcome.UNREACHED])
def test_no_class_excuses_what_was_never_asked(outcome: Outcome) -> None:
    everything = ",".join([*NAMES, "100-999"])
    result = {
        Outcome.INVALID: invalid(expecting(warn_on=everything)),
        Outcome.UNREACHED: unreached(expecting(warn_on=everything)),
    }[outcome]
    assert not judge(result).passed
    assert judge(result).warnings == ()


ANY_CLASSES = st.lists(st.sampled_from([*NAMES, "2xx", "301", "4xx", "5xx"]), max_size=4).map(
    ",".join
)


@PROPERTY
@given(
    ANY_CLASSES,
    ANY_CLASSES,
    st.sampled_from([kind for kind in ErrorKind if kind is not ErrorKind.INVALID_URL])
    | st.sampled_from([200, 301, 404, 503]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "cloudflare"]),
)
def test_a_verdict_never_both_fails_and_warns(
    fail_on: str,
    warn_on: str,
    what: ErrorKind | int,
    flaky: bool,
    redirected: bool,
    wall: str | None,
) -> None:
    of = expecting(fail_on, warn_on)
    more = {
        "flaky": flaky,
        "redirects": hops("https://a.example/") if redirected else (),
        "blocked_by": wall,
    }
    result = (
        failed(what, of, **more)
        if isinstance(what, ErrorKind)
        else responded(of, status=what, **more)
    )
    verdict = judge(result)
    assert not (verdict.reasons and verdict.warnings)
    if not accepted(result):
        assert verdict.reasons or verdict.warnings
    if not warn_on:
        assert not verdict.warnings


# Bot walls and hosts that push back


@pytest.mark.parametrize("status", [403, 429, 503, 999])
def test_a_bot_protection_is_named_as_the_reason(status: int) -> None:
    result = responded(status=status, blocked_by="cloudflare", retry_after=5.0)
    assert judge(result) == Verdict(
        reasons=(f"blocked by bot protection (cloudflare, status {status})",)
    )


def test_a_bot_protection_may_be_no_more_than_a_warning() -> None:
    result = responded(expecting(warn_on="blocked"), status=403, blocked_by="aws-waf")
    assert judge(result) == Verdict(warnings=("blocked by bot protection (aws-waf, status 403)",))
    assert not judge(responded(expecting(warn_on="blocked"), status=403)).passed


def test_a_bot_protection_fails_where_that_is_told_whatever_its_status() -> None:
    of = expecting(fail_on="blocked", accept="100-999")
    assert not judge(responded(of, status=403, blocked_by="cloudflare")).passed
    assert judge(responded(of, status=403)).passed


@pytest.mark.parametrize(
    ("seconds", "words"), [(2.0, "2.00 s"), (3_600.0, "1 h 00 min"), (0.0, "0.0 ms")]
)
def test_a_host_that_asks_to_be_left_alone_is_quoted(seconds: float, words: str) -> None:
    assert judge(responded(status=429, retry_after=seconds)).reasons == (
        f"status 429 is not in 200-399; Retry-After: {words}",
    )


def test_hostile_classes_cost_little() -> None:
    before = time.process_time()
    for text in ("timeout," * 8_000, "4" * 65_000, "4xx," * 16_000, "-" * 65_000):
        with pytest.raises(ValueError, match=r"^contains "):
            classes(text)
    assert time.process_time() - before < 1
