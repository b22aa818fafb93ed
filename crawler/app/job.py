"""Settings -> one run: inputs, transport and outputs opened, the list checked, all closed."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from crawler.app import assemble, opening
from crawler.app.conclusion import Conclusion
from crawler.app.interruption import Interruption
from crawler.app.run import GATHER, Listing, Observer, Pass
from crawler.app.settings import Settings
from crawler.core.display import escape
from crawler.core.exitcode import exit_code
from crawler.core.urllist import UrlList
from crawler.facts import fact
from crawler.inputs.entries import SourceReader
from crawler.models import Limits
from crawler.report.outputs import Output
from crawler.report.sinks import ReplacingSink, Sink
from crawler.system.descriptors import affordable
from crawler.system.signals import signals
from crawler.system.threads import DaemonExecutor

if TYPE_CHECKING:
    from crawler.report.progress import ProgressBar

Notify = Callable[[str], None]
_DEMO_TIMEOUT = 1.5
_CLOSING = 0.5  # seconds that idle connections and the progress bar have to close
_SOON = 0.001  # seconds: a deadline that has passed


async def execute(settings: Settings, notify: Notify) -> int:
    """Run; return the exit code. `notify` prints one line to standard error.

    Raises StartError. An unexpected exception is raised after the finished checks were
    written.
    """
    if not settings.demo:
        return await _execute(settings, notify)
    from crawler.app.demo import serve

    timeout = min(settings.limits.timeout, _DEMO_TIMEOUT)
    limits = replace(settings.limits, timeout=timeout, retries=0)  # a demo should be short
    async with serve() as targets:
        code = await _execute(replace(settings, targets=targets, limits=limits), notify)
    notify(f"demo finished with exit code {code}, because some URLs fail on purpose")
    return code


async def _execute(settings: Settings, notify: Notify) -> int:
    sources = opening.sources(settings)
    outputs: list[Output] = []
    bar = _progress_bar(settings)
    interruption = Interruption()

    def abandon() -> None:
        for output in outputs:
            output.stream.discard()
        if bar:
            bar.abandon()

    with signals(interruption, abandon):
        try:
            await opening.outputs(outputs, settings, sources, interruption)
            if interruption.signal is not None:
                abandon()
                return 128 + interruption.signal
            urls = UrlList(
                expectation=settings.expectation,
                method=settings.method,
                repeat=settings.repeat,
                masked=settings.masked,
            )
            reader = SourceReader(sources, urls)
            conclusion = await _check(reader, settings, outputs, bar, interruption, notify)
        except BaseException:
            abandon()
            raise
    conclusion = _with_late_signal(conclusion, outputs, interruption)
    _report_ending(settings, conclusion, outputs, notify)
    if conclusion.fault is not None:
        raise conclusion.fault
    return exit_code(conclusion.summary)


@fact
class _Passes:
    """Starts the passes of one run: a single one, or with `--wait` one for each round."""

    settings: Settings
    limits: Limits
    network: "assemble.Network"
    outputs: Sequence[Output]
    observer: Observer
    started: float

    def start(self, listing: Listing, sinks: Sequence[Sink]) -> Pass:
        limits = self.limits
        if limits.deadline is not None:
            elapsed = perf_counter() - self.started
            limits = replace(limits, deadline=max(_SOON, limits.deadline - elapsed))
        headers = self.settings.headers
        return Pass(
            listing,
            assemble.collector(listing, self.network, limits, headers, gather=GATHER),
            sinks,
            tolerance=self.settings.tolerance,
            observer=self.observer,
            bytes_taken=self.bytes_taken,
        )

    def bytes_taken(self, name: str) -> int | None:
        """Return how many bytes the reader of output `name` has taken, if that is known."""
        streams = (output.stream for output in self.outputs)
        return next((stream.bytes_taken() for stream in streams if stream.name == name), None)


async def _check(
    reader: SourceReader,
    settings: Settings,
    outputs: Sequence[Output],
    bar: "ProgressBar | None",
    interruption: Interruption,
    notify: Notify,
) -> Conclusion:
    """Check the list and write the outputs, in one pass or in rounds."""
    limits = _affordable(settings.limits, notify)
    passes = _Passes(
        settings=settings,
        limits=limits,
        network=assemble.network(settings.connections, limits),
        outputs=outputs,
        observer=Observer(show=bar.show, warn=bar.notify) if bar else Observer(warn=notify),
        started=perf_counter(),
    )
    interruption.add_handler(partial(_interrupt_streams, outputs))
    sinks = [output.sink for output in outputs]
    try:
        if settings.wait is None:
            single = passes.start(reader, sinks)
            interruption.add_handler(single.interrupt)
            return await _finish(single, bar)
        from crawler.app.rounds import Rounds  # only --wait needs them

        rounds = Rounds(
            reader,
            settings.wait,
            passes.start,
            notify,
            start=passes.started,
            deadline=limits.deadline,
        )
        interruption.add_handler(rounds.interrupt)
        return await rounds.poll(sinks, passes.bytes_taken)
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(passes.network.aclose(), _CLOSING)


def _interrupt_streams(outputs: Sequence[Output], _signal: int) -> None:
    for output in outputs:
        output.stream.interrupted = True


async def _finish(single: Pass, bar: "ProgressBar | None") -> Conclusion:
    """Run a pass to its end; its progress bar is gone before the summary is written."""
    if bar is None:
        await single.collect()
        return await single.conclude()
    bar.start()
    try:
        await single.collect()
    finally:
        # In a thread and with a time limit: a blocked terminal must not delay the end.
        stopping = DaemonExecutor(1, "progress", inline=True).submit(bar.stop)
        await asyncio.wait((asyncio.wrap_future(stopping),), timeout=_CLOSING)
    return await single.conclude()


def _with_late_signal(
    conclusion: Conclusion, outputs: Sequence[Output], interruption: Interruption
) -> Conclusion:
    """Count a signal that came while the last records were written, if it cost some of them."""
    lost = conclusion.failed_outputs or any(output.stream.cut_short for output in outputs)
    if not lost or interruption.signal is None:
        return conclusion
    stats = replace(conclusion.summary.stats, interrupted=interruption.signal)
    return replace(conclusion, summary=replace(conclusion.summary, stats=stats))


def _report_ending(
    settings: Settings, conclusion: Conclusion, outputs: Sequence[Output], notify: Notify
) -> None:
    """Report what went wrong with lists and outputs, or else the totals."""
    for output in outputs:
        if (exc := conclusion.failed_outputs.get(output.stream.name)) is not None:
            output.stream.discard()
            notify(f"cannot write {escape(output.stream.name)}: {exc.strerror or exc}")
        elif isinstance(output.sink, ReplacingSink) and output.sink.unchanged:
            name = escape(output.stream.name)
            notify(f"{name} was left unchanged: the list was not read to its end")
    summary = conclusion.summary
    if conclusion.list_error is not None:
        notify(str(conclusion.list_error))
    elif not summary.total and summary.stats.interrupted is None and conclusion.fault is None:
        notify("nothing to check: the list contains no URLs")
    elif settings.closing_line and not conclusion.reader_gone:
        from crawler.report import closing

        notify(closing.last_line(summary))


def _affordable(limits: Limits, notify: Notify) -> Limits:
    """Return the limits that the open-file limit allows, with a warning if `max` is lowered."""
    most = affordable(limits.max)
    if most < limits.max:
        reason = "the open-file limit is too low (ulimit -n)"
        notify(f"--max lowered from {limits.max} to {most}: {reason}")
    return replace(limits, max=most)


def _progress_bar(settings: Settings) -> "ProgressBar | None":
    if not settings.progress or settings.wait is not None:
        return None
    from crawler.report.progress import ProgressBar

    return ProgressBar(sys.stderr)
