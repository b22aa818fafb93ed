"""A URL on the wire: the bytes that each engine sends are those of the URL that is shown."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from loopback import Server, raw, reply
from shell import crawl, records

from crawler.engine.transports.settings import Engine

NATIVE_IS_EXTRA = pytest.mark.skipif(
    find_spec("pyreqwest") is None, reason="pyreqwest is missing: the extra fast has it"
)
ENGINES = [Engine.DIRECT, Engine.HTTPX, pytest.param(Engine.NATIVE, marks=NATIVE_IS_EXTRA)]

MARKS = "/a!$&'()*+,;=:@[]|~-._^`{}\"<>%zz50%%41%2f%5c/b?a!$&'()*+,;=:@[]|~/?^`{}\"<>\\%zz50%%41"
SENT = (
    "/a!$&'()*+,;=:@[]|~-._%5E%60%7B%7D%22%3C%3E%zz50%%41%2f%5c/b"
    "?a!$&%27()*+,;=:@[]|~/?^`{}%22%3C%3E\\%zz50%%41"
)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("written", "sent"),
    [
        pytest.param(MARKS, SENT, id="every mark"),
        pytest.param("/50%", "/50%", id="percent sign at the end"),
        pytest.param("/a/%2e%2E/b\\c", "/b/c", id="dot segments and backslash"),
        pytest.param("/?", "/?", id="empty query"),
        pytest.param("//a//", "//a//", id="double slashes"),
        pytest.param("/é?é", "/%C3%A9?%C3%A9", id="UTF-8"),
    ],
)
def test_every_engine_sends_and_records_the_same_bytes(
    tls_server: Server, ca_file: Path, engine: Engine, written: str, sent: str
) -> None:
    tls_server.on(sent.partition("?")[0], reply())
    trust = ["--cacert", str(ca_file), "--engine", engine]
    ended = crawl(tls_server.url(written), "--jsonl", *trust)

    assert [request.target for request in tls_server.requests] == [sent]
    (record,) = records(ended.stdout)
    assert record["status"] == 200
    assert record["url"] == record["final_url"] == tls_server.url(sent)


@pytest.mark.parametrize("engine", [Engine.DIRECT, Engine.HTTPX])
@pytest.mark.parametrize(
    ("location", "sent"),
    [
        pytest.param(b"/caf\xe9", "/caf%E9", id="not UTF-8"),
        pytest.param("/café".encode(), "/caf%C3%A9", id="UTF-8"),
        pytest.param("/a\xa0b\x85c\u2028d".encode(), "/a%C2%A0b%C2%85c%E2%80%A8d", id="marks"),
        pytest.param(b"/%zz\\50%", "/%zz/50%", id="percent signs and a backslash"),
    ],
)
def test_the_bytes_of_a_location_are_requested_unchanged(
    server: Server, engine: Engine, location: bytes, sent: str
) -> None:
    server.on(sent, reply())
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
    ended = crawl(server.on("/start", raw(head)), "--jsonl", "--engine", engine)

    assert [request.target for request in server.requests] == ["/start", sent]
    assert records(ended.stdout)[0]["final_url"] == server.url(sent)
