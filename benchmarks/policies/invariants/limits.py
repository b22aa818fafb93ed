"""Concurrency, connections, rates and pauses as the server sees them."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from benchmarks.policies.chains import chains, late, overlapping
from benchmarks.policies.invariants.attempts import records_by_page
from benchmarks.policies.log import Request
from benchmarks.policies.program import Run
from benchmarks.policies.scenario import THROTTLES, End

_CATCH_UP = 0.05  # seconds of starts that the program may make up for
_ON_THE_WAY = 0.06  # seconds between the start of a request and its arrival
_IN_FLIGHT = 0.05  # seconds in which requests that started before a pause still arrive
_SURE = 0.02
# reqwest reports no phases, and loads the system's authorities during its first handshake.
_UNREPORTED = 0.5


def total_concurrency(run: Run) -> list[str]:
    """Never more requests in flight than --max."""
    most, when = _most(_flights(run.log.requests, run))
    limit = run.scenario.options.max
    return [f"{most} in flight {_since(run, when)}, at most {limit}"] if most > limit else []


def host_concurrency(run: Run) -> list[str]:
    """Never more requests in flight on a host than --per-host, whatever the port."""
    found = []
    limit = run.scenario.options.per_host
    for host, requests in run.log.by_host().items():
        most, when = _most(_flights(requests, run))
        if most > limit:
            found.append(f"{most} in flight on {host} {_since(run, when)}, at most {limit}")
    return found


def total_connections(run: Run) -> list[str]:
    """Never more connections open than --max, idle ones included."""
    if not run.scenario.is_direct:
        return []
    most, when = _most(_lives(run, None))
    limit = run.scenario.options.max
    return [f"{most} connections {_since(run, when)}, at most {limit}"] if most > limit else []


def host_connections(run: Run) -> list[str]:
    """Never more connections open to a host than --per-host, idle ones included."""
    if not run.scenario.is_direct:
        return []
    found = []
    limit = run.scenario.options.per_host
    for host in {connection.host for connection in run.log.connections}:
        most, when = _most(_lives(run, host))
        if most > limit:
            found.append(f"{most} connections to {host} {_since(run, when)}, at most {limit}")
    return found


def total_rate(run: Run) -> list[str]:
    """Never more starts than --rate allows, over any stretch of time."""
    rate = run.scenario.options.rate
    return [] if rate is None else _over(run.log.requests, rate, run, "in all")


def host_rate(run: Run) -> list[str]:
    """Never more starts on a host than --host-rate allows, over any stretch of time."""
    rate = run.scenario.options.host_rate
    if rate is None:
        return []
    by_host = run.log.by_host().items()
    return [one for host, requests in by_host for one in _over(requests, rate, run, f"on {host}")]


def pauses_kept(run: Run) -> list[str]:
    """No request starts on a throttling host before its Retry-After is over."""
    found = []
    doubled = _doubled(run)  # the response of a hedge may not have counted
    begun = _begun(run)
    for host, requests in run.log.by_host().items():
        for throttled in requests:
            if throttled.page in doubled or not _requires_pause(throttled, run):
                continue
            assert throttled.ended is not None
            assert throttled.retry_after is not None
            begin = throttled.ended + _IN_FLIGHT + run.log.noise
            until = throttled.ended + throttled.retry_after - _SURE
            # Begun at the earliest after the response was known, at the latest when it arrived.
            early = [one for one in requests if begin < begun[id(one)] and one.arrived < until]
            if early:
                after = early[0].arrived - throttled.ended
                found.append(
                    f"{len(early)} requests to {host} in a pause of {throttled.retry_after:.2f} s, "
                    f"the first after {after:.3f} s (page {early[0].page}, hop {early[0].hop})"
                )
    return found


def _requires_pause(request: Request, run: Run) -> bool:
    """Whether a response required a pause that the options allow."""
    wait = request.retry_after
    throttles = request.end is End.WHOLE and request.reply.status in THROTTLES
    return throttles and wait is not None and wait <= run.scenario.options.max_wait


def throttled_hosts_get_half(run: Run) -> list[str]:
    """After a 429 or 503 a host gets half as many requests at once, until one of those succeeds."""
    options, found = run.scenario.options, []
    half = max(1, min(options.per_host, options.max) // 2)
    doubled, begun = _doubled(run), _begun(run)
    for host, requests in run.log.by_host().items():
        plain = [one for one in requests if one.page not in doubled]
        cuts = [one for one in plain if one.reply.status in THROTTLES and one.end is End.WHOLE]
        if not cuts:
            continue
        cut = min(one.ended or 0.0 for one in cuts)
        after = [one.ended or run.finished for one in requests if one.arrived > cut]
        until = min(after, default=0.0)  # a good one may give the host one more
        sure = cut + _IN_FLIGHT + run.log.noise
        later = [one for one in plain if begun[id(one)] > sure]
        flights = _flights(plain, run)
        for one in later:
            live = sum(begin <= one.arrived < end for begin, end in flights)
            if one.arrived < until and live > half:
                found.append(f"{live} in flight on {host} after {cuts[0].reply.status}, not {half}")
                break
    return found


def _begun(run: Run) -> dict[int, float]:
    """Return when each request began at the earliest, which is before it arrived.

    The first request of a page began as recorded: TLS is loaded while it waits. Others may
    have had to connect, which takes a program that is short of processor time a while.
    """
    connecting = _connecting(run)
    found = {id(one): one.arrived - (0.0 if one.turn else connecting) for one in run.log.requests}
    seen = run.log.by_page()
    for page, records in records_by_page(run).items():
        text = records[0]["timestamp"]
        if len(records) == 1 and text is not None and page in seen:
            first = seen[page][0]
            started = datetime.fromisoformat(text).timestamp() + run.log.epoch
            found[id(first)] = min(started, first.arrived)
    return found


def _connecting(run: Run) -> float:
    """Return the seconds that the slowest connection took, at most."""
    if run.scenario.engine == "native":
        return _UNREPORTED
    phases = [record["timings_ms"] for record in run.records]
    return max(((one["connect"] or 0.0) + (one["tls"] or 0.0) for one in phases), default=0) / 1000


def _doubled(run: Run) -> set[int]:
    """Return the pages of which two requests were in flight together, for client or server."""
    doubled = {page for page, seen in run.log.by_page().items() if overlapping(chains(seen), run)}
    records = records_by_page(run).items()
    return doubled | {page for page, some in records if any(one["hedged"] for one in some)}


def _flights(requests: Iterable[Request], run: Run) -> list[tuple[float, float]]:
    """Return the time span in which each request was certainly in flight for the client too.

    Over TLS, reqwest continues cancelled requests: those are left out.
    """
    lives_on = _doubled(run) if run.scenario.engine == "native" else set()
    return [
        (one.arrived, one.ended - (late(run) if one.end is End.GONE else 0.0))
        for one in requests
        if one.ended is not None and one.page not in lives_on
    ]


def _lives(run: Run, host: str | None) -> list[tuple[float, float]]:
    return [
        (one.opened, (one.closed or run.finished) - late(run))
        for one in run.log.connections
        if host is None or one.host == host
    ]


def _most(spans: Sequence[tuple[float, float]]) -> tuple[int, float]:
    """Return the greatest number of spans that overlap, and when."""
    events = [(begin, 1) for begin, end in spans if end > begin]
    events += [(end, -1) for begin, end in spans if end > begin]
    most, when, now = 0, 0.0, 0
    for time, step in sorted(events):
        now += step
        if now > most:
            most, when = now, time
    return most, when


def _over(requests: Sequence[Request], rate: float, run: Run, where: str) -> list[str]:
    """Return the time span with too many starts, if there is one."""
    tolerance = _CATCH_UP + _ON_THE_WAY + _connecting(run) + run.log.noise
    begun = _begun(run)
    starts = sorted(begun[id(one)] for one in requests)
    least, since = float("inf"), 0
    for number, start in enumerate(starts):
        credit = number - rate * start
        if credit < least:
            least, since = credit, number
        if credit - least > rate * tolerance:
            span, count = start - starts[since], number - since + 1
            return [f"{count} requests {where} within {span:.3f} s, at {rate:g} a second"]
    return []


def _since(run: Run, when: float) -> str:
    return f"{when - run.started:.3f} s after the start"


ALL = (
    total_concurrency,
    host_concurrency,
    total_connections,
    host_connections,
    total_rate,
    host_rate,
    pauses_kept,
    throttled_hosts_get_half,
)
