"""A list, asked again and again until everything passes or the time is up."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from time import perf_counter

from crawler.app.collect import Entries
from crawler.app.run import Run, ShareRead
from crawler.core.display import display, mask
from crawler.core.summary import ExitCode, Summary, exit_code
from crawler.core.units import duration
from crawler.core.urllist import ListError
from crawler.models import Check, Result, Target
from crawler.report.broadcast import Broadcast, Ended, Taken, close
from crawler.report.sinks import Sink

_PAUSE = 1.0  # seconds between two rounds
_BATCH = 500  # checks that are written in one step
Begin = Callable[[Entries, Sequence[Sink], ShareRead], Run]


@dataclass(slots=True, eq=False)
class Held:
    """A sink that keeps the checks of a round, as only the last round's are shown."""

    name: str = "round"
    checks: list[Check] = field(default_factory=list)

    def write(self, check: Check) -> None:
        self.checks.append(check)

    def catch_up(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing is kept back."""

    def finish(self, summary: Summary) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class Rounds:
    """Polls a list for `seconds` at most; a round that has begun is finished.

    `begin` makes the run of a round, `say` gets one line about each.
    """

    entries: Entries
    seconds: float
    begin: Begin
    say: Callable[[str], None]
    start: float = field(default_factory=perf_counter)
    deadline: float | None = None
    _whole: bool = False
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _running: Run | None = None
    _signal: int | None = None

    def interrupt(self, signal: int) -> None:
        self._signal = signal
        self._stop.set()
        if self._running is not None:
            self._running.interrupt(signal)

    async def run(self, sinks: Sequence[Sink], taken: Taken) -> Ended:
        """Poll; give the last round's checks and its summary to `sinks`."""
        entries: list[Target | Result] = []
        list_error = None
        reading = asyncio.create_task(_read(self.entries, entries))
        stopped = asyncio.create_task(self._stop.wait())
        within = min(self.seconds, self.deadline or self.seconds)
        await asyncio.wait((reading, stopped), timeout=within, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if reading.done():
            list_error = reading.result()
            self._whole = list_error is None
        else:
            reading.cancel()
        checks, ended = await self._poll(entries, list_error)
        outputs = Broadcast(sinks, self._stop, taken)
        for start in range(0, len(checks), _BATCH):
            await outputs.write(checks[start : start + _BATCH])
        stats = replace(ended.summary.stats, interrupted=self._signal)
        summary = replace(ended.summary, stats=stats)
        return await close(outputs, summary, list_error, ended.fault)

    async def _poll(
        self, entries: Sequence[Target | Result], list_error: ListError | None
    ) -> tuple[list[Check], Ended]:
        number = 0
        while True:
            number += 1
            held = Held()
            self._running = self.begin(
                _again(entries), [held], lambda: 1.0 if self._whole else None
            )
            if self._signal is not None:
                self._running.interrupt(self._signal)
            self._running.list_error = list_error
            await self._running.collect()
            ended = await self._running.finish()
            elapsed = perf_counter() - self.start
            left = self.seconds - elapsed
            through = exit_code(ended.summary) in (ExitCode.PASSED, ExitCode.USAGE)
            late = self.deadline is not None and elapsed + _PAUSE >= self.deadline
            ends = through or left <= 0 or late or self._stop.is_set()
            if ended.summary.total:
                self.say(_line(number, held.checks, ended.summary, elapsed, None if ends else left))
            if not ends:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), min(_PAUSE, left))
                ends = self._stop.is_set()
            if ends:
                return held.checks, ended


async def _read(entries: Entries, into: list[Target | Result]) -> ListError | None:
    """Read a list to its end, or to where it turns out to be none."""
    try:
        async with aclosing(entries):
            async for entry in entries:
                into.append(entry)  # noqa: PERF401 - what came before an exception counts
    except ListError as exc:
        return exc
    return None


async def _again(
    entries: Sequence[Target | Result],
) -> AsyncGenerator[Target | Result, None]:
    for entry in entries:
        yield entry


def _line(
    number: int, checks: Sequence[Check], summary: Summary, elapsed: float, left: float | None
) -> str:
    bad = [check for check in checks if not check.ok]
    if not bad:
        return f"round {number}: all {summary.total:,} passed after {duration(elapsed)}"
    first = min(bad, key=lambda check: check.result.target.index)
    target = first.result.target
    reason = "; ".join(first.verdict.reasons)
    example = display(mask(f"{target.url}: {reason}", target.masked))
    then = "" if left is None else f"; asking again for {duration(left)}"
    return f"round {number}: {len(bad):,} of {summary.total:,} did not pass ({example}){then}"
