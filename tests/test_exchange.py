"""A response in pieces of any size: the same head, body and end, whatever the cuts."""

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.engine.transports.http1.exchange import Exchange, ExchangeState
from crawler.engine.transports.wire import InvalidResponseError, WireError
from crawler.models import ErrorKind

OK = b"HTTP/1.1 200 OK\r\n"
SMALL = OK + b"Content-Length: 4\r\n\r\ngood"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
CUT_WITHOUT_TLS = "close_notify"


@dataclass(slots=True, kw_only=True)
class Listener:
    """Records the events of an exchange, and abandons it at the event `until`."""

    until: str = ""
    events: list[str] = field(default_factory=list)
    body: bytes = b""
    error: Exception | None = None
    exchange: Exchange = field(init=False)

    def head_received(self) -> None:
        self._record("head")

    def body_received(self, data: bytes) -> None:
        assert data
        self.body += data
        self._record("body")

    def exchange_ended(self, error: Exception | None) -> None:
        self.error = error
        self._record("end")

    def _record(self, event: str) -> None:
        if self.events[-1:] != [event]:
            self.events.append(event)
        if event == self.until:
            self.exchange.abandon()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a response; `error` is its type and text."""

    events: tuple[str, ...]
    status: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    error: str | None = None
    reusable: bool = False


def received(
    pieces: Sequence[bytes], *, is_head: bool = False, closed: bool = False, orderly: bool = True
) -> Outcome:
    """Feed the pieces of a response, a second apart, and then its end if `closed`."""
    listener = Listener()
    exchange = listener.exchange = Exchange(listener, is_head=is_head)
    for number, piece in enumerate(pieces):
        if exchange.state is ExchangeState.DONE:
            break
        exchange.feed(memoryview(piece), float(number))
    if closed:
        exchange.cut_off(None, float(len(pieces)), orderly=orderly)
    head, error = exchange.head, listener.error
    if head is not None:
        assert exchange.size == len(listener.body)
    return Outcome(
        events=tuple(listener.events),
        status=None if head is None else head.status,
        headers=() if head is None else tuple(head.headers),
        body=listener.body,
        error=None if error is None else f"{type(error).__name__}: {error}",
        reusable=exchange.reusable,
    )


Divided = Callable[[bytes], list[list[bytes]]]
"""The ways to divide a response into pieces."""


def whole(data: bytes) -> list[list[bytes]]:
    return [[data]]


def singly(data: bytes) -> list[list[bytes]]:
    return [[data[n : n + 1] for n in range(len(data))]]


def in_two(data: bytes) -> list[list[bytes]]:
    return [[data[:at], data[at:]] for at in range(1, len(data))]


LENGTH = (b"Content-Length", b"4")
GOOD = ("head", "body", "end")
EMPTY = ("head", "end")
WHOLE: dict[str, tuple[bytes, dict[str, Any], Outcome]] = {
    "content-length": (
        SMALL,
        {},
        Outcome(events=GOOD, status=200, headers=(LENGTH,), body=b"good", reusable=True),
    ),
    "bare line feeds": (
        SMALL.replace(b"\r\n", b"\n"),
        {},
        Outcome(events=GOOD, status=200, headers=(LENGTH,), body=b"good", reusable=True),
    ),
    "no body": (
        OK + b"Content-Length: 0\r\n\r\n",
        {},
        Outcome(events=EMPTY, status=200, headers=((LENGTH[0], b"0"),), reusable=True),
    ),
    "204": (
        b"HTTP/1.1 204 No Content\r\n\r\n",
        {},
        Outcome(events=EMPTY, status=204, reusable=True),
    ),
    "304 with a length": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
        {},
        Outcome(events=EMPTY, status=304, headers=(LENGTH,), reusable=True),
    ),
    "response to HEAD": (
        OK + b"Content-Length: 4\r\n\r\n",
        {"is_head": True},
        Outcome(events=EMPTY, status=200, headers=(LENGTH,), reusable=True),
    ),
    "chunked": (
        CHUNKED + b"2\r\ngo\r\n2;x=y\r\nod\r\n0\r\nX-Sum: 1\r\n\r\n",
        {},
        Outcome(
            events=GOOD,
            status=200,
            headers=((b"Transfer-Encoding", b"chunked"),),
            body=b"good",
            reusable=True,
        ),
    ),
    "chunked with bare line feeds": (
        CHUNKED + b"4\ngood\n0\n\n",
        {},
        Outcome(
            events=GOOD, status=200, headers=((b"Transfer-Encoding", b"chunked"),), body=b"good"
        ),
    ),
    "chunked last, in capitals, with blanks": (
        OK + b"Transfer-Encoding: gzip, Chunked \r\n\r\n4\r\ngood\r\n0\r\n\r\n",
        {},
        Outcome(
            events=GOOD,
            status=200,
            headers=((b"Transfer-Encoding", b"gzip, Chunked"),),
            body=b"good",
            reusable=True,
        ),
    ),
    "interim heads": (
        INTERIM + b"HTTP/1.1 100 Continue\r\n\r\n" + SMALL,
        {},
        Outcome(events=GOOD, status=200, headers=(LENGTH,), body=b"good", reusable=True),
    ),
    "blank lines before the heads": (
        b"\r\n\r\n" + INTERIM + b"\r\n" + CHUNKED + b"4\r\ngood\r\n0\r\n\r\n",
        {},
        Outcome(
            events=GOOD,
            status=200,
            headers=((b"Transfer-Encoding", b"chunked"),),
            body=b"good",
            reusable=True,
        ),
    ),
    "equal lengths": (
        OK + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\ngood",
        {},
        Outcome(events=GOOD, status=200, headers=(LENGTH,), body=b"good", reusable=True),
    ),
    "equal lengths in a list, after an interim head": (
        INTERIM + OK + b"Content-Length: 4, 4\r\n\r\ngood",
        {},
        Outcome(events=GOOD, status=200, headers=(LENGTH,), body=b"good", reusable=True),
    ),
    "different lengths": (
        OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\ngood",
        {},
        Outcome(
            events=("end",),
            error="InvalidResponseError: invalid or conflicting Content-Length",
        ),
    ),
    "equal lengths beyond all bounds": (
        OK + b"Content-Length: %d\r\n" % 10**30 * 2 + b"\r\ngood",
        {},
        Outcome(
            events=("end",),
            error="InvalidResponseError: invalid or conflicting Content-Length",
        ),
    ),
    "blanks around values": (
        OK + b"X:  a b\t \r\nContent-Length: 4\r\n\r\ngood",
        {},
        Outcome(
            events=GOOD, status=200, headers=((b"X", b"a b"), LENGTH), body=b"good", reusable=True
        ),
    ),
    "connection: close": (
        OK + b"Connection: close\r\nContent-Length: 4\r\n\r\ngood",
        {},
        Outcome(events=GOOD, status=200, headers=((b"Connection", b"close"), LENGTH), body=b"good"),
    ),
    "until close": (
        OK + b"\r\ngood",
        {"closed": True},
        Outcome(events=GOOD, status=200, body=b"good"),
    ),
    "until close, without the end of TLS": (
        OK + b"\r\ngood",
        {"closed": True, "orderly": False},
        Outcome(
            events=GOOD,
            status=200,
            body=b"good",
            error="WireError: the connection was closed without TLS's close_notify",
        ),
    ),
    "an unknown coding lasts until close": (
        OK + b"Transfer-Encoding: unchunked\r\n\r\ngood",
        {"closed": True},
        Outcome(
            events=GOOD, status=200, headers=((b"Transfer-Encoding", b"unchunked"),), body=b"good"
        ),
    ),
    "closed inside the body": (
        SMALL[:-1],
        {"closed": True},
        Outcome(
            events=GOOD,
            status=200,
            headers=(LENGTH,),
            body=b"goo",
            error="WireError: the connection was closed inside the body",
        ),
    ),
    "closed inside the head": (
        SMALL[:20],
        {"closed": True},
        Outcome(
            events=("end",),
            error="WireError: the server closed the connection inside the response head",
        ),
    ),
    "closed after an interim head": (
        INTERIM,
        {"closed": True},
        Outcome(
            events=("end",),
            error="WireError: the server closed the connection inside the response head",
        ),
    ),
    "101": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        {},
        Outcome(
            events=("end",),
            error="InvalidResponseError: unexpected 101 Switching Protocols",
        ),
    ),
    "NUL in a value": (
        OK + b"X: a\0b\r\nContent-Length: 4\r\n\r\ngood",
        {},
        Outcome(events=("end",), error="InvalidResponseError: NUL in a field value"),
    ),
    "a chunk that is longer than its size": (
        CHUNKED + b"1\r\ngood\r\n",
        {},
        Outcome(
            events=GOOD,
            status=200,
            headers=((b"Transfer-Encoding", b"chunked"),),
            body=b"g",
            error="InvalidResponseError: a chunk is longer than its size",
        ),
    ),
}


@pytest.mark.parametrize("divided", [whole, singly, in_two], ids=["whole", "bytes", "in two"])
@pytest.mark.parametrize(("data", "options", "expected"), WHOLE.values(), ids=list(WHOLE))
def test_a_response_is_reported_the_same_however_it_is_divided(
    data: bytes, options: dict[str, Any], expected: Outcome, divided: Divided
) -> None:
    for pieces in divided(data):
        assert (pieces, received(pieces, **options)) == (pieces, expected)


@given(name=st.sampled_from(sorted(WHOLE)), cuts=st.lists(st.integers(1, 100), max_size=12))
def test_a_response_in_any_pieces_is_reported_the_same(name: str, cuts: list[int]) -> None:
    data, options, expected = WHOLE[name]
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:stop] for start, stop in pairwise(bounds)]
    assert received(pieces, **options) == expected


@given(
    body=st.binary(max_size=200),
    sizes=st.lists(st.integers(1, 50), min_size=1),
    cuts=st.lists(st.integers(1, 400), max_size=12),
)
def test_any_body_arrives_whole_in_any_chunks_and_pieces(
    body: bytes, sizes: list[int], cuts: list[int]
) -> None:
    data, rest, number = CHUNKED, body, 0
    while rest:
        chunk, rest = rest[: sizes[number % len(sizes)]], rest[sizes[number % len(sizes)] :]
        data += b"%x\r\n%b\r\n" % (len(chunk), chunk)
        number += 1
    data += b"0\r\n\r\n"
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:stop] for start, stop in pairwise(bounds)]
    outcome = received(pieces)
    assert (outcome.body, outcome.error, outcome.reusable) == (body, None, True)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(SMALL + b"x", id="a byte"),
        pytest.param(SMALL + SMALL, id="a response"),
        pytest.param(CHUNKED + b"0\r\n\r\n" + SMALL, id="a response after chunks"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\nx", id="a body of a 204"),
    ],
)
def test_bytes_beyond_the_end_spoil_the_connection_but_not_the_response(data: bytes) -> None:
    outcome = received([data])
    assert (outcome.error, outcome.reusable) == (None, False)


@pytest.mark.parametrize(
    ("start", "piece", "message"),
    [
        (OK, b"X: " + b"y" * 1000 + b"\r\n", "the response head is longer than 131,072 bytes"),
        (b"", INTERIM, "the response head is longer than 131,072 bytes"),
        (
            CHUNKED + b"1;",
            b"x" * 1000,
            "a line of the chunk framing is longer than 16,384 bytes",
        ),
        (
            CHUNKED + b"0\r\n",
            b"X-Trailer: " + b"y" * 1000 + b"\r\n",
            "chunk framing or trailers exceed the limit",
        ),
    ],
    ids=["head", "interim heads", "chunk extension", "trailers"],
)
def test_heads_and_framing_without_end_are_bounded(
    start: bytes, piece: bytes, message: str
) -> None:
    listener = Listener()
    exchange = Exchange(listener, is_head=False)
    exchange.feed(memoryview(start or piece), 0.0)
    fed = 0
    while exchange.state is not ExchangeState.DONE:
        exchange.feed(memoryview(piece), 1.0)
        fed += len(piece)
        assert fed < 2_000_000
    assert isinstance(listener.error, InvalidResponseError)
    assert str(listener.error) == message
    assert not exchange.reusable


def test_a_head_of_the_longest_length_is_read() -> None:
    filler = b"X: " + b"y" * 1000 + b"\r\n"
    head = OK + filler * ((131_072 - len(SMALL)) // len(filler))
    outcome = received([head + b"Content-Length: 4\r\n\r\ngood"])
    assert (outcome.status, outcome.body) == (200, b"good")


def test_the_first_byte_is_that_of_the_final_head() -> None:
    listener = Listener()
    exchange = Exchange(listener, is_head=False)
    assert exchange.untouched
    exchange.feed(memoryview(INTERIM), 1.0)
    assert (exchange.first_byte, exchange.untouched) == (1.0, False)
    exchange.feed(memoryview(SMALL[:10]), 2.0)
    exchange.feed(memoryview(SMALL[10:-1]), 3.0)
    exchange.feed(memoryview(SMALL[-1:]), 4.0)
    assert (exchange.first_byte, exchange.last_byte) == (2.0, 4.0)


def test_states_follow_the_response() -> None:
    exchange = Exchange(Listener(), is_head=False)
    states = []
    for piece in (INTERIM, SMALL[:10], SMALL[10:-1], SMALL[-1:]):
        exchange.feed(memoryview(piece), 1.0)
        states.append(exchange.state)
    head, body, done = ExchangeState
    assert states == [head, head, body, done]


def test_an_error_of_the_connection_is_the_error_of_the_exchange_once() -> None:
    listener = Listener()
    exchange = Exchange(listener, is_head=False)
    exchange.feed(memoryview(SMALL[:-1]), 1.0)
    exchange.cut_off(ConnectionResetError(), 2.0)
    exchange.cut_off(None, 3.0)
    assert isinstance(listener.error, ConnectionResetError)
    assert listener.events == ["head", "body", "end"]
    assert (exchange.last_byte, exchange.reusable) == (2.0, False)


def test_a_connection_that_is_closed_without_a_byte_is_disconnected() -> None:
    listener = Listener()
    exchange = Exchange(listener, is_head=False)
    exchange.cut_off(None, 1.0)
    assert isinstance(listener.error, WireError)
    assert listener.error.kind is ErrorKind.DISCONNECTED
    assert exchange.untouched


@pytest.mark.parametrize("until", ["head", "body"])
@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 4\r\n\r\ngood",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\ngo\r\n2\r\nod\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\ngo\r\nx",
        b"\r\ngood",
    ],
    ids=["content-length", "chunked", "malformed", "until close"],
)
def test_an_abandoned_exchange_reports_nothing_more(rest: bytes, until: str) -> None:
    listener = Listener(until=until)
    exchange = listener.exchange = Exchange(listener, is_head=False)
    exchange.feed(memoryview(OK + rest), 1.0)
    exchange.cut_off(None, 2.0)
    exchange.abandon()
    assert listener.events == ["head", "body"][: 1 + (until == "body")]
    assert exchange.state is ExchangeState.DONE
    assert not exchange.reusable


@pytest.mark.parametrize("callback", ["head_received", "body_received", "exchange_ended"])
@pytest.mark.parametrize("data", [SMALL, CHUNKED + b"4\r\ngood\r\n0\r\n\r\n"])
def test_an_exception_of_the_listener_is_raised_and_not_blamed_on_the_server(
    data: bytes, callback: str
) -> None:
    class Faulty(Listener):
        pass

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    setattr(Faulty, callback, fail)
    with pytest.raises(ZeroDivisionError):
        Exchange(Faulty(), is_head=False).feed(memoryview(data), 1.0)


@pytest.mark.parametrize("way", ["ended", "failed", "cut off", "abandoned"])
def test_nothing_of_an_exchange_is_left_for_the_garbage_collector(way: str) -> None:
    class Owner(Listener):
        __slots__ = ("__weakref__",)

    listener = Owner()
    exchange = listener.exchange = Exchange(listener, is_head=False)
    gc.disable()
    try:
        match way:
            case "ended":
                exchange.feed(memoryview(SMALL), 1.0)
            case "failed":
                exchange.feed(memoryview(b"nonsense\r\n"), 1.0)
            case "cut off":
                exchange.cut_off(None, 1.0)
            case _:
                exchange.abandon()
        gone = weakref.ref(listener)
        del listener, exchange
        assert gone() is None
    finally:
        gc.enable()
