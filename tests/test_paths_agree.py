"""Fast path and transport give the same records, but for times, whatever a server does."""

import asyncio
import os
import re
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest
import trustme
from hostile_cases import CASES, TIMEOUT, TLS_CASES, Authorities, Case, TlsCase
from loopback import Handler, Server, reply
from loops import POLLERS, Loop
from mutations import mutations
from paths import Path, Way, assert_agree, facts, over
from rawserver import RawServer
from scenes import (
    BODIES,
    FRAMING,
    KEPT,
    LIMITS,
    OK,
    PATIENT,
    REDIRECTS,
    SCENES,
    SOON,
    Scene,
    look_up,
    sends,
)

from crawler import Limits, Result
from crawler.engine.transports.settings import ConnectionSettings

EACH_LOOP = pytest.mark.parametrize("loop", POLLERS)
EPOLL_LOOPS = [
    pytest.param(number, *param.values, marks=param.marks, id=param.id)
    for number, param in enumerate(POLLERS[:2])
]
SEED = 20261125
HOSTS = 500
TRIES = 5  # a race between the server's end and the client may go either way, on either path
MUTATIONS = int(os.environ.get("CRAWL_MUTATIONS", "20000"))


def compared(results: list[Result], server: RawServer | None = None) -> Any:
    """Return what is to be equal of a run: its records, and the requests that were sent."""
    records = [facts(one) for one in results]
    return records if server is None else (records, server.requests)


def staged(scene: Scene, path: Path, loop: Loop, **serve: Any) -> Any:
    """Return what a scene gives over a path."""
    with RawServer(scene.scripts, **serve) as server:
        urls = [server.url(url) for url in scene.urls]
        results = loop.run(over(path, loop, urls, scene.way))
        told = repr(compared(results, server))
        # Each server has ports of its own.
        for port, name in ((server.port, "PORT"), (server.refusing, "REFUSING")):
            told = told.replace(f"{port}", name)
        return told


@pytest.mark.parametrize("name", SCENES)
@EACH_LOOP
def test_the_paths_agree_on_a_response(loop: Loop, name: str) -> None:
    assert_agree(lambda path: staged(SCENES[name], path, loop))


SECURE = (
    FRAMING
    | BODIES
    | KEPT
    | {name: scene for name, scene in REDIRECTS.items() if scene.way.names is None}
)


@pytest.mark.parametrize("name", SECURE)
@pytest.mark.parametrize("loop", POLLERS[:2])
def test_the_paths_agree_on_a_response_over_tls(
    loop: Loop, name: str, tls_context: Any, ca_file: FilePath
) -> None:
    scene = SECURE[name]
    trusting = replace(scene.way.settings, cacert=str(ca_file))
    scene = replace(scene, way=replace(scene.way, settings=trusting))
    assert_agree(lambda path: staged(scene, path, loop, context=tls_context))


def mounted(case: Case) -> dict[str, Handler]:
    """Return the handlers of a hostile case, and of a good neighbour."""
    handlers = {f"/{case.id}{path}": handler for path, handler in case.handlers.items()}
    return handlers | {"/ok": reply(200, b"hello")}


async def sandwiched(path: Path, loop: Loop, case: Case) -> str:
    """Return the facts of a hostile response twice, and of its neighbours."""
    with Server(mounted(case)) as server:
        urls = [server.url(each) for each in ("/ok?1", f"/{case.id}/bad?2", f"/{case.id}/bad?3")]
        limits = replace(LIMITS, timeout=TIMEOUT if case.lasts else PATIENT)
        way = Way(limits=limits, method=case.method)
        results = await over(path, loop, [*urls, server.url("/ok?4")], way)
        return unported([facts(one) for one in results], server.port)


def unported(told: Any, port: int) -> str:
    """Return facts, as text, without the port of the server."""
    return repr(told).replace(f":{port}", ":PORT")


# The time of these decides how far they get: in a redirect or between two, for example.
_BY_TIME = {"slow-redirects", "flood-of-100s", "flood-of-103s", "endless-chunk-size"}
_HOSTILE = [case for case in CASES if case.id not in _BY_TIME]


@EACH_LOOP
def test_the_paths_agree_on_hostile_responses_that_last(loop: Loop) -> None:
    cases = [case for case in _HOSTILE if case.lasts]

    async def all_over(path: Path) -> list[str]:
        return await asyncio.gather(*(sandwiched(path, loop, case) for case in cases))

    assert_agree(lambda path: loop.run(all_over(path)))


@pytest.mark.parametrize(
    "case", [case for case in _HOSTILE if not case.lasts], ids=lambda case: case.id
)
@EACH_LOOP
def test_the_paths_agree_on_a_hostile_response(loop: Loop, case: Case) -> None:
    assert_agree(lambda path: loop.run(sandwiched(path, loop, case)))


@pytest.mark.parametrize("case", TLS_CASES, ids=lambda case: case.id)
@EACH_LOOP
def test_the_paths_agree_on_a_hostile_tls_server(
    loop: Loop, case: TlsCase, ca: trustme.CA, ca_file: FilePath
) -> None:
    settings = ConnectionSettings(cacert=str(ca_file))
    limits = replace(LIMITS, timeout=TIMEOUT if case.lasts else PATIENT)

    def make(path: Path) -> Any:
        with case.serve(Authorities(ca)) as server:
            urls = [server.url("/bad?1"), server.url("/bad?2")]
            results = loop.run(over(path, loop, urls, Way(limits=limits, settings=settings)))
            told = unported([facts(one) for one in results], server.port)
            return re.sub(r"cert #[\w-]+", "cert", told)  # each server has its own

    assert_agree(make)


MUTATED = Way(
    limits=Limits(
        max=100,
        per_host=100,
        timeout=2 * SOON,
        retries=0,
        max_body=300,
        max_redirects=3,
        max_wait=0.0,
    ),
    names=look_up,
)


@pytest.mark.parametrize(("method", "share"), [("GET", 0.45), ("HEAD", 0.05)], ids=["GET", "HEAD"])
@pytest.mark.parametrize(("stream", "loop"), EPOLL_LOOPS)
def test_the_paths_agree_on_mutated_responses(
    stream: int, loop: Loop, method: str, share: float
) -> None:
    """CRAWL_MUTATIONS sets how many there are in all; each has the same number in each run."""
    scripts = mutations(round(share * MUTATIONS), SEED + stream)
    way = replace(MUTATED, method=method)
    seen: dict[str, tuple[set[str], set[str]]] = {one: (set(), set()) for one in scripts}
    left = list(scripts)
    with RawServer(scripts | {"/ok": sends(OK)}) as server:
        for _ in range(TRIES):
            # Of many hosts: one that responds with 429 gets fewer requests at once.
            urls = [
                server.url(f"http://h{at % HOSTS}.test:PORT{one}") for at, one in enumerate(left)
            ]
            for number, path in enumerate(Path):
                results = loop.run(over(path, loop, urls, way))
                for one, result in zip(left, results, strict=True):
                    seen[one][number].add(repr(facts(result, alone=False)))
            left = [one for one in left if seen[one][0].isdisjoint(seen[one][1])]
            if not left:
                break
    assert [f"{scripts[one]}: {seen[one]}" for one in left] == []
