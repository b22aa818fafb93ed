"""Ranges of statuses that pass, and the verdicts on every outcome."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import BY_KIND, BY_OUTCOME, failed, invalid, responded, target, unreached

from crawler.core.expect import judge, parse
from crawler.models import ErrorKind, Expectation, FetchResult, Outcome, Verdict

PROPERTY = settings(derandomize=True, database=None, deadline=None)

STATUSES = st.integers(100, 999)
PAIRS = st.tuples(STATUSES, STATUSES).map(lambda pair: (min(pair), max(pair)))


def answered(status: int | None, accept: tuple[tuple[int, int], ...]) -> FetchResult:
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
    with pytest.raises(ValueError, match=f"^has {part}, no "):
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
    assert result.error
    assert judge(result) == Verdict(reasons=(result.error.detail,))


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_a_good_status_does_not_save_a_response_that_broke(kind: ErrorKind) -> None:
    assert not judge(failed(kind, status=200)).passed


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_a_response_passes(outcome: Outcome) -> None:
    assert judge(BY_OUTCOME[outcome].result).passed == (outcome is Outcome.RESPONDED)


def test_a_line_that_is_no_url_fails_for_what_is_wrong_with_it() -> None:
    result = invalid()
    assert result.error
    assert judge(result).reasons == (result.error.detail,)


def test_a_url_that_was_not_reached_has_that_as_its_reason() -> None:
    assert judge(unreached()) == Verdict(reasons=("not reached: the crawl ended first",))


@pytest.mark.parametrize("unit", ["1", "200-", "2xx,", ",", " ", "x", "-"])
def test_hostile_ranges_cost_little(unit: str) -> None:
    before = time.process_time()
    with pytest.raises(ValueError, match="no status such as"):
        parse(unit * (65_000 // len(unit)) + "!")
    assert time.process_time() - before < 1
