"""LIST CONCURRENCY LOOP [CA] -> fetches all URLs with httpx; prints counts of statuses.

The client has its default limits: 100 connections, of which it keeps 20 when idle.
"""

import asyncio
import json
import ssl
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx


async def main(urls: Iterator[str], concurrency: int, ca: str | None) -> Counter[int]:
    statuses: Counter[int] = Counter()
    trust = ssl.create_default_context(cafile=ca) if ca else True
    client = httpx.AsyncClient(verify=trust, timeout=60, follow_redirects=True)
    async with client, asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work(client, urls, statuses))
    return statuses


async def work(client: httpx.AsyncClient, urls: Iterator[str], statuses: Counter[int]) -> None:
    for url in urls:
        response = await client.get(url)
        statuses[response.status_code] += 1


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
