"""The objects of one command line -> inputs, transport and sinks opened, crawled, closed."""

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from crawler.app.collect import Entries
from crawler.app.rounds import Rounds
from crawler.app.run import Run, ShareRead
from crawler.core.display import display
from crawler.core.summary import exit_code
from crawler.core.urllist import ListError, UrlList
from crawler.engine.fetch import Fetcher
from crawler.engine.headers import Header
from crawler.engine.suspensions import Suspensions
from crawler.engine.transports import open_transport
from crawler.engine.transports.settings import ConnectionSettings
from crawler.inputs.entries import Inputs
from crawler.inputs.sources import Source, open_source
from crawler.models import Expectation, Limits
from crawler.report.broadcast import Ended
from crawler.report.outputs import Output, OutputError, open_outputs
from crawler.report.sinks import ReplacingSink, Sink
from crawler.system.descriptors import affordable
from crawler.system.signals import signals
from crawler.system.threads import DaemonExecutor

if TYPE_CHECKING:
    from crawler.report.progress import ProgressBar

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
    connecting: ConnectionSettings
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
        from crawler.app.demo import serve

        timeout = min(job.limits.timeout, _DEMO_TIMEOUT)
        limits = replace(job.limits, timeout=timeout, retries=0)  # it is to be short
        async with serve() as targets:
            code = await _crawl(replace(job, targets=targets, limits=limits), say)
        say(f"that was the demo; exit code {code}, as for any list in which a URL fails")
        return code
    return await _crawl(job, say)


class _Ending:
    """What the first signal to end the run brings about, which changes as the run goes on."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._then: list[Callable[[int], None]] = []

    def __call__(self, number: int) -> None:
        self._number = number
        for then in self._then:
            then(number)

    def brings(self, then: Callable[[int], None]) -> None:
        self._then.append(then)
        if self._number is not None:
            then(self._number)

    def signal(self) -> int | None:
        """Return the number of the signal, None before it."""
        return self._number


async def _crawl(job: Job, say: Say) -> int:
    sources = _open_sources(job)
    outputs: list[Output] = []
    bar = _progress_bar(job)
    ending = _Ending()

    def abandon() -> None:
        for output in outputs:
            output.stream.discard()
        if bar:
            bar.abandon()

    with signals(ending, abandon):
        try:
            await _open_outputs(outputs, job, sources, ending)
            if (signal := ending.signal()) is not None:
                abandon()
                return 128 + signal
            ended = await _run(job, sources, outputs, bar, ending, say)
        except BaseException:
            abandon()
            raise
    lost = ended.failed_outputs or any(output.stream.cut for output in outputs)
    if lost and ending.signal():  # it may have come while the last was written
        stats = replace(ended.summary.stats, interrupted=ending.signal())
        ended = replace(ended, summary=replace(ended.summary, stats=stats))
    _conclude(job, ended, outputs, say)
    if ended.fault is not None:
        raise ended.fault  # all that was finished is written
    return exit_code(ended.summary)


async def _run(
    job: Job,
    sources: Sequence[Source],
    outputs: Sequence[Output],
    bar: "ProgressBar | None",
    ending: _Ending,
    say: Say,
) -> Ended:
    """Crawl the sources into the outputs, once or in rounds."""
    limits = _affordable(job.limits, say)
    urls = UrlList(
        expectation=job.expectation, method=job.method, repeat=job.repeat, masked=job.masked
    )
    inputs = Inputs(sources, urls)
    connecting = replace(job.connecting, idle=limits.max, per_host=limits.per_host)
    transport = open_transport(connecting)
    start = perf_counter()

    def taken(name: str) -> int | None:
        return next((one.stream.taken() for one in outputs if one.stream.name == name), None)

    def begin(entries: Entries, sinks: Sequence[Sink], share_read: ShareRead) -> Run:
        bounds = _left(limits, perf_counter() - start)
        suspensions = Suspensions()
        return Run(
            entries,
            Fetcher(transport, bounds, job.headers, suspensions=suspensions),
            bounds,
            sinks,
            share_read=share_read,
            bytes_read=inputs.bytes_read if job.wait is None else None,
            duplicates=lambda: urls.duplicates,
            fetch_fresh=Fetcher(
                transport, bounds, job.headers, fresh=True, suspensions=suspensions
            ),
            suspensions=suspensions,
            tolerated=job.tolerated,
            watch=bar.show if bar else None,
            warn=bar.say if bar else say,
            taken=taken,
        )

    def hurry(_signal: int) -> None:
        for output in outputs:
            output.stream.hurried = True

    ending.brings(hurry)
    sinks = [output.sink for output in outputs]
    try:
        if job.wait is None:
            running = begin(inputs.entries(), sinks, inputs.share_read)
            ending.brings(running.interrupt)
            return await _finish(running, bar)
        rounds = Rounds(
            inputs.entries(), job.wait, begin, say, start=start, deadline=limits.deadline
        )
        ending.brings(rounds.interrupt)
        return await rounds.run(sinks, taken)
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(transport.aclose(), _CLOSING)


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
    elif not summary.total and summary.stats.interrupted is None and ended.fault is None:
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


async def _open_outputs(
    outputs: list[Output], job: Job, sources: Sequence[Source], ending: _Ending
) -> None:
    """Open the outputs in a thread: a signal ends the wait for the reader of a FIFO."""
    given_up, signalled = threading.Event(), asyncio.Event()
    ending.brings(lambda _number: given_up.set())
    ending.brings(lambda _number: signalled.set())
    thread = DaemonExecutor(1, "outputs", inline=True)
    opening = asyncio.wrap_future(
        thread.submit(
            open_outputs,
            outputs,
            stdout=job.stdout,
            files=job.files,
            failed_to=job.failed_to,
            ordered=job.ordered,
            everything=job.everything,
            sources=sources,
            given_up=given_up,
        )
    )
    thread.shutdown()
    waiting = asyncio.ensure_future(signalled.wait())
    await asyncio.wait((opening, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await asyncio.wait((opening,), timeout=_CLOSING)  # it may be stuck in a dead mount
    if opening.done() and (exc := opening.exception()) and ending.signal() is None:
        raise JobError(str(exc)) if isinstance(exc, OutputError) else exc


def _affordable(limits: Limits, say: Say) -> Limits:
    """Return limits that this machine's open files allow; say so where they had to be lowered."""
    most = affordable(limits.max)
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
    from crawler.report.progress import ProgressBar

    return ProgressBar(sys.stderr)
