"""Checks to JSON: every key in order, the same values when parsed, nothing unsafe, no secret."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from samples import (
    BY_KIND,
    BY_OUTCOME,
    EVERY,
    NOON,
    PHASES,
    Try,
    check,
    failed,
    hops,
    responded,
    steady,
    summary,
    target,
    tried,
    tries,
)

from crawler.core.summary import CrawlStats
from crawler.models import (
    Attempt,
    Check,
    ErrorKind,
    Failure,
    Outcome,
    Phase,
    Result,
    Timings,
    Tls,
    Verdict,
)
from crawler.report import jsondocument, jsonl
from crawler.report.record import dump, dump_summary, dumps, encode

KEYS: dict[str, tuple[type, ...]] = {
    "schema": (int,),
    "index": (int,),
    "source": (str, type(None)),
    "line": (int, type(None)),
    "input": (str,),
    "url": (str,),
    "final_url": (str, type(None)),
    "method": (str,),
    "ok": (bool, type(None)),
    "outcome": (str,),
    "status": (int, type(None)),
    "size": (int, type(None)),
    "latency_ms": (float, type(None)),
    "ttfb_ms": (float, type(None)),
    "timings_ms": (dict,),
    "attempts": (int,),
    "redirects": (list,),
    "http_version": (str, type(None)),
    "remote_ip": (str, type(None)),
    "content_type": (str, type(None)),
    "content_length": (int, type(None)),
    "truncated": (bool,),
    "error": (dict, type(None)),
    "reasons": (list,),
    "timestamp": (str, type(None)),
    "tls": (dict, type(None)),
    "retried": (list,),
    "flaky": (bool,),
    "hedged": (bool,),
    "blocked_by": (str, type(None)),
    "warned": (bool,),
}
TIMINGS = ["queue", "dns", "connect", "tls", "wait", "download"]
# C0, DEL, C1, zero-width and bidirectional marks, byte order mark, surrogates.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
SURROGATE = re.compile("[\ud800-\udfff]")

every_check = pytest.mark.parametrize("one", EVERY.values(), ids=EVERY)


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def strictly(text: str) -> Any:
    """Parse as a strict reader does: no NaN, no duplicate key."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=once)


def document(*checks: Check, stats: CrawlStats | None = None) -> str:
    elements = [jsondocument.element(one, first=not place) for place, one in enumerate(checks)]
    return (
        jsondocument.begin() + "".join(elements) + jsondocument.end(summary(*checks, stats=stats))
    )


WHOLE = check(
    responded(
        target(
            7,
            source="urls.txt",
            line=9,
            input="host.example/ü",
            url="https://host.example/%C3%BC",
        ),
        status=503,
        size=1_000,
        queue=0.0015,
        latency=0.7519,
        ttfb=0.25,
        timings=Timings(dns=0.01, connect=0.02, tls=None, wait=0.1234567, download=0.5),
        redirects=hops("https://host.example/%C3%BC", "https://host.example/a"),
        final_url="https://host.example/b",
        http_version="HTTP/1.1",
        remote_ip="2001:db8::1",
        content_type='text/html; charset="utf-8"',
        content_length=4_000,
        truncated=True,
        timestamp=NOON + 0.5,
        tls=Tls(
            version="TLSv1.3",
            cipher="TLS_AES_256_GCM_SHA384",
            expires=NOON,
            issuer="CN=An Authority",
            subject=None,
        ),
        retried=(
            Try(method="HEAD", status=405),
            Try(method="GET", kind=ErrorKind.TIMEOUT),
        ),
        flaky=True,
        hedged=True,
        retry_after=7.0,
        blocked_by="cloudflare",
    )
)
WHOLE_LINE = (
    '{"schema": 1, "index": 7, "source": "urls.txt", "line": 9, '
    '"input": "host.example/\\u00fc", "url": "https://host.example/%C3%BC", '
    '"final_url": "https://host.example/b", "method": "GET", "ok": false, '
    '"outcome": "responded", "status": 503, "size": 1000, "latency_ms": 751.9, '
    '"ttfb_ms": 250.0, "timings_ms": {"queue": 1.5, "dns": 10.0, "connect": 20.0, '
    '"tls": null, "wait": 123.457, "download": 500.0}, "attempts": 3, '
    '"redirects": [{"url": "https://host.example/%C3%BC", "status": 301}, '
    '{"url": "https://host.example/a", "status": 301}], "http_version": "HTTP/1.1", '
    '"remote_ip": "2001:db8::1", "content_type": "text/html; charset=\\"utf-8\\"", '
    '"content_length": 4000, "truncated": true, "error": null, '
    '"reasons": ["blocked by bot protection (cloudflare, status 503)"], '
    '"timestamp": "2026-01-01T12:00:00.500Z", '
    '"tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", '
    '"expires": "2026-01-01T12:00:00.000Z", "issuer": "CN=An Authority", "subject": null}, '
    '"retried": [{"method": "HEAD", "kind": null, "status": 405}, '
    '{"method": "GET", "kind": "timeout", "status": null}], '
    '"flaky": true, "hedged": true, "blocked_by": "cloudflare", "warned": false}'
)


def test_a_jsonl_line_is_the_whole_record() -> None:
    assert jsonl.line(WHOLE) == WHOLE_LINE + "\n"


def test_a_document_holds_the_records_and_the_summary() -> None:
    stats = CrawlStats(elapsed=2.0, duplicates=3)
    assert document(WHOLE, BY_OUTCOME[Outcome.UNREACHED], stats=stats) == (
        '{"schema": 1, "results": [\n'
        f"{WHOLE_LINE},\n"
        f"{jsonl.line(BY_OUTCOME[Outcome.UNREACHED])}"
        '], "summary": {"total": 2, "passed": 0, "failed": 1, "invalid": 0, "unreached": 1, '
        '"complete": false, "bytes": 1000, "elapsed_s": 2.0, "requests_per_s": 0.5, '
        '"latency_ms": {"min": 751.9, "mean": 751.9, "p50": 751.9, "p90": 751.9, "p95": 751.9, '
        '"p99": 751.9, "max": 751.9}, "by_status": {"503": 1}, "by_error": {}, "exit_code": 1, '
        '"duplicates": 3, "flaky": 1, "warned": 0, "blocked": 1}}\n'
    )


@every_check
def test_every_record_has_every_key_in_order(one: Check) -> None:
    assert list(strictly(jsonl.line(one))) == list(KEYS)


@every_check
def test_every_value_has_the_documented_type(one: Check) -> None:
    parsed = strictly(jsonl.line(one))
    assert {key: value for key, value in parsed.items() if type(value) not in KEYS[key]} == {}


@every_check
def test_every_record_has_every_timing(one: Check) -> None:
    timings = dump(one)["timings_ms"]
    assert list(timings) == TIMINGS
    assert {type(value) for value in timings.values()} <= {float, type(None)}


@every_check
def test_a_record_is_one_line_of_ascii(one: Check) -> None:
    line = jsonl.line(one)
    assert (line.isascii(), line.endswith("\n"), line.count("\n")) == (True, True, 1)


@pytest.mark.parametrize("outcome", Outcome)
def test_the_outcome_is_recorded_by_name(outcome: Outcome) -> None:
    assert dump(BY_OUTCOME[outcome])["outcome"] == outcome.value


@pytest.mark.parametrize(
    ("outcome", "ok"),
    [
        (Outcome.RESPONDED, True),
        (Outcome.ERROR, False),
        (Outcome.INVALID, False),
        (Outcome.UNREACHED, None),
    ],
)
def test_ok_is_the_verdict_or_null_if_there_is_none(outcome: Outcome, ok: bool | None) -> None:
    assert dump(BY_OUTCOME[outcome])["ok"] is ok


@pytest.mark.parametrize("kind", [kind for kind in ErrorKind if kind is not ErrorKind.INVALID_URL])
def test_every_error_has_kind_phase_and_detail(kind: ErrorKind) -> None:
    phase = PHASES[kind]
    assert dump(BY_KIND[kind])["error"] == {
        "kind": kind.value,
        "phase": phase.value if phase else None,
        "detail": f"it ended in {kind.value}",
    }


@pytest.mark.parametrize("phase", [*Phase, None])
def test_the_phase_is_recorded_by_name(phase: Phase | None) -> None:
    error = Failure(kind=ErrorKind.TIMEOUT, phase=phase, detail="too slow")
    shown = dump(check(failed(ErrorKind.TIMEOUT, error=error)))["error"]["phase"]
    assert shown == (phase.value if phase else None)


def test_the_record_of_an_unreached_url_has_no_figures() -> None:
    assert dump(BY_OUTCOME[Outcome.UNREACHED]) == dict.fromkeys(KEYS) | {
        "schema": 1,
        "index": 0,
        "source": "urls.txt",
        "line": 1,
        "input": "https://host.example/0",
        "url": "https://host.example/0",
        "method": "GET",
        "outcome": "unreached",
        "timings_ms": dict.fromkeys(TIMINGS),
        "attempts": 0,
        "redirects": [],
        "truncated": False,
        "reasons": ["not checked: the run ended first"],
        "retried": [],
        "flaky": False,
        "hedged": False,
        "warned": False,
    }


def test_zero_is_not_null() -> None:
    shown = dump(check(responded(size=0, latency=0.0, content_length=0)))
    assert (shown["size"], shown["latency_ms"], shown["content_length"]) == (0, 0.0, 0)


# Any check

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="@"))
seconds = st.none() | st.floats(0, 1e6)
counts = st.none() | st.integers(0, 10**18)


attempts = st.builds(
    Try,
    method=st.sampled_from(["GET", "HEAD"]),
    kind=st.none() | st.sampled_from(ErrorKind),
    status=st.none() | st.integers(100, 999),
)


@st.composite
def checks(draw: st.DrawFn, texts: st.SearchStrategy[str] = texts) -> Check:
    kind = draw(st.sampled_from(ErrorKind))
    errors = st.builds(
        Failure, kind=st.just(kind), phase=st.none() | st.sampled_from(Phase), detail=texts
    )
    of = target(
        draw(st.integers(0, 10**9)),
        source=draw(st.sampled_from([None, "-", "argument", "urls.txt"])),
        line=draw(st.none() | st.integers(1, 10**9)),
        input=draw(texts),
        url=draw(texts),
        host="host.example",
    )
    result = Result(
        target=of,
        outcome=draw(st.sampled_from(Outcome)),
        attempt=Attempt(
            status=draw(st.none() | st.integers(100, 999)),
            size=draw(counts),
            latency=draw(seconds),
            ttfb=draw(seconds),
            timings=draw(
                st.builds(Timings, dns=seconds, connect=seconds, tls=seconds, wait=seconds)
            ),
            redirects=hops(*draw(st.lists(texts, max_size=3))),
            final_url=draw(st.none() | texts),
            content_type=draw(st.none() | texts),
            content_length=draw(counts),
            truncated=draw(st.booleans()),
            error=draw(st.none() | errors),
            blocked_by=draw(st.none() | st.just("aws-waf")),
        ),
        queue=draw(seconds),
        timestamp=draw(st.none() | st.integers(0, 4 * 10**9).map(float)),
        earlier=tried(*draw(st.lists(attempts, max_size=3))),
        flaky=draw(st.booleans()),
        hedged=draw(st.booleans()),
    )
    several = st.lists(texts, max_size=3).map(tuple)
    return Check(result=result, verdict=Verdict(reasons=draw(several), warnings=draw(several)))


def milliseconds(value: float | None) -> float | None:
    return None if value is None else round(value * 1000, 3)


@steady
@given(checks(st.text()))
def test_the_template_of_a_record_gives_the_bytes_of_its_dictionary(one: Check) -> None:
    assert dumps(one) == encode(dump(one))


@pytest.mark.parametrize("one", [WHOLE, *EVERY.values()], ids=["whole", *EVERY])
def test_the_template_gives_the_bytes_of_the_dictionary_for_every_kind_of_check(one: Check) -> None:
    assert dumps(one) == encode(dump(one))


@steady
@given(st.floats(0, 4e9))
def test_a_timestamp_of_the_template_is_rounded_as_datetime_rounds(seconds: float) -> None:
    one = check(replace(responded(), timestamp=seconds))
    assert dumps(one) == encode(dump(one))


@steady
@example(100_000_000_000.00001)  # more digits than a float has
@given(
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
    | st.floats(0, 100)
    | st.integers(-(10**15), 10**15).map(lambda micros: micros / 1e6)
)
def test_a_time_of_the_template_has_the_digits_of_the_dictionary(seconds: float) -> None:
    one = check(replace(responded(), queue=seconds))
    assert dumps(one) == encode(dump(one))


@steady
@given(checks())
def test_a_parsed_line_has_the_values_of_the_check(one: Check) -> None:
    result, timings = one.result, one.result.attempt.timings
    parsed = strictly(jsonl.line(one))
    time = parsed.pop("timestamp")
    assert parsed == {
        "schema": 1,
        "index": result.target.index,
        "source": result.target.source,
        "line": result.target.line,
        "input": result.target.input,
        "url": result.target.url,
        "final_url": result.attempt.final_url,
        "method": "GET",
        "ok": None if result.outcome == "unreached" else not one.verdict.reasons,
        "outcome": str(result.outcome),
        "status": result.attempt.status,
        "size": result.attempt.size,
        "latency_ms": milliseconds(result.attempt.latency),
        "ttfb_ms": milliseconds(result.attempt.ttfb),
        "timings_ms": {
            "queue": milliseconds(result.queue),
            "dns": milliseconds(timings.dns),
            "connect": milliseconds(timings.connect),
            "tls": milliseconds(timings.tls),
            "wait": milliseconds(timings.wait),
            "download": None,
        },
        "attempts": result.attempts,
        "redirects": [{"url": hop.url, "status": 301} for hop in result.attempt.redirects],
        "http_version": None,
        "remote_ip": None,
        "content_type": result.attempt.content_type,
        "content_length": result.attempt.content_length,
        "truncated": result.attempt.truncated,
        "error": result.attempt.error
        and {
            "kind": str(result.attempt.error.kind),
            "phase": result.attempt.error.phase and str(result.attempt.error.phase),
            "detail": result.attempt.error.detail,
        },
        "reasons": list(one.verdict.reasons),
        "tls": None,
        "retried": [
            {
                "method": before.method,
                "kind": before.kind and str(before.kind),
                "status": before.status,
            }
            for before in tries(result)
        ],
        "flaky": result.flaky,
        "hedged": result.hedged,
        "blocked_by": result.attempt.blocked_by,
        "warned": bool(one.verdict.warnings),
    }
    assert (time is None) == (result.timestamp is None)


nasty = st.text(
    st.characters()
    | st.sampled_from(
        "\x00\x07\x1b\r\n\x7f\x85\x9b\u200f\u202e\u2066\u2028\ufeff\ud800\udc80\udfff@:/#"
    )
)


@steady
@given(checks(nasty))
def test_nothing_unsafe_survives_in_a_line(one: Check) -> None:
    line = jsonl.line(one)
    assert line.endswith("\n")
    assert UNSAFE.findall(line[:-1]) == []


@settings(steady, max_examples=30)
@given(st.lists(checks(nasty), max_size=3))
def test_nothing_unsafe_survives_in_a_document(several: list[Check]) -> None:
    assert set(UNSAFE.findall(document(*several))) == {"\n"}


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in [key, *strings(item)]]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


@steady
@given(checks(nasty))
def test_no_lone_surrogate_is_in_the_values(one: Check) -> None:
    parsed = strictly(jsonl.line(one))
    assert [text for text in strings(parsed) if SURROGATE.search(text)] == []


@settings(steady, max_examples=30)
@given(st.lists(checks(), max_size=3))
def test_a_document_and_lines_hold_the_same_records(several: list[Check]) -> None:
    parsed = strictly(document(*several))
    assert list(parsed) == ["schema", "results", "summary"]
    assert parsed["schema"] == 1
    assert parsed["results"] == [strictly(jsonl.line(one)) for one in several]
    assert parsed["summary"]["total"] == len(several)


@pytest.mark.parametrize("mark", ["##vso[task.complete]", "##[error]", "a ##vso[x]", "###[group]"])
def test_ci_commands_are_escaped_and_parse_to_the_same_text(mark: str) -> None:
    line = jsonl.line(check(responded(content_type=mark)))
    assert re.findall(r"##(?:vso)?\[", line) == []
    assert strictly(line)["content_type"] == mark


# Secrets

URL = "https://user:hunter2@host.example/"
PLACES: dict[str, Callable[[], Check]] = {
    "input": lambda: check(responded(target(input=URL))),
    "url": lambda: check(responded(target(url=URL))),
    "final_url": lambda: check(responded(final_url=URL)),
    "redirects": lambda: check(responded(redirects=hops("https://host.example/", URL))),
    "content_type": lambda: check(responded(content_type=f"text/html; base={URL}")),
    "error": lambda: check(
        failed(
            ErrorKind.BAD_REDIRECT,
            error=Failure(kind=ErrorKind.BAD_REDIRECT, phase=None, detail=f"leads to '{URL}'"),
        )
    ),
    "reasons": lambda: Check(
        result=responded(), verdict=Verdict(reasons=(f"{URL} is not '{URL}'",))
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_password_is_masked_everywhere(place: str) -> None:
    text = jsonl.line(PLACES[place]())
    assert "hunter2" not in text
    assert "user:***@host.example" in text


TOKEN = "https://host.example/?token=hunter2&mine=hunter2#key=hunter2"
CALLED = frozenset({"mine"})
TOKEN_PLACES: dict[str, Callable[[], Check]] = {
    "input": lambda: check(responded(target(input=TOKEN, masked=CALLED))),
    "url": lambda: check(responded(target(url=TOKEN, input="", masked=CALLED))),
    "final_url": lambda: check(responded(target(masked=CALLED), final_url=TOKEN)),
    "redirects": lambda: check(responded(target(masked=CALLED), redirects=hops(TOKEN))),
    "error": lambda: check(
        failed(
            ErrorKind.BAD_REDIRECT,
            target(masked=CALLED),
            error=Failure(kind=ErrorKind.BAD_REDIRECT, phase=None, detail=f"leads to '{TOKEN}'"),
        )
    ),
    "reasons": lambda: Check(
        result=responded(target(masked=CALLED)), verdict=Verdict(reasons=(f"{TOKEN}: is bad",))
    ),
}


@pytest.mark.parametrize("place", TOKEN_PLACES)
def test_a_secret_in_a_query_is_masked_everywhere(place: str) -> None:
    text = jsonl.line(TOKEN_PLACES[place]())
    assert "hunter2" not in text
    assert "https://host.example/?token=***&mine=***#key=***" in text


@pytest.mark.parametrize("place", PLACES)
def test_a_document_and_lines_are_masked_alike(place: str) -> None:
    one = PLACES[place]()
    assert strictly(document(one))["results"] == [strictly(jsonl.line(one))]


# The summary object


def test_the_summary_counts_each_outcome_and_error_kind() -> None:
    shown = dump_summary(summary(*BY_KIND.values(), *BY_OUTCOME.values()))
    assert shown["by_error"] == {
        kind.value: 1 + (kind in (ErrorKind.TIMEOUT, ErrorKind.INVALID_URL))
        for kind in sorted(ErrorKind)
    }
    assert {key: shown[key] for key in ("total", "passed", "failed", "invalid", "unreached")} == {
        "total": len(BY_KIND) + 4,
        "passed": 1,
        "failed": len(BY_KIND),
        "invalid": 2,
        "unreached": 1,
    }


def test_an_empty_summary_has_null_for_everything_not_measured() -> None:
    assert dump_summary(summary(stats=CrawlStats(elapsed=0.0))) == {
        "total": 0,
        "passed": 0,
        "failed": 0,
        "invalid": 0,
        "unreached": 0,
        "complete": True,
        "bytes": 0,
        "elapsed_s": 0.0,
        "requests_per_s": None,
        "latency_ms": dict.fromkeys(["min", "mean", "p50", "p90", "p95", "p99", "max"]),
        "by_status": {},
        "by_error": {},
        "exit_code": 2,
        "duplicates": 0,
        "flaky": 0,
        "warned": 0,
        "blocked": 0,
    }


def test_the_summary_of_an_interrupted_run_is_incomplete() -> None:
    stats = CrawlStats(elapsed=1.0, interrupted=2, list_read=False)
    shown = dump_summary(summary(BY_OUTCOME[Outcome.RESPONDED], stats=stats))
    assert (shown["complete"], shown["exit_code"]) == (False, 130)


def test_the_exit_code_in_the_summary_is_a_plain_number() -> None:
    assert type(dump_summary(summary(BY_OUTCOME[Outcome.RESPONDED]))["exit_code"]) is int
