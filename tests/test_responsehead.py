"""Equal Content-Length fields are merged, in the final head and nowhere else."""

import time

import pytest

from crawler.engine.transports.http1.responsehead import with_one_length

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            OK + b"Content-Length: 2\r\nA: b\r\nContent-Length: 2\r\n\r\nok",
            OK + b"Content-Length: 2\r\nA: b\r\n\r\nok",
            id="twice",
        ),
        pytest.param(
            OK + b"content-length: 2, 2\r\n\r\nok", OK + b"Content-Length: 2\r\n\r\nok", id="listed"
        ),
        pytest.param(
            OK + b"Content-Length: 2\nContent-Length:2\n\nok",
            OK + b"Content-Length: 2\r\n\nok",
            id="bare LF",
        ),
        pytest.param(
            b"HTTP/1.1 103 Early\r\n\r\n"
            + OK
            + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 103 Early\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
            id="after an interim head",
        ),
        pytest.param(
            OK + b"Content-Length: 26\r\nContent-Length: 26\r\n\r\n\r\nContent-Length: 99\r\nabcd",
            OK + b"Content-Length: 26\r\n\r\n\r\nContent-Length: 99\r\nabcd",
            id="a body that looks like a head",
        ),
    ],
)
def test_equal_lengths_are_merged(data: bytes, expected: bytes) -> None:
    assert with_one_length(data) == expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(OK + b"Content-Length: 2\r\n\r\nok", id="one"),
        pytest.param(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", id="different"),
        pytest.param(OK + b"Content-Length: 2, 3\r\n\r\nok", id="different in a list"),
        pytest.param(OK + b"\r\nContent-Length: 2\r\nContent-Length: 2\r\n", id="in the body"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_head_that_cannot_be_repaired_is_left_unchanged(data: bytes) -> None:
    assert with_one_length(data) is None


@pytest.mark.parametrize("unit", [b" ", b"\t", b", ", b"1", b"\r\n", b"Content-Length:"])
def test_hostile_heads_cost_little(unit: bytes) -> None:
    start = time.process_time()
    with_one_length(OK + b"Content-Length: " + unit * (131_072 // len(unit)) + b"x\r\n\r\n")
    assert time.process_time() - start < 2
