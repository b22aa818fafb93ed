"""A seed -> a scenario: a list, scripts and a combination of options, short enough to run often."""

import random
from dataclasses import replace
from typing import Any

from benchmarks.policies.scenario import (
    WINDOW,
    After,
    End,
    Hop,
    Interrupt,
    Line,
    Options,
    Origin,
    Page,
    Reply,
    Scenario,
)

ENGINES = ("direct", "transport", "httpx", "native")
LOOPS = ("asyncio", "uvloop")
THEMES = {
    "mixed": 24,
    "limits": 8,
    "rates": 14,
    "holds": 14,
    "hedges": 12,
    "rechecks": 8,
    "redirects": 8,
    "endings": 12,
    "long": 2,
}
_WIDE = ("hedges", "rates", "rechecks", "long")  # enough slots for another limit to bind
_REDIRECTED = {"redirects": 0.6, "holds": 0.3, "rates": 0.6, "long": 0.0}  # share of the pages
_INVALID = ("ftp://127.0.0.1/a", "http://", "http://[::1", "mailto:someone", "http://a b/")
_IDLE = ("", "# a comment", "   ", "\t# indented")
_FAILURES = ("404", "5xx", "timeout", "connect", "redirect", "flaky", "blocked", "reset", "429")
_GOOD, _BAD = (200, 200, 200, 201, 204, 301), (404, 410, 500, 502, 503, 504, 429, 408, 403, 405)


def scenario(seed: int, *, loop: str | None = None, engine: str | None = None) -> Scenario:
    """Return the scenario of a seed; a given loop or engine replaces the drawn one."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    drawn_engine = chance.choices(ENGINES, (4, 2, 2, 2))[0]
    drawn_loop = chance.choice(LOOPS)
    theme = chance.choices(list(THEMES), list(THEMES.values()))[0]
    made = _Draft(chance, theme, seed).scenario()
    if theme == "long" and engine is None:
        drawn_engine = "direct"  # other engines take many seconds
    return replace(made, engine=engine or drawn_engine, loop=loop or drawn_loop)


class _Draft:
    """A scenario being drawn."""

    def __init__(self, chance: random.Random, theme: str, seed: int) -> None:
        self._chance = chance
        self._theme = theme
        self._seed = seed
        self._origins = self._draw_origins()
        self._options = self._draw_options()
        self._slow = 0  # slow pages so far
        self._requires_pause = 0

    def scenario(self) -> Scenario:
        pages = tuple(self._page() for _ in range(self._count()))
        window = WINDOW if self._theme == "long" else self._chance.choice((1, 5, 20, WINDOW))
        return Scenario(
            seed=self._seed,
            origins=self._origins,
            pages=pages,
            lines=self._lines(len(pages)),
            options=self._options,
            window=window,
            interrupt=self._interrupt(len(pages)),
        )

    def _likely(self, share: float) -> bool:
        return self._chance.random() < share

    def _draw_origins(self) -> tuple[Origin, ...]:
        few = self._theme in ("holds", "rechecks", "rates")
        count = self._chance.choice((1, 2, 2, 3) if few else (1, 2, 3, 6))
        hosts = [f"127.0.0.{number}" for number in range(1, count + 1)]
        secure = self._likely(0.4)
        origins = [Origin(host=host, tls=secure and self._likely(0.5)) for host in hosts]
        if self._likely(0.4):  # more ports of one host: still one host
            more = self._chance.randrange(1, 4)
            origins += [
                Origin(host=self._chance.choice(hosts), tls=secure and self._likely(0.3))
                for _ in range(more)
            ]
        if self._likely(0.4):
            origins.append(Origin(host=self._chance.choice(hosts), refuses=True))
        return tuple(origins)

    def _draw_options(self) -> Options:
        one_of = self._chance.choice
        theme = self._theme
        drawn: dict[str, Any] = {
            "max": one_of((1, 2, 3, 5, 10, 30)) if theme not in _WIDE else 10,
            "per_host": one_of((1, 2, 3, 5, 10)) if theme not in _WIDE else 10,
            "retries": one_of((0, 1, 1, 2, 3)),
            "backoff": one_of((0.0, 0.1, 0.3, 0.3)),
            "max_wait": one_of((60.0, 2.5, 0.5)) if theme != "holds" else one_of((60.0, 2.5)),
            "accept": one_of(("200-399", "200-399", "2xx", "200-399,404", "200-299,503")),
            "max_failures": one_of(("0", "1", "2", "3", "5", "8", "30%", "100%")),
            "repeat": self._likely(0.1),
            "ordered": self._likely(0.3),
            "trust": self._chance.choices(("cacert", "insecure", "none"), (6, 2, 1))[0],
            "lines_file": self._likely(0.2),
            "failed_to": self._likely(0.2),
            "piped": self._likely(0.2),
        }
        if theme == "rates" or (theme != "long" and self._likely(0.08)):
            given = one_of(("rate", "host_rate", "both"))
            if given != "host_rate":
                drawn["rate"] = one_of((15.0, 30.0, 60.0))
            if given != "rate":
                drawn["host_rate"] = one_of((8.0, 20.0, 40.0))
        if theme == "rechecks" or self._likely(0.3):
            drawn["confirm_after"] = one_of((0.0, 0.1, 0.3))
        if theme == "hedges" or self._likely(0.1):
            drawn["hedge_budget"] = one_of((1, 3, 5, 30, 100))
        if theme == "endings":
            drawn["deadline"] = one_of((None, 0.2, 0.4, 0.7))
        drawn |= self._draw_requests()
        return Options(**drawn)

    def _draw_requests(self) -> dict[str, Any]:
        one_of = self._chance.choice
        drawn: dict[str, Any] = {"timeout": one_of((0.6, 0.9, 10.0))}
        if self._theme != "hedges" and self._likely(0.2):
            drawn["method"] = one_of(("POST", "POST", "PUT", "PATCH", "HEAD"))
        elif self._likely(0.15):
            drawn["head"] = True
        if self._theme == "redirects" or self._likely(0.2):
            drawn["max_redirects"] = one_of((0, 1, 2, 10))
            drawn["follow"] = self._likely(0.8)
        if self._likely(0.2):
            drawn["fail_on"] = ",".join(self._chance.sample(_FAILURES, 2))
        if self._likely(0.25):
            drawn["warn_on"] = ",".join(self._chance.sample(_FAILURES, 2))
        return drawn

    def _count(self) -> int:
        """Return the number of pages; rates limit how many fit a short run."""
        if self._theme == "long":
            return self._chance.randrange(WINDOW + 50, WINDOW + 400)
        if self._theme == "hedges":
            return self._chance.randrange(50, 130)
        most = self._chance.choice((0, 1, 6, 15, 30, 45))
        options = self._options
        if options.rate is not None:
            most = min(most, int(options.rate * 0.8))
        if options.host_rate is not None:
            open_hosts = {origin.host for origin in self._origins if not origin.refuses}
            most = min(most, int(options.host_rate * 0.7 * len(open_hosts)))
        if options.max == 1 or options.per_host == 1:
            most = min(most, 20)
        return most

    def _page(self) -> Page:
        hops = self._chain_length()
        origins = [self._pick_origin() for _ in range(hops + 1)]
        closed_loop = hops > 0 and self._likely(0.1)
        made = []
        for number, origin in enumerate(origins):
            last = number == hops
            script = list(self._script(first=number == 0))
            if not last:
                script[-1] = self._redirect(number + 1, origins)
            elif closed_loop:
                script[-1] = self._redirect(0, [origin, *origins])
            made.append(Hop(origin=origin, script=tuple(script)))
        return Page(hops=tuple(made))

    def _chain_length(self) -> int:
        if not self._likely(_REDIRECTED.get(self._theme, 0.08)):
            return 0
        return self._chance.choice((1, 1, 2, 3))

    def _pick_origin(self) -> int:
        while True:
            number = self._chance.randrange(len(self._origins))
            if not self._origins[number].refuses or self._likely(0.25):
                return number

    def _redirect(self, leads_to: int, origins: list[int]) -> Reply:
        here = origins[max(0, leads_to - 1)]
        near = leads_to > 0 and here == origins[leads_to]
        return Reply(
            status=self._chance.choice((301, 302, 303, 307, 308)),
            delay=self._delay(),
            size=self._chance.choice((0, 20)),
            leads_to=leads_to,
            relative=near and self._likely(0.5),
            after=self._after(),
        )

    def _script(self, *, first: bool) -> list[Reply]:
        """Return the responses of one URL in order: most are good at once, some later or never."""
        if self._theme == "long":
            return [Reply(status=self._chance.choices((200, 404), (60, 1))[0])]
        troubles = 0.5 if self._theme in ("mixed", "endings") else 0.3
        if self._theme == "hedges":
            troubles = 0.06
        lasting = 0.7 if self._theme == "rechecks" else 0.25
        script: list[Reply] = []
        while first and self._likely(troubles) and len(script) < 4:
            script.append(self._trouble())
        script.append(self._trouble() if script and self._likely(lasting) else self._good())
        return script

    def _good(self) -> Reply:
        status = self._chance.choice(_GOOD)
        delay = self._delay()
        if self._theme == "hedges" and self._likely(0.1):
            delay = self._chance.choice((0.15, 0.25, 0.4))
        return Reply(
            status=status,
            delay=delay,
            size=0 if status == 204 else self._chance.choice((0, 5, 500, 20_000)),
            drip=self._chance.choice((0.0, 0.0, 0.0, 0.05)) if status != 204 else 0.0,
            chunked=status != 204 and self._likely(0.3),
            after=self._after(),
        )

    def _trouble(self) -> Reply:
        """Return a failing response, or the end of a connection."""
        kind = self._chance.choices(
            ("status", "throttle", "end", "hang", "challenge"),
            (10, 8 if self._theme == "holds" else 2, 6, 1, 1),
        )[0]
        delay = self._delay()
        if kind == "throttle" and self._requires_pause < 3:
            self._requires_pause += 1
            seconds = self._chance.choice((0, 1, 1))
            as_date = seconds > 0 and self._likely(0.2)
            if self._options.max_wait < 30 and self._likely(0.3):
                seconds = 30  # longer than --max-wait
            return Reply(
                status=self._chance.choice((429, 503)),
                delay=delay,
                retry_after=seconds + as_date,
                as_date=as_date,
                after=self._after(),
            )
        if kind == "end":
            end = self._chance.choice((End.RESET, End.CLOSED, End.BROKEN, End.CUT))
            return Reply(delay=delay, end=end, size=self._chance.choice((20, 5_000)))
        if kind == "hang" and self._options.timeout < 1 and self._slow < 2:
            self._slow += 1
            return Reply(delay=self._options.timeout + 1.0)
        if kind == "challenge":
            return Reply(status=403, delay=delay, challenge=True)
        status = self._chance.choice(_BAD)
        return Reply(status=status, delay=delay, size=12, after=self._after())

    def _delay(self) -> float:
        if self._theme == "hedges":
            return self._chance.choice((0.005, 0.01, 0.015))
        if self._theme in ("limits", "rechecks"):
            return self._chance.choice((0.02, 0.04, 0.06))
        if self._theme == "endings" and self._likely(0.2):
            return 0.3
        return self._chance.choice((0.0, 0.0, 0.005, 0.02, 0.06, 0.12))

    def _after(self) -> After:
        return self._chance.choices(list(After), (8, 1, 1))[0]

    def _lines(self, pages: int) -> tuple[Line, ...]:
        """Return the pages in order, with duplicates, comments and invalid lines between them."""
        few = 0.01 if self._theme == "long" else 0.12
        lines: list[Line] = []
        for page in range(pages):
            lines.append(Line(page=page))
            if self._likely(few):
                lines.append(Line(text=self._chance.choice(_IDLE)))
            if self._likely(few):
                lines.append(Line(text=self._chance.choice(_INVALID), valid=False))
            if self._likely(few):
                lines.append(Line(page=self._chance.randrange(page + 1), shout=self._likely(0.5)))
        if not lines:
            lines.append(Line(text="# nothing but a comment"))
        return tuple(lines)

    def _interrupt(self, pages: int) -> Interrupt | None:
        if self._theme != "endings" or not pages or self._likely(0.5):
            return None
        return Interrupt(
            requests=self._chance.randrange(1, pages + 1),
            delay=self._chance.choice((0.0, 0.02, 0.1)),
        )
