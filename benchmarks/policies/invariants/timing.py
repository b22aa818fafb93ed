"""Latencies, timeouts, pauses and the end, against the server's clock."""

import statistics
from itertools import pairwise
from typing import Any

from benchmarks.policies.chains import Chain, chains, leads_on, match, surely
from benchmarks.policies.invariants.attempts import paired, records_by_page, together
from benchmarks.policies.program import Run
from benchmarks.policies.scenario import End

_LATE = 0.15  # seconds after its timeout that an attempt may end
_ROUND = 0.002  # seconds by which clocks and rounding may differ
# Seconds that a hop may take beyond the time that the server took. httpx is slow, and
# reqwest loads the system's authorities during its first handshake.
_HOP = {"direct": 0.15, "httpx": 0.3, "native": 0.5}
_STOP = 0.2  # seconds of being stopped from which the program reports it
_STARTUP = 6.0  # seconds for the interpreter on a starved machine
_ENDING = 1.5  # seconds that the end may take after a signal or the deadline
_STILL = 0.1  # seconds in which requests that started before the end still arrive


def _counted(run: Run) -> list[tuple[dict[str, Any], list[Chain]]]:
    """Return each record with its possible chains: one, if they can be distinguished."""
    seen = run.log.by_page()
    found = []
    for page, records in records_by_page(run).items():
        served = chains(seen.get(page, []))
        if together(records, served, run):
            found += [(record, served) for record in records]
            continue
        pairs = match(records[0], served, run)
        if pairs and (chain := pairs[-1][1]) is not None:
            found.append((records[0], [chain]))
    return found


def latency_is_network_time(run: Run) -> list[str]:
    """A latency is at least what the server took, and hardly more: no queue, no back-off."""
    found, beyond = [], []
    hop = _HOP[run.scenario.engine_option]
    # Latencies exclude the time for which the program was stopped; the server ran on.
    stopped = run.log.noise if run.log.noise > _STOP else 0.0
    for record, served in _counted(run):
        if record["outcome"] != "responded":
            continue
        latency = record["latency_ms"] / 1000
        fits = [one for one in served if one.last.end is End.WHOLE] or served
        held = [(sum(r.held for r in _timed(one)), len(one.requests)) for one in fits]
        if latency < min(seconds for seconds, _ in held) - _ROUND - stopped:
            found.append(f"index {record['index']}: {latency:.4f} s, the server took {held}")
        if latency > max(s + hop * hops for s, hops in held) + 2 * run.log.noise:
            found.append(f"index {record['index']}: {latency:.3f} s, the server took {held}")
        beyond.append(latency - max(seconds for seconds, _ in held))
    if len(beyond) > 5 and statistics.median(beyond) > hop / 3 + run.log.noise:
        found.append(f"the median is {statistics.median(beyond):.3f} s above the server's")
    return found


def _timed(chain: Chain) -> list[Any]:
    """Return the requests that the latency includes: those sent again on a new connection too."""
    return [request for request in chain.requests if request.ended is not None]


def timings_fit(run: Run) -> list[str]:
    """The phases are no longer than the whole; the first byte came before the last."""
    found = []
    for record in run.records:
        latency, timings = record["latency_ms"], record["timings_ms"]
        phases = [timings[name] for name in ("dns", "connect", "tls", "wait", "download")]
        if latency is None:
            continue
        if sum(one or 0.0 for one in phases) > latency + 1:
            found.append(f"index {record['index']}: {timings} in {latency} ms")
        if record["ttfb_ms"] is not None and record["ttfb_ms"] > latency + 0.01:
            found.append(f"index {record['index']}: first byte {record['ttfb_ms']}, all {latency}")
        if timings["queue"] is not None and timings["queue"] / 1000 > run.finished - run.started:
            found.append(f"index {record['index']}: a queue of {timings['queue']} ms")
    return found


def timeouts_kept(run: Run) -> list[str]:
    """No attempt takes longer than --timeout, and each timeout comes only after that time."""
    limit = run.scenario.options.timeout
    found = []
    for record in run.records:
        if record["latency_ms"] is None:
            continue
        latency = record["latency_ms"] / 1000
        if latency > limit + _LATE + run.log.noise:
            found.append(f"index {record['index']}: {latency:.3f} s, at most {limit:g}")
        timed_out = (record["error"] or {}).get("kind") == "timeout"
        if timed_out and latency < limit - 0.05:
            found.append(f"index {record['index']}: a timeout after {latency:.3f} of {limit:g} s")
    return found


def pauses_are_spread(run: Run) -> list[str]:
    """Retries wait for a random part of the back-off, not for nothing."""
    base = run.scenario.options.backoff
    if run.scenario.options.head:
        return []  # a GET follows a refused HEAD at once
    gaps = []
    for _, pairs in paired(run):
        for number, ((_, before), (_, after)) in enumerate(pairwise(pairs)):
            if number == run.scenario.options.retries or before is None or after is None:
                break  # the next one is a recheck
            if before.first.method == after.first.method:
                gaps.append((after.first.arrived - before.over) / 2.0**number)
    if base >= 0.05 and len(gaps) >= 6 and statistics.fmean(gaps) < base / 10:
        return [f"{len(gaps)} pauses of {statistics.fmean(gaps):.4f} s, at most {base:g} each"]
    return []


def rechecks_come_last(run: Run) -> list[str]:
    """Rechecks start --confirm-after all else is done, one at a time on each host."""
    options = run.scenario.options
    if options.confirm_after is None or run.cut_short:
        return []
    if run.scenario.engine == "native" and options.hedge_budget is not None:
        return []  # over TLS, reqwest continues cancelled requests
    checks, others = [], []
    for _, pairs in paired(run):
        plain = options.retries + 1 if not options.head else len(pairs)
        checks += [chain for _, chain in pairs[plain:] if chain is not None]
        others += [chain for _, chain in pairs[:plain] if chain is not None]
    if not checks or not others:
        return []
    first, last = min(c.first.arrived for c in checks), max(surely(c, run) for c in others)
    if first < last + options.confirm_after - _ROUND:
        return [f"{first - last:.3f} s after all else, not {options.confirm_after:g}"]
    return [
        f"two rechecks at once on {one.first.host}"
        for one in checks
        for other in checks
        if one is not other
        and one.first.host == other.first.host
        and one.first.arrived <= other.first.arrived < surely(one, run)
        and not any(leads_on(r) for r in one.requests)
    ]


def nothing_starts_after_the_end(run: Run) -> list[str]:
    """After the deadline or Ctrl-C no request starts."""
    ends = [] if run.signalled is None else [run.signalled]
    deadline = run.scenario.options.deadline
    if deadline is not None and run.log.requests:
        ends.append(run.log.requests[0].arrived + deadline)
    if not ends:
        return []
    until = min(ends) + _STILL + run.log.noise
    late = [request for request in run.log.requests if request.arrived > until]
    if not late:
        return []
    return [f"{len(late)} requests, the last {late[-1].arrived - min(ends):.3f} s late"]


def ends_in_time(run: Run) -> list[str]:
    """The end comes within a bounded time after the deadline, a signal, or the last response."""
    options, found = run.scenario.options, []
    ends = [request.ended or run.finished for request in run.log.requests]
    last = max(ends, default=run.started + _STARTUP)
    if run.signalled is not None and run.finished - run.signalled > _ENDING + run.log.noise:
        found.append(f"{run.finished - run.signalled:.3f} s after Ctrl-C")
    elapsed = run.summary.get("elapsed_s", 0.0)
    if options.deadline is not None and elapsed > options.deadline + _ENDING + run.log.noise:
        found.append(f"{elapsed} s with a deadline of {options.deadline:g}")
    pauses = options.timeout if options.timeout < 1 else 0.0
    if (
        run.finished - last
        > _ENDING
        + pauses
        + 2.0**options.retries * options.backoff
        + (options.confirm_after or 0.0)
        + 2.5
        + run.log.noise
    ):
        found.append(f"{run.finished - last:.3f} s after the last response")
    return found


ALL = (
    latency_is_network_time,
    timings_fit,
    timeouts_kept,
    pauses_are_spread,
    rechecks_come_last,
    nothing_starts_after_the_end,
    ends_in_time,
)
