"""Late timers -> the spans in which this process was suspended, and attempts without them."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter

from crawler.engine.transports.wire import Wire
from crawler.models import Attempt, Timings


class Suspensions:
    """Spans in which this process did not run although a timer was due.

    It was stopped by a signal or frozen, or other processes had the processor; a slow server
    makes no timer late. Of the suspensions in one attempt only the first few count: an
    attempt must time out even on a machine that is always late.
    """

    SHORTEST = 0.25  # seconds; anything less is a busy machine
    _COUNTED = 5  # in one attempt
    _KEPT = 1_000  # spans; beyond that the older half is dropped

    def __init__(self) -> None:
        self.total = 0.0
        self._spans: list[tuple[float, float]] = []  # start and end, by `time.perf_counter`

    def record(self, due: float, called: float, worked: float) -> None:
        """Record how late a timer was called; `worked` is processor time used since it was set."""
        if self._spans:
            due = max(due, self._spans[-1][1])  # another timer may have recorded this one
        lost = called - due - worked
        if lost < self.SHORTEST:
            return
        self._spans.append((due, due + lost))
        self.total += lost
        if len(self._spans) > self._KEPT:
            del self._spans[: self._KEPT // 2]

    def seconds_between(self, start: float, end: float) -> float:
        """Return how many of the seconds from `start` to `end` were lost in suspensions."""
        if not self._spans:
            return 0.0
        first = bisect_right(self._spans, start, key=itemgetter(1))
        counted = self._spans[first : first + self._COUNTED]
        return sum(max(0.0, min(end, until) - max(start, since)) for since, until in counted)

    def subtract_from(
        self,
        attempt: Attempt,
        wires: Sequence[Wire],
        start: float,
        head_received: float,
        end: float,
    ) -> Attempt:
        """Return the attempt without the seconds in which this process was suspended.

        It lasted from `start` to `end`; the head of its last response came at `head_received`.
        """
        if not self.total:
            return attempt
        stalls = [span for wire in wires for span in wire.stalls]

        def lost(since: float, until: float) -> float:
            parts = [(max(since, left), min(until, right)) for left, right in stalls]
            counted = sum(
                self.seconds_between(left, right) for left, right in parts if left < right
            )
            return max(0.0, self.seconds_between(since, until) - counted)  # subtracted once only

        total = lost(start, end)
        if not total or attempt.latency is None:
            return attempt
        timings = attempt.timings
        in_wait = sum(lost(wire.sent, wire.first_byte or end) for wire in wires if wire.sent)
        in_download = 0.0 if timings.download is None else lost(head_received, end)
        return replace(
            attempt,
            latency=_less(attempt.latency, total),
            ttfb=_less(attempt.ttfb, lost(start, head_received)),
            timings=replace(
                _without(timings, total - in_wait - in_download),
                wait=_less(timings.wait, in_wait),
                download=_less(timings.download, in_download),
            ),
        )


def _without(timings: Timings, lost: float) -> Timings:
    """Subtract seconds lost before the request was sent from the phases until then, longest first.

    More than all of these have fell into a phase that was not measured.
    """
    known = {"dns": timings.dns, "connect": timings.connect, "tls": timings.tls}
    if lost > sum(seconds or 0.0 for seconds in known.values()):
        return timings
    for name, seconds in sorted(known.items(), key=lambda one: one[1] or 0.0, reverse=True):
        taken = min(lost, seconds or 0.0)
        known[name] = _less(seconds, taken)
        lost -= taken
    return replace(timings, **known)


def _less(seconds: float | None, lost: float) -> float | None:
    return None if seconds is None else max(0.0, seconds - lost)
