"""LIST CONCURRENCY LOOP [CA] -> fetches all URLs with aiohttp; prints statuses and their counts."""

import asyncio
import json
import ssl
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp


async def main(urls: Iterator[str], concurrency: int, ca: str | None) -> Counter[int]:
    statuses: Counter[int] = Counter()
    trust = ssl.create_default_context(cafile=ca) if ca else True
    connector = aiohttp.TCPConnector(limit=concurrency, ssl=trust)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work(session, urls, statuses))
    return statuses


async def work(session: aiohttp.ClientSession, urls: Iterator[str], statuses: Counter[int]) -> None:
    for url in urls:
        async with session.get(url) as response:
            await response.read()
            statuses[response.status] += 1


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name != "uvloop":
        return None
    import uvloop

    return uvloop.new_event_loop


if __name__ == "__main__":
    listed, at_once, loop, *trusted = sys.argv[1:]
    listed_urls = iter(Path(listed).read_text("ascii").split())
    trusted_ca = trusted[0] if trusted else None
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        found = runner.run(main(listed_urls, int(at_once), trusted_ca))
    print(json.dumps(found))
