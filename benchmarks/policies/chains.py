"""The server's log -> the chain of requests of each attempt, matched with the records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.policies.log import Request
from benchmarks.policies.program import Run
from benchmarks.policies.rules import IDEMPOTENT, Attempt, attempts
from benchmarks.policies.scenario import REDIRECTS, End, Scenario

_BY_END: dict[End | None, frozenset[str | int]] = {
    End.GONE: frozenset({"timeout"}),
    None: frozenset({"timeout"}),
    End.RESET: frozenset({"reset"}),
    End.CLOSED: frozenset({"disconnected"}),
    End.BROKEN: frozenset({"reset"}),
    End.CUT: frozenset({"body_incomplete"}),
}
# httpx and reqwest cannot tell a reset from a close in every case.
_ALSO: dict[End | None, frozenset[str | int]] = {
    End.RESET: frozenset({"disconnected"}),
    End.CLOSED: frozenset({"reset"}),
    End.BROKEN: frozenset({"body_incomplete"}),
    End.CUT: frozenset({"reset"}),
}
_UNSEEN = frozenset({"reset", "disconnected", "protocol"})  # on a kept connection that was closed
_CLOSE_TO = 0.1  # seconds before its timeout in which a request may end either way
_LATE = 0.03  # seconds by which the server may be late to see that a client left
_LIVES_ON = 0.4  # the same with native: over TLS, reqwest continues cancelled requests


@dataclass(slots=True)
class Chain:
    """The requests of one attempt: the first hop, and the hops of its redirects.

    With `infers_kept` the program may take a new connection for a kept one.
    """

    requests: list[Request]
    infers_kept: bool = False

    @property
    def first(self) -> Request:
        return self.requests[0]

    @property
    def last(self) -> Request:
        return self.requests[-1]

    @property
    def hops(self) -> list[Request]:
        """The redirects whose responses were complete."""
        return [request for request in self.requests if leads_on(request)]

    @property
    def over(self) -> float:
        return self.first.arrived if self.last.ended is None else self.last.ended

    @property
    def resent(self) -> bool:
        """Whether the program may have sent the last request again, without counting it.

        It does if a kept connection ended before any byte of the response.
        """
        last = self.last
        died = last.end in (End.RESET, End.CLOSED) and (last.turn > 0 or self.infers_kept)
        return died and last.method in IDEMPOTENT


def leads_on(request: Request) -> bool:
    """Whether the response is a redirect to another hop."""
    reply = request.reply
    return request.end is End.WHOLE and reply.leads_to is not None and reply.status in REDIRECTS


def chains(requests: Sequence[Request], *, infers_kept: bool = False) -> list[Chain]:
    """Return the attempts on one page as the server saw them, in the order of their start."""
    found: list[Chain] = []
    for request in requests:
        before = [chain for chain in found if _continues(chain, request)]
        if before:
            max(before, key=lambda chain: chain.over).requests.append(request)
        else:
            found.append(Chain([request], infers_kept))
    return found


def _continues(chain: Chain, request: Request) -> bool:
    last = chain.last
    if last.ended is None or last.ended > request.arrived:
        return False
    if leads_on(last) and last.reply.leads_to == request.hop:
        # Back to the first hop only with another method: otherwise it would be a loop.
        return request.hop > 0 or request.method != chain.first.method
    return request.hop > 0 and last.hop == request.hop and chain.resent


def expected(chain: Chain, run: Run) -> frozenset[str | int]:
    """Return the ways in which an attempt with these responses may end."""
    scenario, last = run.scenario, chain.last
    options = scenario.options
    if last.end is not End.WHOLE:
        also = frozenset() if scenario.is_direct else _ALSO.get(last.end, frozenset())
        return _BY_END[last.end] | also
    late: frozenset[str | int] = frozenset()
    if chain.over - chain.first.arrived > options.timeout - _CLOSE_TO:
        late = frozenset({"timeout"})
    if not options.follow or last.reply.leads_to is None or last.reply.status not in REDIRECTS:
        return late | {last.reply.status}
    if _requested_before(chain):
        return late | {"redirect_loop"}
    if len(chain.hops) > options.max_redirects:
        return late | {"too_many_redirects"}
    unseen = unseen_hop(scenario, last.page, last.reply.leads_to)
    if unseen is not None:
        return late | {unseen}
    return late | (frozenset() if scenario.is_direct else _UNSEEN)


def unseen_hop(scenario: Scenario, page: int, hop: int) -> str | None:
    """Return the error kind of a URL whose requests never reach the server, None for others."""
    origin = scenario.origins[scenario.pages[page].hops[hop].origin]
    if origin.refuses:
        return "connect_refused"
    return "tls_untrusted" if origin.tls and scenario.options.trust == "none" else None


def _requested_before(chain: Chain) -> bool:
    """Whether a redirect leads back to a URL with a method that it was requested with."""
    last = chain.last
    method = last.method
    if (last.reply.status == 303 and method != "HEAD") or (
        last.reply.status in (301, 302) and method == "POST"
    ):
        method = "GET"
    return (last.reply.leads_to, method) in {(one.hop, one.method) for one in chain.requests}


def late(run: Run) -> float:
    """Return by how many seconds the server may be late to see that the client left."""
    return run.log.noise + (_LIVES_ON if run.scenario.engine == "native" else _LATE)


def surely(chain: Chain, run: Run) -> float:
    """Return until when the client certainly waited for an attempt."""
    return chain.over - late(run) if chain.last.end is End.GONE else chain.over


def overlapping(found: Sequence[Chain], run: Run) -> list[Chain]:
    """Return the chains that began while an earlier one of the same page was in flight."""
    return [
        chain
        for number, chain in enumerate(found)
        if any(chain.first.arrived < surely(earlier, run) for earlier in found[:number])
    ]


Pairs = list[tuple[Attempt, Chain | None]]


def match(record: Mapping[str, Any], found: Sequence[Chain], run: Run) -> Pairs | None:
    """Pair each attempt of a record with the chain it came from, in order; None if none fits."""
    spare = 2 if run.cut_short else 0  # chains of an attempt that the end of the run cut off
    return _match(attempts(record), list(found), run, spare)


def _match(recorded: list[Attempt], found: list[Chain], run: Run, spare: int) -> Pairs | None:
    if not recorded:
        left = len(found) - bool(found and found[-1].resent)
        return [] if left <= spare else None
    attempt, rest = recorded[0], recorded[1:]
    if found:
        chain = found[0]
        if chain.first.method == attempt.method and attempt.ended in expected(chain, run):
            pairs = _match(rest, found[1:], run, spare)
            if pairs is not None:
                return [(attempt, chain), *pairs]
        if chain.resent and len(found) > 1:
            both = Chain([*chain.requests, *found[1].requests], chain.infers_kept)
            if (pairs := _match(recorded, [both, *found[2:]], run, spare)) is not None:
                return pairs
    if not run.scenario.is_direct and attempt.kind in _UNSEEN:
        pairs = _match(rest, found, run, spare)
        if pairs is not None:
            return [(attempt, None), *pairs]
    return None
