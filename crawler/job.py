"""The objects of one command line -> inputs, transport and sinks opened, crawled, closed."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from crawler import process
from crawler.broadcast import Ended
from crawler.core.display import display
from crawler.core.summary import exit_code
from crawler.core.urllist import ListError, UrlList
from crawler.engine.fetch import Header, fetcher
from crawler.engine.transports import Connecting, open_transport
from crawler.inputs import Inputs, Source, open_source
from crawler.models import Expectation, Limits
from crawler.outputs import Output, OutputError, open_outputs
from crawler.report import ReplacingSink, Sink
from crawler.rounds import Rounds
from crawler.run import Entries, Run, ShareRead
from crawler.threads import DaemonExecutor

if TYPE_CHECKING:
    from crawler.report.terminal import ProgressBar

Say = Callable[[str], None]
_DEMO_TIMEOUT = 1.5
_CLOSING = 0.5  # seconds that idle connections get to close
_SOON = 0.001  # seconds: a deadline that has passed


class JobError(Exception):
    """The job cannot start: a list that cannot be read, or an output that cannot be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one command line asks for. `stdout` is "table", "json", "jsonl" or None.

    `masked` are query parameters whose values are shown in no output, besides those that
    are known for it. `tolerated` is how many URLs may fail, or which share of them. `wait`
    is for how many seconds the list is asked again until everything passes.
    """

    targets: tuple[str, ...]
    limits: Limits
    connecting: Connecting
    expectation: Expectation
    method: str = "GET"
    headers: tuple[Header, ...] = ()
    repeat: bool = False
    masked: frozenset[str] = frozenset()
    wait: float | None = None
    tolerated: int | float = 0
    failed_to: str | None = None
    stdout: str | None = "table"
    files: tuple[str, ...] = ()
    ordered: bool = False
    everything: bool = False
    progress: bool = False
    closing_line: bool = False
    demo: bool = False


async def run(job: Job, say: Say) -> int:
    """Do the job; return the exit code. `say` gets complaints, one line each.

    Raises JobError, and what nobody expected, once the results that there are were written.
    """
    if job.demo:
        from crawler.demo import serve

        timeout = min(job.limits.timeout, _DEMO_TIMEOUT)
        limits = replace(job.limits, timeout=timeout, retries=0)  # it is to be short
        async with serve() as targets:
            code = await _crawl(replace(job, targets=targets, limits=limits), say)
        say(f"that was the demo; exit code {code}, as for any list in which a URL fails")
        return code
    return await _crawl(job, say)


async def _crawl(job: Job, say: Say) -> int:
    sources = _open_sources(job)
    limits = _affordable(job.limits, say)
    urls = UrlList(
        expectation=job.expectation, method=job.method, repeat=job.repeat, masked=job.masked
    )
    inputs = Inputs(sources, urls)
    connecting = replace(job.connecting, idle=limits.max, per_host=limits.per_host)
    transport = open_transport(connecting)
    bar = _progress_bar(job)
    # Last, as all has been imported: a signal before the run has begun would leave files behind.
    outputs = _open_outputs(job, sources)
    start = perf_counter()

    def taken(name: str) -> int | None:
        return next(one.stream.taken() for one in outputs if one.stream.name == name)

    def begin(entries: Entries, sinks: Sequence[Sink], share_read: ShareRead) -> Run:
        bounds = _left(limits, perf_counter() - start)
        return Run(
            entries,
            fetcher(transport, bounds, job.headers),
            bounds,
            sinks,
            share_read=share_read,
            duplicates=lambda: urls.duplicates,
            fetch_fresh=fetcher(transport, bounds, job.headers, fresh=True),
            tolerated=job.tolerated,
            watch=bar.show if bar else None,
            warn=bar.say if bar else say,
            taken=taken,
        )

    def abandon() -> None:
        for output in outputs:
            output.stream.discard()
        if bar:
            bar.abandon()

    sinks = [output.sink for output in outputs]
    try:
        if job.wait is None:
            running = begin(inputs.entries(), sinks, inputs.share_read)
            with process.signals(running.interrupt, abandon):
                ended = await _finish(running, bar)
        else:
            rounds = Rounds(
                inputs.entries(), job.wait, begin, say, start=start, deadline=limits.deadline
            )
            with process.signals(rounds.interrupt, abandon):
                ended = await rounds.run(sinks, taken)
    except BaseException:
        abandon()
        raise
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(transport.aclose(), _CLOSING)
    _conclude(job, ended, outputs, say)
    if ended.fault is not None:
        raise ended.fault  # all that was finished is written
    return exit_code(ended.summary)


def _conclude(job: Job, ended: Ended, outputs: Sequence[Output], say: Say) -> None:
    """Say what went wrong with lists and outputs, or the counts."""
    for output in outputs:
        if (exc := ended.failed_outputs.get(output.stream.name)) is not None:
            output.stream.discard()
            say(f"cannot write {display(output.stream.name)}: {exc.strerror or exc}")
        elif isinstance(output.sink, ReplacingSink) and output.sink.left:
            say(f"{display(output.stream.name)} is left as it was: part of it was not read")
    summary = ended.summary
    if ended.list_error is not None:
        say(str(ended.list_error))
    elif not summary.total and summary.crawl.interrupted is None and ended.fault is None:
        say("nothing to check: the list holds no URL")
    elif job.closing_line and not ended.reader_gone:
        from crawler.report.terminal import closing_line

        say(closing_line(summary))


async def _finish(running: Run, bar: "ProgressBar | None") -> Ended:
    if bar is None:
        await running.collect()
        return await running.finish()
    bar.start()
    try:
        await running.collect()
    finally:
        # In a thread, and not for long: a terminal that takes nothing would hold up the end.
        stopping = DaemonExecutor(1, "progress", inline=True).submit(bar.stop)
        await asyncio.wait((asyncio.wrap_future(stopping),), timeout=_CLOSING)
    return await running.finish()


def _open_sources(job: Job) -> list[Source]:
    if job.targets.count("-") > 1:
        raise JobError("standard input (-) can be read only once")
    stdin = None if sys.stdin is None else sys.stdin.fileno()
    try:
        return [open_source(target, stdin, job.masked) for target in job.targets]
    except ListError as exc:
        raise JobError(str(exc)) from exc


def _open_outputs(job: Job, sources: Sequence[Source]) -> list[Output]:
    try:
        return open_outputs(
            stdout=job.stdout,
            files=job.files,
            failed_to=job.failed_to,
            ordered=job.ordered,
            everything=job.everything,
            sources=sources,
        )
    except OutputError as exc:
        raise JobError(str(exc)) from exc


def _affordable(limits: Limits, say: Say) -> Limits:
    """Return limits that this machine's open files allow; say so where they had to be lowered."""
    most = process.affordable(limits.max)
    if most < limits.max:
        say(f"--max lowered from {limits.max} to {most}: too few open files allowed (ulimit -n)")
    return replace(limits, max=most)


def _left(limits: Limits, elapsed: float) -> Limits:
    """Return the limits of a round that begins so many seconds after the start."""
    if limits.deadline is None:
        return limits
    return replace(limits, deadline=max(_SOON, limits.deadline - elapsed))


def _progress_bar(job: Job) -> "ProgressBar | None":
    if not job.progress or job.wait is not None:
        return None
    from crawler.report.terminal import ProgressBar

    return ProgressBar(sys.stderr)
