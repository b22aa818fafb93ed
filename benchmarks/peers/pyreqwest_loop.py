"""LIST CONCURRENCY LOOP [CA] -> fetches all URLs with pyreqwest; prints counts of statuses."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from pyreqwest.client import Client, ClientBuilder


async def main(urls: Iterator[str], concurrency: int, ca: bytes | None) -> Counter[int]:
    statuses: Counter[int] = Counter()
    # The single-threaded runtime, as in crawl: with the other one, a process may abort.
    builder = ClientBuilder().runtime_multithreaded(False).no_proxy()
    if ca is not None:
        builder = builder.add_root_certificate_pem(ca)
    async with builder.build() as client, asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work(client, urls, statuses))
    return statuses


async def work(client: Client, urls: Iterator[str], statuses: Counter[int]) -> None:
    for url in urls:
        response = await client.get(url).build().send()
        await response.bytes()
        statuses[response.status] += 1


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name != "uvloop":
        return None
    import uvloop

    return uvloop.new_event_loop


if __name__ == "__main__":
    listed, at_once, loop, *trusted = sys.argv[1:]
    listed_urls = iter(Path(listed).read_text("ascii").split())
    trusted_ca = Path(trusted[0]).read_bytes() if trusted else None
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        found = runner.run(main(listed_urls, int(at_once), trusted_ca))
    print(json.dumps(found))
