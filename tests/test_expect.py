"""Ranges of accepted statuses, classes of results, and the verdict on every outcome."""

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


def with_status(status: int | None, accept: tuple[tuple[int, int], ...]) -> Result:
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
def test_status_ranges_are_parsed(text: str, accept: tuple[tuple[int, int], ...]) -> None:
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
def test_an_invalid_range_is_rejected_by_name(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=f"^contains {part}, which is not a "):
        parse(text)


@PROPERTY
@given(st.text(st.sampled_from("0123456789-,xX ") | st.characters(), max_size=12))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    try:
        accept = parse(text).accept
    except ValueError:
        return
    assert accept
    assert all(100 <= low <= high <= 999 for low, high in accept)


@PROPERTY
@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_exactly_the_statuses_in_the_ranges_pass(pairs: list[tuple[int, int]]) -> None:
    accept = parse(",".join(f"{low}-{high}" for low, high in pairs)).accept
    passing = {n for n in range(100, 1000) if judge(with_status(n, accept)).passed}
    assert passing == {n for low, high in pairs for n in range(low, high + 1)}


def test_statuses_200_to_399_pass_by_default() -> None:
    accept = Expectation().accept
    passing = [n for n in range(100, 1000) if judge(with_status(n, accept)).passed]
    assert passing == list(range(200, 400))


def test_the_reason_names_the_status_and_the_accepted_ones() -> None:
    assert judge(with_status(404, ((200, 200), (300, 399)))) == Verdict(
        reasons=("status 404 is not in 200,300-399",)
    )


def test_a_response_without_a_status_fails() -> None:
    assert not judge(with_status(None, ((100, 999),))).passed


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_error_fails_with_its_detail_as_the_reason(kind: ErrorKind) -> None:
    result = BY_KIND[kind].result
    assert result.attempt.error
    assert judge(result) == Verdict(reasons=(result.attempt.error.detail,))


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_an_error_after_an_accepted_status_fails(kind: ErrorKind) -> None:
    assert not judge(failed(kind, status=200)).passed


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_a_response_passes(outcome: Outcome) -> None:
    assert judge(BY_OUTCOME[outcome].result).passed == (outcome is Outcome.RESPONDED)


def test_an_invalid_url_fails_with_the_broken_rule_as_the_reason() -> None:
    result = invalid()
    assert result.attempt.error
    assert judge(result).reasons == (result.attempt.error.detail,)


def test_an_unreached_url_has_that_as_its_reason() -> None:
    assert judge(unreached()) == Verdict(reasons=("not checked: the run ended first",))


@pytest.mark.parametrize("unit", ["1", "200-", "2xx,", ",", " ", "x", "-"])
def test_hostile_ranges_are_cheap_to_reject(unit: str) -> None:
    before = time.process_time()
    with pytest.raises(ValueError, match="not a status such as"):
        parse(unit * (65_000 // len(unit)) + "!")
    assert time.process_time() - before < 1


# Classes of results in --fail-on and --warn-on


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
def test_classes_are_parsed_into_names_and_statuses(
    text: str, names: set[str], statuses: tuple[tuple[int, int], ...]
) -> None:
    assert classes(text) == Classes(names=frozenset(names), statuses=statuses)


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind is not ErrorKind.INVALID_URL])
def test_every_error_kind_but_invalid_url_is_a_name(kind: ErrorKind) -> None:
    assert classes(kind.value).names == {kind.value}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "''"), ("timeout,", "''"), ("time-out", "'time-out'"), ("timeouts", "'timeouts'"),
        ("404,oops", "'oops'"), ("4x", "'4x'"), ("0xx", "'0xx'"), ("tls expired", "'tls expired'"),
        ("passed", "'passed'"), ("*", r"'\*'"),
    ],
)  # fmt: skip
def test_an_invalid_class_is_rejected_by_name(text: str, part: str) -> None:
    with pytest.raises(
        ValueError, match=f"^contains {part}, which is neither an error kind, nor a status such as"
    ):
        classes(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("timeout,invalid_url", "contains 'invalid_url': an invalid URL always fails"),
        ("499-400", "contains '499-400', which is not a valid status range"),
    ],
)
def test_a_class_that_can_never_apply_is_rejected(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        classes(text)


@PROPERTY
@given(
    st.lists(
        st.sampled_from(NAMES) | STATUSES.map(str) | st.integers(1, 9).map("{}xx".format),
        min_size=1,
        max_size=6,
    )
)
def test_names_and_statuses_are_accepted_in_any_order_and_case(parts: list[str]) -> None:
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
def test_a_class_contains_exactly_its_error_kinds(name: str) -> None:
    kinds = [kind for kind in ErrorKind if kind is not ErrorKind.INVALID_URL]
    warned = {kind for kind in kinds if judge(failed(kind, expecting(warn_on=name))).passed}
    assert warned == BELONGS[name]


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind is not ErrorKind.INVALID_URL])
def test_an_error_in_warn_on_passes_with_a_warning(kind: ErrorKind) -> None:
    result = failed(kind, expecting(warn_on=kind.value))
    assert result.attempt.error
    assert judge(result) == Verdict(warnings=(result.attempt.error.detail,))


def test_a_status_in_warn_on_passes_with_a_warning() -> None:
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
def test_an_accepted_response_can_be_in_fail_on_or_warn_on(
    name: str, result: dict[str, object]
) -> None:
    assert judge(responded(expecting(), **result)) == Verdict()
    fails = judge(responded(expecting(fail_on=name), **result))
    warns = judge(responded(expecting(warn_on=name), **result))
    name_shown = "status 204" if "status" in result else name
    assert (fails.passed, fails.warnings) == (False, ())
    assert name_shown in fails.reasons[0]
    assert (warns.passed, warns.reasons) == (True, ())
    assert name_shown in warns.warnings[0]
    assert judge(responded(expecting(fail_on=name, warn_on=name))) == Verdict()


def test_a_redirect_that_is_not_followed_is_matched_by_its_status() -> None:
    assert not judge(responded(expecting(fail_on="3xx"), status=301)).passed
    assert judge(responded(expecting(fail_on="301"), status=302)).passed


def test_fail_on_takes_precedence_over_warn_on() -> None:
    of = expecting(fail_on="timeout,429,redirect", warn_on="timeout,4xx,redirect")
    assert not judge(failed(ErrorKind.TIMEOUT, of)).passed
    assert not judge(responded(of, status=429)).passed
    assert judge(responded(of, status=404)).passed
    assert not judge(responded(of, redirects=hops("https://a.example/"))).passed


def test_a_failure_in_fail_on_keeps_its_own_reason() -> None:
    of = expecting(fail_on="timeout,404")
    assert judge(failed(ErrorKind.TIMEOUT, of)).reasons == ("it ended in timeout",)
    assert judge(responded(of, status=404)).reasons == ("status 404 is not in 200-399",)


def test_an_error_is_not_matched_by_the_status_received_before_it() -> None:
    result = failed(ErrorKind.BODY_INCOMPLETE, expecting(warn_on="2xx,404"), status=200)
    assert not judge(result).passed


@pytest.mark.parametrize("outcome", [Outcome.INVALID, Outcome.UNREACHED])
def test_warn_on_does_not_apply_to_urls_that_were_never_requested(outcome: Outcome) -> None:
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
    protection: str | None,
) -> None:
    of = expecting(fail_on, warn_on)
    more = {
        "flaky": flaky,
        "redirects": hops("https://a.example/") if redirected else (),
        "blocked_by": protection,
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


# Bot protections and throttling


@pytest.mark.parametrize("status", [403, 429, 503, 999])
def test_the_reason_names_the_bot_protection(status: int) -> None:
    result = responded(status=status, blocked_by="cloudflare", retry_after=5.0)
    assert judge(result) == Verdict(
        reasons=(f"blocked by bot protection (cloudflare, status {status})",)
    )


def test_a_blocked_url_in_warn_on_passes_with_a_warning() -> None:
    result = responded(expecting(warn_on="blocked"), status=403, blocked_by="aws-waf")
    assert judge(result) == Verdict(warnings=("blocked by bot protection (aws-waf, status 403)",))
    assert not judge(responded(expecting(warn_on="blocked"), status=403)).passed


def test_a_blocked_url_in_fail_on_fails_with_any_status() -> None:
    of = expecting(fail_on="blocked", accept="100-999")
    assert not judge(responded(of, status=403, blocked_by="cloudflare")).passed
    assert judge(responded(of, status=403)).passed


@pytest.mark.parametrize(
    ("seconds", "words"), [(2.0, "2.00 s"), (3_600.0, "1 h 00 min"), (0.0, "0.0 ms")]
)
def test_the_reason_of_a_throttled_request_contains_retry_after(seconds: float, words: str) -> None:
    assert judge(responded(status=429, retry_after=seconds)).reasons == (
        f"status 429 is not in 200-399; Retry-After: {words}",
    )


def test_hostile_classes_are_cheap_to_reject() -> None:
    before = time.process_time()
    for text in ("timeout," * 8_000, "4" * 65_000, "4xx," * 16_000, "-" * 65_000):
        with pytest.raises(ValueError, match=r"^contains "):
            classes(text)
    assert time.process_time() - before < 1
