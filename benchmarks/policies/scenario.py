"""The nouns of a simulated run: its servers, its list and its options.

Seconds are floats, sizes are bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

REDIRECTS = frozenset({301, 302, 303, 307, 308})
THROTTLES = frozenset({429, 503})
WINDOW = 5_000  # the program's default


class End(StrEnum):
    """How the server ends a response."""

    WHOLE = "whole"
    RESET = "reset"  # before the head
    CLOSED = "closed"  # before the head
    BROKEN = "broken"  # reset inside the body
    CUT = "cut"  # closed inside the body
    GONE = "gone"  # the client went away; never scripted


class After(StrEnum):
    """What the server does with the connection after a whole response."""

    KEEP = "keep"
    ANNOUNCED = "announced"  # Connection: close, and closed
    SILENT = "silent"  # closed without notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One response of a script.

    `delay` passes before the head (or before the connection ends without one), `drip` while
    the body is sent. `retry_after` is in whole seconds, sent as an HTTP date with `as_date`.
    `leads_to` is the hop that a redirect's Location names, absolutely or as a relative path.
    """

    status: int = 200
    delay: float = 0.0
    size: int = 5
    drip: float = 0.0
    chunked: bool = False
    end: End = End.WHOLE
    after: After = After.KEEP
    retry_after: int | None = None
    as_date: bool = False
    leads_to: int | None = None
    relative: bool = False
    challenge: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One listening address: a loopback address, with TLS or without, open or refusing."""

    host: str
    tls: bool = False
    refuses: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One URL: its origin, and its responses in order; the last one repeats."""

    origin: int
    script: tuple[Reply, ...] = (Reply(),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The URL of an entry: its first hop, and the hops that redirects lead to."""

    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the list: a page's URL, or `text` verbatim. `shout` writes the scheme as HTTP://."""

    page: int | None = None
    text: str = ""
    valid: bool = True  # False for text that becomes a record `invalid`
    shout: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The entry of a line: its index among the records, its 1-based line, its page if valid."""

    index: int
    line: int
    page: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupt:
    """Ctrl-C, some seconds after a number of requests have arrived."""

    requests: int
    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line. `trust` is "cacert", "insecure" or "none"."""

    max: int = 10
    per_host: int = 10
    rate: float | None = None
    host_rate: float | None = None
    timeout: float = 10.0
    retries: int = 1
    backoff: float = 0.1
    max_wait: float = 60.0
    confirm_after: float | None = None
    hedge_budget: int | None = None  # percent
    head: bool = False
    follow: bool = True
    max_redirects: int = 10
    deadline: float | None = None
    method: str = "GET"
    accept: str = "200-399"
    fail_on: str | None = None
    warn_on: str | None = None
    max_failures: str = "0"
    repeat: bool = False
    ordered: bool = False
    trust: str = "cacert"
    lines_file: bool = False  # a second output, in JSON lines
    failed_to: bool = False
    piped: bool = False  # the list on standard input

    def arguments(self) -> list[str]:
        """Return the policies as arguments; files and engine are not included."""
        given = [
            *("--max", f"{self.max}", "--per-host", f"{self.per_host}"),
            *("--timeout", f"{self.timeout:g}", "--retries", f"{self.retries}"),
            *("--backoff", f"{self.backoff:g}", "--max-wait", f"{self.max_wait:g}"),
            *("--max-redirects", f"{self.max_redirects}", "--accept", self.accept),
            *("--max-failures", self.max_failures),
        ]
        for name in ("rate", "host_rate", "confirm_after", "deadline", "fail_on", "warn_on"):
            value = getattr(self, name)
            if value is not None:
                text = value if isinstance(value, str) else f"{value:g}"
                given += [f"--{name.replace('_', '-')}", text]
        if self.hedge_budget is not None:
            given += ["--hedge", "--hedge-budget", f"{self.hedge_budget}%"]
        if self.method != "GET":
            given += ["--method", self.method]
        flags = {
            "--head": self.head,
            "--no-follow": not self.follow,
            "--repeat": self.repeat,
            "--ordered": self.ordered,
            "--insecure": self.trust == "insecure",
        }
        return given + [flag for flag, on in flags.items() if on]

    @property
    def first_method(self) -> str:
        return "HEAD" if self.head else self.method


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One simulated run, the same for the same seed. `loop` is "asyncio" or "uvloop".

    `engine` is a value of `--engine`, or "transport": `direct` without its fast path.
    """

    seed: int
    origins: tuple[Origin, ...]
    pages: tuple[Page, ...]
    lines: tuple[Line, ...]
    options: Options = Options()
    engine: str = "direct"
    loop: str = "asyncio"
    window: int = WINDOW
    interrupt: Interrupt | None = None

    @property
    def is_direct(self) -> bool:
        """Whether the engine is `direct`, with its fast path or without."""
        return self.engine in ("direct", "transport")

    @property
    def engine_option(self) -> str:
        """The value of `--engine`."""
        return "direct" if self.is_direct else self.engine

    def entries(self) -> list[Entry]:
        """Return the entries of the list: one for each expected record."""
        return list(self._entries())

    @property
    def duplicates(self) -> int:
        """The number of entries whose page came earlier, and which are not requested again."""
        if self.options.repeat:
            return 0
        named = [line.page for line in self.lines if line.page is not None]
        return len(named) - len(set(named))

    def _entries(self) -> Iterator[Entry]:
        seen: set[int] = set()
        index = 0
        for number, line in enumerate(self.lines, 1):
            if line.page is not None:
                if line.page in seen and not self.options.repeat:
                    continue
                seen.add(line.page)
            elif line.valid:
                continue  # a comment, or empty
            yield Entry(index=index, line=number, page=line.page)
            index += 1

    def host(self, page: int) -> str:
        return self.origins[self.pages[page].hops[0].origin].host
