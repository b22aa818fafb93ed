"""Responses of bot protections: they fail, and are not retried."""

import zlib

from loopback import (
    Handler,
    Server,
    reply,
)
from shell import (
    crawl,
)
from sites import document, in_order, lines

CHALLENGE = b"<script src='/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1'></script>"


PACKED = zlib.compress(CHALLENGE, wbits=31)


PROTECTIONS: dict[str, tuple[Handler, str]] = {
    "cf-mitigated": (reply(403, b"", "cf-mitigated: challenge"), "cloudflare"),
    "challenge page": (reply(503, CHALLENGE, "Server: cloudflare"), "cloudflare"),
    "packed challenge page": (
        reply(403, PACKED, "Server: cloudflare", "Content-Encoding: gzip"),
        "cloudflare",
    ),
    "999": (reply(999), "linkedin"),
    "aws-waf": (reply(403, b"", "x-amzn-waf-action: captcha"), "aws-waf"),
    "aws-waf 429": (reply(429, b"", "x-amzn-waf-action: challenge"), "aws-waf"),
}


def protected(server: Server) -> list[str]:
    return [server.on(f"/{n}", handler) for n, (handler, _) in enumerate(PROTECTIONS.values())]


def test_a_response_of_a_bot_protection_is_a_failure_with_its_own_class(server: Server) -> None:
    plain = server.on("/forbidden", reply(403, b"keep out", "Server: cloudflare"))
    options = ("--confirm", "--confirm-after", "0", "--json")
    ended = crawl(*options, text=lines(*protected(server), plain))
    report = document(ended)
    *blocked, forbidden = in_order(report["results"])
    assert ended.returncode == 1
    assert [record["blocked_by"] for record in blocked] == [by for _, by in PROTECTIONS.values()]
    assert all("blocked by bot protection" in record["reasons"][0] for record in blocked)
    assert [record["ok"] for record in blocked] == [False] * len(PROTECTIONS)
    assert (forbidden["ok"], forbidden["blocked_by"]) == (False, None)
    assert "bot protection" not in forbidden["reasons"][0]
    assert report["summary"]["blocked"] == len(PROTECTIONS)


def test_a_response_of_a_bot_protection_is_never_retried(server: Server) -> None:
    again = ("--retries", "3", "--backoff", "0", "--confirm", "--confirm-after", "0")
    crawl(*again, "-q", text=lines(*protected(server)))
    assert set(server.counts.values()) == {1}


def test_bot_protections_may_be_warnings_only(server: Server) -> None:
    ended = crawl("--warn-on", "blocked", "--json", text=lines(*protected(server)))
    report = document(ended)
    count = len(PROTECTIONS)
    assert ended.returncode == 0
    assert {(record["ok"], record["warned"]) for record in report["results"]} == {(True, True)}
    shown = [report["summary"][key] for key in ("passed", "failed", "warned", "blocked")]
    assert shown == [count, 0, count, count]


def test_the_table_names_the_bot_protection(server: Server) -> None:
    ended = crawl(server.on("/999", reply(999)))
    assert "blocked by bot protection (linkedin" in ended.stdout
    assert "Failures: 1 blocked by bot protection" in ended.stdout
