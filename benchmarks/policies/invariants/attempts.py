"""Attempts, retries, rechecks and hedges against what the server saw of them."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from benchmarks.policies import rules
from benchmarks.policies.chains import (
    Chain,
    Pairs,
    chains,
    expected,
    match,
    overlapping,
    unseen_hop,
)
from benchmarks.policies.log import Request
from benchmarks.policies.program import Run
from benchmarks.policies.rules import Attempt
from benchmarks.policies.scenario import Options


def attempts_as_counted(run: Run) -> list[str]:
    """`attempts` is one more than `retried` has, and within the limits of the options."""
    options = run.scenario.options
    most = options.retries + 1 + (options.confirm_after is not None) + options.head
    found = []
    for record in run.records:
        recorded = len(rules.attempts(record))
        if record["attempts"] != recorded:
            found.append(
                f"index {record['index']}: attempts {record['attempts']}, recorded {recorded}"
            )
        if record["attempts"] > most:
            found.append(f"index {record['index']}: {record['attempts']} attempts, at most {most}")
    return found


def attempts_as_the_server_saw(run: Run) -> list[str]:
    """The server saw each attempt, in the same order, and each ended as its response did."""
    seen = run.log.by_page()
    found = []
    for page, records in records_by_page(run).items():
        served = chains(seen.get(page, []))
        unseen = unseen_hop(run.scenario, page, 0)
        stray = [chain for chain in served if chain.first.hop > 0]
        if stray:
            found.append(f"page {page}: hop {stray[0].first.hop} without a redirect to it")
        elif unseen is not None:
            ends = {one.ended for record in records for one in rules.attempts(record)}
            if ends - {unseen} or served:
                found.append(f"page {page}: {ends} and {len(served)} requests, not {unseen}")
        elif together(records, served, run):
            found += _loosely(page, records, served, run)
        elif match(records[0], served, run) is None and not _infers(records[0], seen[page], run):
            found.append(f"page {page}: {_recorded(records)}; the server saw {_served(served)}")
    return found


def _infers(record: dict[str, Any], seen: Sequence[Request], run: Run) -> bool:
    """Whether a request was sent again whose new connection was taken for a kept one.

    reqwest does not say which connection a request used.
    """
    if run.scenario.engine != "native":
        return False
    return match(record, chains(seen, infers_kept=True), run) is not None


def _loosely(page: int, records: list[dict[str, Any]], served: list[Chain], run: Run) -> list[str]:
    """Compare overlapping attempts with all that the server saw of the page."""
    possible = {end for chain in served for end in expected(chain, run)}
    recorded = [one for record in records for one in rules.attempts(record)]
    strange = [one.ended for one in recorded if one.ended not in possible]
    second = len(recorded) if any(record["hedged"] for record in records) else 0
    resent = sum(chain.resent for chain in served)
    spare = 2 * len(records) if run.cut_short else 0
    close = 0 if run.scenario.is_direct else len(recorded)
    if strange and close < len(recorded):
        return [f"page {page}: {strange}, which no response was"]
    if not len(recorded) - close <= len(served) <= len(recorded) + second + resent + spare:
        return [f"page {page}: {len(recorded)} attempts, the server saw {_served(served)}"]
    return []


def retries_by_the_rules(run: Run) -> list[str]:
    """Transient failures, and no others, are retried as often as the options say."""
    found = []
    for record, pairs in paired(run):
        problem = _follow(pairs, run.scenario.options, cut_short=run.cut_short)
        if problem:
            found.append(f"index {record['index']}: {problem}; {_recorded([record])}")
    return found


def flaky_only_on_a_recheck(run: Run) -> list[str]:
    """`flaky` is true if the recheck was accepted, and no attempt before it."""
    options = run.scenario.options
    found = []
    for record, pairs in paired(run):
        attempts = [attempt for attempt, _ in pairs]
        due = bool(attempts) and _rechecked(attempts, options) and _accepted(record, options)
        if record["flaky"] != due:
            found.append(
                f"index {record['index']}: flaky is {record['flaky']}; {_recorded([record])}"
            )
    return found


def sent_once(run: Run) -> list[str]:
    """A request that is not idempotent is sent at most once for each entry."""
    named = Counter(line.page for line in run.scenario.lines)
    again = run.scenario.options.repeat
    sent = Counter(
        (request.page, request.hop, request.method)
        for request in run.log.requests
        if request.method not in rules.IDEMPOTENT
    )
    return [
        f"{method} of page {page}, hop {hop}, came {count} times"
        for (page, hop, method), count in sent.items()
        if count > (named[page] if again else 1)
    ]


def hedges_within_budget(run: Run) -> list[str]:
    """Hedges are within their share of all requests, and there are none without --hedge."""
    budget = run.scenario.options.hedge_budget
    hedges = _hedges(run)
    if budget is None:
        flagged = [f"index {r['index']}: hedged" for r in run.records if r["hedged"]]
        return flagged + [f"page {page}: {count} hedged" for page, count in hedges.items()]
    unfinished = sum(record["ok"] is None for record in run.records)
    sent = sum(r["attempts"] for r in run.records) + sum(hedges.values()) + 2 * unfinished
    if run.cut_short:
        sent += run.scenario.options.max
    if sum(hedges.values()) > budget / 100 * sent + 1e-9:
        return [f"{sum(hedges.values())} hedges in {sent} requests: more than {budget}%"]
    return []


def hedges_are_recorded(run: Run) -> list[str]:
    """A record is `hedged` if the server saw two requests for one attempt."""
    hedges = _hedges(run)
    found = []
    for page, records in records_by_page(run).items():
        flagged = any(record["hedged"] for record in records)
        if hedges.get(page) and not flagged and not run.cut_short:
            found.append(f"page {page}: {hedges[page]} hedges, but not recorded as hedged")
    return found


def _hedges(run: Run) -> dict[int, int]:
    """Return the number of hedges that the server saw for each page with one entry."""
    records = records_by_page(run)
    found = {}
    for page, requests in run.log.by_page().items():
        if len(records.get(page, ())) <= 1 and (second := overlapping(chains(requests), run)):
            found[page] = len(second)
    return found


def together(records: list[dict[str, Any]], served: list[Chain], run: Run) -> bool:
    """Whether requests of a page may have been in flight together: two entries, or a hedge."""
    hedged = any(record["hedged"] for record in records)
    return len(records) > 1 or hedged or bool(overlapping(served, run))


def paired(run: Run) -> list[tuple[dict[str, Any], Pairs]]:
    """Return the records whose attempts can be distinguished, with the chain of each attempt."""
    seen = run.log.by_page()
    found = []
    for page, records in records_by_page(run).items():
        served = chains(seen.get(page, []))
        if together(records, served, run):
            continue
        if unseen_hop(run.scenario, page, 0) is not None:
            pairs: Pairs | None = [(one, None) for one in rules.attempts(records[0])]
        else:
            pairs = match(records[0], served, run)
        if pairs is not None:
            found.append((records[0], pairs))
    return found


def _follow(pairs: Pairs, options: Options, *, cut_short: bool) -> str | None:
    """Follow the attempts of one entry; return the rule that is broken, if any."""
    retries, rechecked = 0, False
    for attempt, chain in pairs[:-1]:
        if rules.refuses_head(attempt, options):
            continue
        if not rules.transient(attempt, options) or _waits_too_long(chain, options):
            return f"{attempt.ended} was retried"
        if retries < options.retries and not rechecked:
            retries += 1
        elif options.confirm_after is not None and not rechecked:
            rechecked = True
        else:
            return f"{attempt.ended} was retried once too often"
    if not pairs or cut_short:
        return None
    last, chain = pairs[-1]
    if rules.refuses_head(last, options):
        return "no GET after HEAD was refused"
    if rechecked or not rules.transient(last, options) or _waits_too_long(chain, options):
        return None
    if retries < options.retries:
        return f"{last.ended} was retried {retries} times"
    return None if options.confirm_after is None else f"{last.ended} was not rechecked"


def _waits_too_long(chain: Chain | None, options: Options) -> bool:
    wait = None if chain is None else chain.last.retry_after
    return wait is not None and wait > options.max_wait


def _rechecked(attempts: list[Attempt], options: Options) -> bool:
    if options.confirm_after is None:
        return False
    refused = sum(rules.refuses_head(one, options) for one in attempts[:-1])
    return len(attempts) - refused == options.retries + 2


def _accepted(record: dict[str, Any], options: Options) -> bool:
    responded = record["outcome"] == "responded" and record["blocked_by"] is None
    return responded and rules.within(record["status"], options.accept)


def records_by_page(run: Run) -> dict[int, list[dict[str, Any]]]:
    pages = {entry.index: entry.page for entry in run.scenario.entries()}
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for record in run.records:
        page = pages.get(record["index"])
        if page is not None:
            found[page].append(record)
    return found


def _recorded(records: list[dict[str, Any]]) -> str:
    return "recorded " + ", ".join(
        f"{one.method} {one.ended}" for record in records for one in rules.attempts(record)
    )


def _served(served: list[Chain]) -> str:
    return "; ".join(
        " -> ".join(f"{r.method} hop {r.hop} {r.reply.status} {r.end}" for r in chain.requests)
        for chain in served
    )


ALL = (
    attempts_as_counted,
    attempts_as_the_server_saw,
    retries_by_the_rules,
    flaky_only_on_a_recheck,
    sent_once,
    hedges_within_budget,
    hedges_are_recorded,
)
