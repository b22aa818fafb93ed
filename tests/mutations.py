"""A seed -> responses, valid and hostile ones, with a few random changes."""

import random
import re
from itertools import pairwise

from hostile_cases import CASES
from rawserver import End, Script
from scenes import SCENES

_TOKENS = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n"),
    *(b"HTTP/1.1 ", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"\xff\xfe"),
    *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Location: /ok\r\n"),
    *(b"Location: /none\r\n", b"Retry-After: 120\r\n", b"CF-Mitigated: challenge\r\n"),
    *(
        b"Content-Type: text/html\r\n",
        b"Server: cloudflare\r\n",
        b"Upgrade: h2c\r\n",
        b"302",
        b"429",
    ),
)
# A Location may not lead away from this server.
_LEADS_AWAY = re.compile(rb"//|\\|https?:", re.IGNORECASE)


def corpus() -> list[bytes]:
    """Return the responses of scenes and hostile cases that are sent at once."""
    found = [case.data for case in CASES if case.data]
    found += [
        b"".join(scene.scripts["/"].pieces) for scene in SCENES.values() if "/" in scene.scripts
    ]
    short = dict.fromkeys(data for data in found if len(data) < 4_000)
    return [data for data in short if b"PORT" not in data and not _LEADS_AWAY.search(data)]


def mutated(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Return a response with up to four changes."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + chance.choice((1, 1, 2, 4, 8, 30)))
        kind = chance.choice(("flip", "cut", "insert", "twice", "shuffle", "splice", "digit"))
        if kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at] + data[to:]
        elif kind == "insert":
            data = data[:at] + chance.choice(_TOKENS) + data[at:]
        elif kind == "twice":
            data = data[:to] + data[at:to] + data[to:]
        elif kind == "shuffle":
            lines = data.split(b"\r\n")
            one, other = (chance.randrange(len(lines)) for _ in range(2))
            lines[one], lines[other] = lines[other], lines[one]
            data = b"\r\n".join(lines)
        elif kind == "splice":
            other_data = chance.choice(others)
            data = data[:at] + other_data[chance.randrange(len(other_data) + 1) :]
        elif digits := [number for number, byte in enumerate(data) if 48 <= byte <= 57]:
            at = chance.choice(digits)
            data = data[:at] + b"%d" % chance.randrange(10) + data[at + 1 :]
    return data


def mutations(count: int, seed: int) -> dict[str, Script]:
    """Return scripts of mutated responses, by path; the same for the same seed."""
    chance = random.Random(seed)
    known = corpus()
    scripts: dict[str, Script] = {}
    while len(scripts) < count:
        data = mutated(chance.choice(known), known, chance)
        if _LEADS_AWAY.search(data):
            continue
        cut = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 2))))
        pieces = tuple(data[a:b] for a, b in pairwise([0, *cut, len(data)]))
        end = chance.choices((End.CLOSE, End.RESET, End.KEEP), (70, 15, 15))[0]
        scripts[f"/{len(scripts)}"] = Script(pieces, end, gap=chance.choice((0.0, 0.002)))
    return scripts
