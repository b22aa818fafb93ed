"""`--wait`: passes over a list, one after the other, until all URLs pass or the time is up."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from time import perf_counter

from crawler.app.conclusion import Conclusion, conclude
from crawler.app.run import Listing, Pass
from crawler.core.display import safe
from crawler.core.exitcode import ExitCode, exit_code
from crawler.core.summary import Summary
from crawler.core.units import duration
from crawler.core.urllist import ListError
from crawler.models import Check, Result, Target
from crawler.report.broadcast import Broadcast, BytesTaken
from crawler.report.sinks import Sink

_PAUSE = 1.0  # seconds between two rounds
_BATCH = 500  # checks written in one step
StartPass = Callable[[Listing, Sequence[Sink]], Pass]


@dataclass(slots=True, eq=False)
class RoundSink:
    """Keeps the checks of one round: only those of the last round are written."""

    name: str = "round"
    checks: list[Check] = field(default_factory=list)

    def accept(self, check: Check) -> None:
        self.checks.append(check)

    def accept_deferred(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing is buffered."""

    def finish(self, summary: Summary) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class RepeatedList:
    """A list read in advance, as the listing of each round.

    `complete` says whether all of it was read, `duplicates` how many entries were skipped.
    """

    known: Sequence[Target | Result]
    complete: bool
    duplicates: int
    _characters: int = 0

    async def entries(self) -> AsyncGenerator[Target | Result, None]:
        for entry in self.known:
            target = entry.target if isinstance(entry, Result) else entry
            self._characters += len(target.input)
            yield entry

    def has_end(self) -> bool:
        return self.complete

    def bytes_read(self) -> int:
        return self._characters

    def share_read(self) -> float | None:
        return 1.0 if self.complete else None


@dataclass(slots=True)
class Rounds:
    """Repeats passes over `listing` for at most `seconds`; a round that has begun is finished.

    `start_pass` starts the pass of a round, `notify` gets one line about each.
    """

    listing: Listing
    seconds: float
    start_pass: StartPass
    notify: Callable[[str], None]
    start: float = field(default_factory=perf_counter)
    deadline: float | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _current: Pass | None = None
    _signal: int | None = None

    def interrupt(self, signal: int) -> None:
        """End the current round early, and start no other."""
        self._signal = signal
        self._stop.set()
        if self._current is not None:
            self._current.interrupt(signal)

    async def poll(self, sinks: Sequence[Sink], bytes_taken: BytesTaken) -> Conclusion:
        """Run the rounds; give the checks and the summary of the last one to `sinks`."""
        known: list[Target | Result] = []
        list_error = None
        reading = asyncio.create_task(_read(self.listing, known))
        stopped = asyncio.create_task(self._stop.wait())
        within = min(self.seconds, self.deadline or self.seconds)
        await asyncio.wait((reading, stopped), timeout=within, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if reading.done():
            list_error = reading.result()
        else:
            reading.cancel()
        complete = reading.done() and list_error is None
        repeated = RepeatedList(known, complete, self.listing.duplicates)
        checks, conclusion = await self._poll(repeated, list_error)
        outputs = Broadcast(sinks, self._stop, bytes_taken)
        for first in range(0, len(checks), _BATCH):
            await outputs.publish(checks[first : first + _BATCH])
        stats = replace(conclusion.summary.stats, interrupted=self._signal)
        summary = replace(conclusion.summary, stats=stats)
        return await conclude(outputs, summary, list_error, conclusion.fault)

    async def _poll(
        self, repeated: RepeatedList, list_error: ListError | None
    ) -> tuple[list[Check], Conclusion]:
        number = 0
        while True:
            number += 1
            sink = RoundSink()
            self._current = self.start_pass(repeated, [sink])
            if self._signal is not None:
                self._current.interrupt(self._signal)
            self._current.list_error = list_error
            await self._current.collect()
            conclusion = await self._current.conclude()
            elapsed = perf_counter() - self.start
            is_last = self._is_last(conclusion, elapsed)
            left = self.seconds - elapsed
            if conclusion.summary.total:
                remaining = None if is_last else left
                self.notify(_line(number, sink.checks, conclusion.summary, elapsed, remaining))
            if not is_last:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), min(_PAUSE, left))
            if is_last or self._stop.is_set():
                return sink.checks, conclusion

    def _is_last(self, conclusion: Conclusion, elapsed: float) -> bool:
        """Whether a round with this conclusion is the last one."""
        settled = exit_code(conclusion.summary) in (ExitCode.PASSED, ExitCode.USAGE)
        late = self.deadline is not None and elapsed + _PAUSE >= self.deadline
        return settled or elapsed >= self.seconds or late or self._stop.is_set()


async def _read(listing: Listing, into: list[Target | Result]) -> ListError | None:
    """Read the whole list; return the ListError that ended it, if any."""
    try:
        async with aclosing(listing.entries()) as entries:
            async for entry in entries:
                into.append(entry)  # noqa: PERF401 - the entries before an exception count
    except ListError as exc:
        return exc
    return None


def _line(
    number: int, checks: Sequence[Check], summary: Summary, elapsed: float, left: float | None
) -> str:
    bad = [check for check in checks if not check.ok]
    if not bad:
        return f"round {number}: all {summary.total:,} URLs passed after {duration(elapsed)}"
    first = min(bad, key=lambda check: check.result.target.index)
    target = first.result.target
    example = safe(f"{target.url}: {first.verdict.explanation}", target.masked)
    then = "" if left is None else f"; retrying for up to {duration(left)}"
    return f"round {number}: {len(bad):,} of {summary.total:,} did not pass ({example}){then}"
