"""`--demo`: each kind of row, without a network."""

import re
import time

from shell import (
    crawl,
)


def test_the_demo_shows_every_kind_of_row_within_seconds() -> None:
    start = time.monotonic()
    ended = crawl("--demo")
    took = time.monotonic() - start
    rows = re.findall(
        r"^(http|ftp)://127\.0\.0\.1(?::\d+)?/(\S+) +(\w+(?: \w+)*)", ended.stdout, re.MULTILINE
    )
    assert rows == [
        ("http", "fast", "200"),
        ("http", "slow", "200"),
        ("http", "large", "200"),
        ("http", "gzip", "200"),
        ("http", "redirect-chain", "200"),
        ("http", "redirect-loop", "redirect loop"),
        ("http", "not-found", "404"),
        ("http", "server-error", "500"),
        ("http", "dripping", "timeout"),
        ("http", "closing-early", "body incomplete"),
        ("http", "no-response", "disconnected"),
        ("http", "not-http", "protocol"),
        ("http", "nobody-listens", "connect refused"),
        ("ftp", "not-http", "invalid url"),
    ]
    assert ended.returncode == 1
    assert took < 8
