"""The objects of one command line -> inputs, transport and sinks opened, crawled, closed."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from crawler import process
from crawler.core.display import display
from crawler.core.summary import Summary, exit_code
from crawler.core.urllist import ListError, UrlList
from crawler.engine.fetch import Header, fetcher
from crawler.engine.transports import Connecting, open_transport
from crawler.inputs import Inputs, Source, open_source
from crawler.models import Expectation, Limits
from crawler.report import DocumentSink, LineSink, Ordered, Sink, jsondocument, jsonl
from crawler.report.streams import Stream, open_file
from crawler.run import Run
from crawler.threads import DaemonExecutor

if TYPE_CHECKING:
    from crawler.report.terminal import ProgressBar

Say = Callable[[str], None]
_DEMO_TIMEOUT = 1.5
_CLOSING = 0.5  # seconds that idle connections get to close


class JobError(Exception):
    """The job cannot start: a list that cannot be read, or an output that cannot be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one command line asks for. `stdout` is "table", "json", "jsonl" or None."""

    targets: tuple[str, ...]
    limits: Limits
    connecting: Connecting
    expectation: Expectation
    method: str = "GET"
    headers: tuple[Header, ...] = ()
    repeat: bool = False
    stdout: str | None = "table"
    files: tuple[str, ...] = ()
    ordered: bool = False
    everything: bool = False
    progress: bool = False
    closing_line: bool = False
    demo: bool = False


async def run(job: Job, say: Say) -> int:
    """Do the job; return the exit code. `say` gets complaints, one line each. Raises JobError."""
    if job.demo:
        from crawler.demo import serve

        limits = replace(job.limits, timeout=min(job.limits.timeout, _DEMO_TIMEOUT))
        async with serve() as targets:
            code = await _crawl(replace(job, targets=targets, limits=limits), say)
        say(f"that was the demo; exit code {code}, as for any list in which a URL fails")
        return code
    return await _crawl(job, say)


async def _crawl(job: Job, say: Say) -> int:
    sources = _open_sources(job.targets)
    outputs = _open_outputs(job, sources)
    limits = _affordable(job.limits, say)
    urls = UrlList(expectation=job.expectation, method=job.method, repeat=job.repeat)
    inputs = Inputs(sources, urls)
    streams = {stream.name: stream for stream, _ in outputs}
    bar = _progress_bar(job)
    transport = open_transport(replace(job.connecting, idle=limits.max))
    running = Run(
        inputs.entries(),
        fetcher(transport, limits, job.headers),
        limits,
        [_sink(job, stream, form) for stream, form in outputs],
        share_read=inputs.share_read,
        duplicates=lambda: urls.duplicates,
        watch=bar.show if bar else None,
        stuck=lambda name, seconds: streams[name].stuck(seconds),
    )

    def abandon() -> None:
        for stream, _ in outputs:
            stream.discard()
        if bar:
            bar.abandon()

    try:
        with process.signals(running.interrupt, abandon):
            summary = await _finish(running, bar)
    except BaseException:
        abandon()
        raise
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(transport.aclose(), _CLOSING)
    for name, exc in running.failed_outputs:
        streams[name].discard()
        say(f"cannot write {display(name)}: {exc.strerror or exc}")
    if running.list_error is not None:
        say(str(running.list_error))
    elif not summary.total and summary.crawl.interrupted is None:
        say("nothing to check: the list holds no URL")
    elif job.closing_line and not running.reader_gone:
        from crawler.report.terminal import closing_line

        say(closing_line(summary))
    return exit_code(summary)


async def _finish(running: Run, bar: "ProgressBar | None") -> Summary:
    if bar is None:
        await running.collect()
        return await running.finish()
    bar.start()
    try:
        await running.collect()
    finally:
        # In a thread, and not for long: a terminal that takes nothing would hold up the end.
        stopping = DaemonExecutor(1, "progress").submit(bar.stop)
        await asyncio.wait((asyncio.wrap_future(stopping),), timeout=_CLOSING)
    return await running.finish()


def _open_sources(targets: Sequence[str]) -> list[Source]:
    if targets.count("-") > 1:
        raise JobError("standard input (-) can be read only once")
    stdin = None if sys.stdin is None else sys.stdin.fileno()
    try:
        return [open_source(target, stdin) for target in targets]
    except ListError as exc:
        raise JobError(str(exc)) from exc


def _open_outputs(job: Job, sources: Sequence[Source]) -> list[tuple[Stream, str]]:
    """Open every output and return it with its format; nothing is left behind on failure."""
    opened: list[tuple[Stream, str]] = []
    try:
        if job.stdout is not None:
            alone = not job.files
            opened.append((_standard_output(job.stdout, alone=alone), job.stdout))
        for path in job.files:
            form = PurePath(path).suffix.lower().removeprefix(".")
            if any(_same_file(path, other) for other, _ in opened):
                raise JobError(f"{display(path)} is named as an output twice")
            if any(_same_file(path, source) for source in sources):
                raise JobError(f"{display(path)} is both a list and an output")
            try:
                opened.append((open_file(path, whole=form == "json"), form))
            except (OSError, ValueError) as exc:
                reason = getattr(exc, "strerror", None) or exc
                raise JobError(f"cannot write {display(path)}: {reason}") from exc
    except JobError:
        for stream, _ in opened:
            stream.discard()
        raise
    return opened


def _standard_output(form: str, *, alone: bool) -> Stream:
    if sys.stdout is None:
        if alone:
            raise JobError("cannot write standard output: it is closed")
        return Stream("standard output", 1)  # fails at the first write, as a full one does
    encoding = sys.stdout.encoding if form == "table" else "utf-8"
    return Stream("standard output", sys.stdout.fileno(), encoding)


def _same_file(path: str, other: Stream | Source) -> bool:
    """Whether `path` names the regular file that is already open as a list or an output."""
    if isinstance(other, Source) and other.fd is not None and os.path.isfile(path):
        return os.path.samestat(os.fstat(other.fd), os.stat(path))
    name = os.path.realpath(other.name)
    return os.path.realpath(path) == name and (os.path.isfile(name) or isinstance(other, Stream))


def _sink(job: Job, stream: Stream, form: str) -> Sink:
    if form == "table":
        from crawler.report.terminal import TableSink

        terminal = sys.stdout if sys.stdout is not None and sys.stdout.isatty() else None
        return TableSink(stream, terminal=terminal, everything=job.everything)
    by_line = form == "jsonl"
    sink = LineSink(stream, jsonl.line) if by_line else DocumentSink(stream, jsondocument)
    return Ordered(sink) if job.ordered else sink


def _affordable(limits: Limits, say: Say) -> Limits:
    """Return limits that this machine's open files allow; say so where they had to be lowered."""
    most = process.affordable(limits.max)
    if most < limits.max:
        say(f"--max lowered from {limits.max} to {most}: too few open files allowed (ulimit -n)")
    return replace(limits, max=most)


def _progress_bar(job: Job) -> "ProgressBar | None":
    if not job.progress:
        return None
    from crawler.report.terminal import ProgressBar

    return ProgressBar(sys.stderr)
