"""Faults to plant in the program, by name: each must be found by some invariant.

They change the program's functions inside its process, before it runs. If a name or a line
no longer exists, planting raises, so that no fault is silently left out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.policies import alter
from benchmarks.policies.planting import every


@dataclass(frozen=True, slots=True)
class Plant:
    """A fault, and the invariants of which at least one must find it.

    It is hunted with `engine`, or if that is None with the one of each seed.
    """

    apply: Callable[[], None]
    suspects: tuple[str, ...]
    engine: str | None = None


_LANES = "crawler.engine.lanes:Lanes"
_PLAIN = "crawler.engine.plainattempt:PlainAttempt"
_RETRY = "crawler.core.retry"
_SEMANTICS = "crawler.core.semantics"

PLANTS: dict[str, Plant] = {
    "one request more than --max": Plant(
        alter.limits(max=lambda limits: limits.max + 1), ("total_concurrency",)
    ),
    "one request more on a host than --per-host": Plant(
        alter.limits(per_host=lambda limits: limits.per_host + 1), ("host_concurrency",)
    ),
    "--per-host ignored": Plant(
        alter.limits(per_host=lambda limits: limits.max), ("host_concurrency",)
    ),
    "one retry too many": Plant(
        alter.limits(retries=lambda limits: limits.retries + 1),
        (
            "attempts_as_counted",
            "retries_by_the_rules",
        ),
    ),
    "one retry too few": Plant(
        alter.limits(retries=lambda limits: max(0, limits.retries - 1)), ("retries_by_the_rules",)
    ),
    "no recheck": Plant(alter.limits(confirm_after=lambda _: None), ("retries_by_the_rules",)),
    "the recheck without its delay": Plant(
        alter.limits(confirm_after=lambda limits: None if limits.confirm_after is None else 0.0),
        ("rechecks_come_last",),
    ),
    "two rechecks": Plant(
        alter.code(
            "crawler.engine.visit:Visit.next",
            (
                "if self.is_recheck:",
                "if self.is_recheck and len(self.earlier) > limits.retries + 1:",
            ),
        ),
        (
            "attempts_as_counted",
            "retries_by_the_rules",
        ),
    ),
    "rechecks all at once": Plant(
        alter.value(f"{_LANES}.one_at_a_time", alter.doing_nothing), ("rechecks_come_last",)
    ),
    "--rate ignored": Plant(alter.limits(rate=lambda _: None), ("total_rate",)),
    "--host-rate ignored": Plant(alter.limits(host_rate=lambda _: None), ("host_rate",)),
    "rates ignored for retries": Plant(
        alter.code(
            f"{_LANES}._start",
            ("if self._paced:", "if self._paced and not getattr(entry, 'earlier', ()):"),
        ),
        ("total_rate", "host_rate"),
    ),
    "Retry-After ignored": Plant(
        alter.value(f"{_LANES}.pause_host", alter.doing_nothing), ("pauses_kept",)
    ),
    "--max-wait ignored": Plant(alter.limits(max_wait=lambda _: 1000.0), ("retries_by_the_rules",)),
    "redirects beyond --rate": Plant(
        alter.code(
            f"{_LANES}.transfer",
            ("if self._rate is not None and self._rate.due > now:", "if False:"),
            ("self._count_start(lane, now)", "pass"),
        ),
        ("total_rate",),
    ),
    "redirects during the pause of a host": Plant(
        alter.code(f"{_LANES}.transfer", ("if lane.due > now:", "if False:")), ("pauses_kept",)
    ),
    "redirects beyond the slots of a host": Plant(
        alter.code(
            f"{_LANES}.transfer",
            ("elif lane.urgent or lane.in_use >= lane.slots:", "elif False:"),
        ),
        ("host_concurrency",),
    ),
    "redirects of the fast path start at once": Plant(
        alter.code(
            f"{_PLAIN}._follow",
            ("elif self._flight.try_hop(host):", "elif self._flight.try_hop(host) or True:"),
        ),
        ("total_rate", "host_rate", "host_concurrency", "pauses_kept"),
        engine="direct",
    ),
    "redirects of the fast path lose their hops": Plant(
        alter.code(f"{_PLAIN}._next_request", ("self.begin_request()", "self.chain.hops = ()")),
        ("response_as_scripted",),
        engine="direct",
    ),
    "the fast path has no timeout": Plant(
        alter.value(f"{_PLAIN}.expire", alter.doing_nothing), ("timeouts_kept",), engine="direct"
    ),
    "the fast path keeps the slots of hosts": Plant(
        alter.code(
            "crawler.engine.schedule:Scheduler._attempt_ended", ("flight.release_host()", "pass")
        ),
        ("ended_by_itself",),
        engine="direct",
    ),
    "throttled hosts not slowed down": Plant(
        alter.value("crawler.core.pacing:AdaptiveSlots.observe_attempt", alter.doing_nothing),
        ("throttled_hosts_get_half",),
    ),
    "every fifth check not counted": Plant(
        alter.value(
            "crawler.core.summary:Tally.count_check",
            lambda add: every(5, lambda *_: None, otherwise=add),
        ),
        ("counts_add_up",),
    ),
    "bytes of failures not counted": Plant(
        alter.code(
            "crawler.core.summary:Tally.count_check",
            (
                "self.bytes += attempt.size or 0",
                "self.bytes += (attempt.size or 0) * bool(check.ok)",
            ),
        ),
        ("summary_recomputed",),
    ),
    "the latency includes the queue": Plant(
        alter.attempts(
            lambda r: {"latency": r.attempt.latency + (r.queue or 0)} if r.attempt.latency else {}
        ),
        ("latency_is_network_time",),
    ),
    "half the latency": Plant(
        alter.attempts(
            lambda r: {"latency": r.attempt.latency / 2, "ttfb": 0.0} if r.attempt.latency else {}
        ),
        ("latency_is_network_time",),
    ),
    "the budget of hedges ignored": Plant(
        alter.value("crawler.core.hedge:HedgeQuota.allows", lambda _: property(lambda _self: True)),
        ("hedges_within_budget",),
    ),
    "hedged not set": Plant(
        alter.results(lambda r: replace(r, hedged=False)), ("hedges_are_recorded",)
    ),
    "every seventh record lost": Plant(
        alter.results(every(7, lambda _: None)), ("one_record_per_entry",)
    ),
    "every ninth record twice": Plant(
        alter.results(every(9, lambda result: [result, result])), ("one_record_per_entry",)
    ),
    "records of open requests lost at the end": Plant(
        alter.code("crawler.engine.intake:Pending.emit_all", ("sorted(self._owed.items())", "()")),
        ("one_record_per_entry",),
    ),
    "POST retried": Plant(
        alter.value(
            f"{_SEMANTICS}:IDEMPOTENT_METHODS", lambda methods: methods | {"POST", "PATCH"}
        ),
        ("sent_once",),
    ),
    "404 retried": Plant(
        alter.value(f"{_SEMANTICS}:TRANSIENT_STATUSES", lambda statuses: statuses | {404}),
        ("retries_by_the_rules",),
    ),
    "503 not retried": Plant(
        alter.value(f"{_SEMANTICS}:TRANSIENT_STATUSES", lambda statuses: statuses - {503}),
        ("retries_by_the_rules",),
    ),
    "resets not retried": Plant(
        alter.value(
            f"{_RETRY}:TRANSIENT_KINDS",
            lambda kinds: {kind for kind in kinds if kind.value != "reset"},
        ),
        ("retries_by_the_rules",),
    ),
    "no back-off": Plant(
        alter.value(f"{_RETRY}:backoff_delay", alter.returning(0.0)), ("pauses_are_spread",)
    ),
    "no GET if HEAD is refused": Plant(
        alter.value(f"{_RETRY}:refuses_head", alter.returning(False)), ("retries_by_the_rules",)
    ),
    "one attempt too many counted after a retry": Plant(
        alter.results(lambda r: replace(r, earlier=(*r.earlier, *r.earlier[:1]))),
        ("attempts_as_counted",),
    ),
    "the first retry not recorded": Plant(
        alter.results(lambda r: replace(r, earlier=r.earlier[1:])),
        ("attempts_as_counted", "attempts_as_the_server_saw"),
    ),
    "flaky not set": Plant(
        alter.results(lambda r: replace(r, flaky=False)), ("flaky_only_on_a_recheck",)
    ),
    "flaky after any retry": Plant(
        alter.results(
            lambda r: replace(r, flaky=bool(r.earlier)) if r.outcome.value == "responded" else r
        ),
        ("flaky_only_on_a_recheck",),
    ),
    "exit code 0 for failures": Plant(alter.exit_code({1: 0}), ("exit_code_by_the_rules",)),
    "exit code 0 for an incomplete run": Plant(
        alter.exit_code({3: 0}), ("exit_code_by_the_rules",)
    ),
    "exit code 1 for an interrupted run": Plant(
        alter.exit_code({130: 1}), ("exit_code_by_the_rules",)
    ),
    "--max-failures off by one": Plant(
        alter.code(
            "crawler.core.summary:Tolerance.covers",
            ("failures <= self.count", "failures < self.count"),
        ),
        ("exit_code_by_the_rules",),
    ),
    "--deadline ignored": Plant(
        alter.limits(deadline=lambda _: None),
        (
            "nothing_starts_after_the_end",
            "ends_in_time",
        ),
    ),
    "a timeout of 0.4 s too long": Plant(
        alter.code(
            "crawler.engine.timeouts:AttemptTimeouts.__init__",
            ("self._seconds = seconds", "self._seconds = seconds + 0.4"),
        ),
        ("timeouts_kept",),
    ),
    "one redirect too many": Plant(
        alter.code(
            "crawler.engine.chain:Chain.follow",
            (
                "len(self.hops) == self._limits.max_redirects",
                "len(self.hops) == self._limits.max_redirects + 1",
            ),
        ),
        ("attempts_as_the_server_saw",),
    ),
    "a body cut short passes": Plant(
        alter.results(alter.ignoring_cut_bodies), ("attempts_as_the_server_saw",)
    ),
    "one byte too many": Plant(
        alter.attempts(lambda r: {"size": r.attempt.size + 1} if r.attempt.size else {}),
        ("response_as_scripted",),
    ),
    "the last hop not recorded": Plant(
        alter.attempts(lambda r: {"redirects": r.attempt.redirects[:-1]}), ("response_as_scripted",)
    ),
    "duplicates requested again": Plant(
        alter.value(
            "crawler.core.urllist:UrlList.__init__",
            lambda init: lambda self, **given: init(self, **{**given, "memory": 0}),
        ),
        ("one_record_per_entry",),
    ),
    "--ordered ignored": Plant(
        alter.value(
            "crawler.report.sinks:Ordered.accept",
            lambda _: lambda self, check: self._sink.accept(check),
        ),
        ("outputs_agree",),
    ),
}
