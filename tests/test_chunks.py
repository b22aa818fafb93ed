"""Chunked bodies whose lines end with a bare LF: read as browsers and curl read them."""

import asyncio

import httpx
import pytest
from loopback import Server, raw, reply

from crawler.engine.transports.direct import DirectTransport
from crawler.engine.transports.http1.chunks import ChunkReader, ChunkState
from crawler.engine.transports.settings import ConnectionSettings
from crawler.engine.transports.wire import InvalidResponseError, WireError
from crawler.models import ErrorKind

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WITHIN = 10.0  # seconds
LARGE = b"fde8\n" + b"\n" * 65_000 + b"\n"  # one chunk of 65,000 bytes

GOOD = {
    "all lines": (b"5\nhello\n3\nyou\n0\n\n", b"helloyou"),
    "data of line feeds": (b"3\n\n\n\n\n2\n\r\n\n0\n\n", b"\n\n\n\r\n"),
    "one line": (b"5\nhello\r\n0\r\n\r\n", b"hello"),
    "a later line": (b"5\r\nhello\r\n3\nyou\n0\r\n\r\n", b"helloyou"),
    "the last chunk": (b"5\r\nhello\r\n0\n\n", b"hello"),
    "extensions and trailers": (b'5;a="b"\nhello\n0;c\nX-Sum: 1\n\n', b"hello"),
    "padding": (b"5 \nhello\n0  \n\n", b"hello"),
    "upper case": (b"A\nhello hell\n0\n\n", b"hello hell"),
    "the last chunk of many": (
        b"8000\r\n" + b"0\n\n\n" * 8192 + b"\r\n" + b"1\r\n\n\r\n" * 30_000 + b"0\n\n",
        b"0\n\n\n" * 8192 + b"\n" * 30_000,
    ),
    "a chunk that looks like the last": (b"10\n\n23456789abcdef0\n0\n\n", b"\n23456789abcdef0"),
    "large": (LARGE * 8 + b"0\n\n", b"\n" * 65_000 * 8),
}
BAD = {
    "no size": b"\nhello\n0\n\n",
    "letters": b"xyz\nhello\n0\n\n",
    "letters later": b"5\nhello\nxyz\nhello\n0\n\n",
    "a chunk longer than its size": b"2\nhello\n0\n\n",
    "a sign": b"+5\nhello\n0\n\n",
    "too many digits": b"0000000000000005\nhello\n0\n\n",
    "nul in an extension": b"5;a=\0\nhello\n0\n\n",
    "a bare CR": b"5\rhello\r\n0\r\n\r\n",
    "an endless line": b"5\nhello\n5;" + b"x" * 2_000_000 + b"\nhello\n0\n\n",
}


def decoded(*pieces: bytes) -> tuple[bytes, ChunkReader]:
    reader = ChunkReader()
    return b"".join(data for piece in pieces for data in reader.feed(piece)), reader


@pytest.mark.parametrize(("body", "data"), GOOD.values(), ids=GOOD)
def test_the_data_is_the_same_however_the_body_is_cut(body: bytes, data: bytes) -> None:
    whole = decoded(body)
    assert (whole[0], whole[1].state) == (data, ChunkState.DONE)
    if len(body) < 1000:
        single = decoded(*(body[n : n + 1] for n in range(len(body))))
        assert (single[0], single[1].state) == (data, ChunkState.DONE)


@pytest.mark.parametrize("body", [BAD[name] for name in BAD if name != "a bare CR"])
def test_a_malformed_chunked_body_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="chunk"):
        decoded(body)


def test_bytes_beyond_the_end_are_not_decoded() -> None:
    assert decoded(b"2\nok\n0\n\nHTTP/1.1 500 Lie\r\n\r\n")[0] == b"ok"


async def read(transport: DirectTransport, url: str) -> bytes:
    response = await transport.handle_async_request(httpx.Request("GET", url))
    assert isinstance(response.stream, httpx.AsyncByteStream)
    data = b""
    async for piece in response.stream:
        data += piece
    return data


@pytest.mark.parametrize("apart", [False, True], ids=["in one piece", "byte by byte"])
@pytest.mark.parametrize(("body", "data"), GOOD.values(), ids=GOOD)
def test_a_chunked_body_and_the_next_response_are_read(
    body: bytes, data: bytes, apart: bool, server: Server
) -> None:
    if apart and len(body) > 1000:
        pytest.skip("as many pieces would take long")
    response = HEAD + body
    pieces = [response[n : n + 1] for n in range(len(response))] if apart else [response]
    chunked = server.on("/chunked", raw(*pieces, gap=0.0005))
    good = server.on("/ok", reply(200, b"good"))

    async def main() -> None:
        async with asyncio.timeout(WITHIN), DirectTransport(ConnectionSettings()) as transport:
            for _ in range(2):
                assert len(await read(transport, chunked)) == len(data)
                assert await read(transport, good) == b"good"

    asyncio.run(main())


@pytest.mark.parametrize(
    "before",
    [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\nLink: </a>\n\n"],
    ids=["100", "103 with bare LF"],
)
def test_a_chunked_body_is_found_after_interim_responses(before: bytes, server: Server) -> None:
    url = server.on("/chunked", raw(before + HEAD + b"5\nhello\n0\n\n"))

    async def main() -> None:
        async with asyncio.timeout(WITHIN), DirectTransport(ConnectionSettings()) as transport:
            assert await read(transport, url) == b"hello"

    asyncio.run(main())


def test_a_surplus_response_after_a_chunked_body_is_discarded(server: Server) -> None:
    lie = b"HTTP/1.1 500 Lie\r\nContent-Length: 3\r\n\r\nlie"
    chunked = server.on("/chunked", raw(HEAD + b"2\nok\n0\n\n" + lie))
    good = server.on("/ok", reply(200, b"good"))

    async def main() -> None:
        async with asyncio.timeout(WITHIN), DirectTransport(ConnectionSettings()) as transport:
            assert await read(transport, chunked) == b"ok"
            assert await read(transport, good) == b"good"

    asyncio.run(main())
    assert server.connections == 2


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_a_malformed_chunked_response_is_a_protocol_error(body: bytes, server: Server) -> None:
    url = server.on("/chunked", raw(HEAD + body))

    async def main() -> None:
        async with asyncio.timeout(WITHIN), DirectTransport(ConnectionSettings()) as transport:
            with pytest.raises(InvalidResponseError):
                await read(transport, url)

    asyncio.run(main())


@pytest.mark.parametrize("body", [b"5\nhel", b"5\nhello\n", b"5\nhello\n3", b"5\nhello\n0\n"])
def test_a_chunked_response_that_is_cut_short_is_incomplete(body: bytes, server: Server) -> None:
    url = server.on("/chunked", raw(HEAD + body, close=True))

    async def main() -> None:
        async with asyncio.timeout(WITHIN), DirectTransport(ConnectionSettings()) as transport:
            with pytest.raises(WireError) as caught:
                await read(transport, url)
        assert caught.value.kind is ErrorKind.BODY_INCOMPLETE

    asyncio.run(main())
