"""The options: type, group and text of the help, conversion. Defaults are the command's."""

from typing import Annotated, Any

import typer

from crawler.cli import values
from crawler.cli.declare import flag, print_version, secret, value
from crawler.core import expect, semantics, units
from crawler.core.summary import Tolerance
from crawler.engine.transports.settings import Engine
from crawler.models import Classes, Expectation
from crawler.report import formats

INPUT, VERDICT, REQUESTS, RATE = "Input", "Verdict", "Requests", "Concurrency and rate"
RETRIES, CONNECTIONS, OUTPUT, OTHER = "Retries", "Connections", "Output", "Other"

Targets = Annotated[list[str] | None, typer.Argument(metavar="[TARGET]...")]

# Input

Repeat = Annotated[
    bool, flag(INPUT, "Check every occurrence of a URL (no deduplication).", "--repeat")
]

# Verdict

Accept = Annotated[
    Expectation, value(VERDICT, "Status codes that count as success.", expect.parse, "RANGES")
]
FailOn = Annotated[
    Classes | None,
    value(
        VERDICT,
        "Treat these results as failures even if the status is accepted.",
        expect.classes,
        "CLASSES",
    ),
]
WarnOn = Annotated[
    Classes | None,
    value(VERDICT, "Report these as warnings, not as failures.", expect.classes, "CLASSES"),
]
MaxFailures = Annotated[
    Tolerance,
    value(
        VERDICT,
        "Exit 0 with up to this many failures (number or share).",
        values.tolerance,
        "N|N%",
    ),
]

# Requests

Timeout = Annotated[
    float,
    value(
        REQUESTS,
        "Time limit per attempt, including redirects and body.",
        values.seconds,
        "SECONDS",
    ),
]
Method = Annotated[str, value(REQUESTS, "HTTP method.", semantics.parse_method, "METHOD")]
Head = Annotated[
    bool, flag(REQUESTS, "Send HEAD first; fall back to GET if it is refused.", "--head")
]
Headers = Annotated[
    list[Any] | None,
    secret(
        REQUESTS,
        "Add a request header; @FILE reads headers from a file (repeatable).",
        values.headers,
        "'K: V'",
        "-H",
        "--header",
    ),
]
NoFollow = Annotated[
    bool,
    flag(
        REQUESTS,
        "Do not follow redirects; check the redirect response itself.",
        "--no-follow",
    ),
]
MaxRedirects = Annotated[
    int, value(REQUESTS, "Maximum number of redirects per URL.", values.count(0), "N")
]
MaxBody = Annotated[
    int,
    value(REQUESTS, "Stop reading a response body after SIZE.", units.parse_size, "SIZE"),
]

# Concurrency and rate

Max = Annotated[int, value(RATE, "Maximum number of concurrent requests.", values.count(1), "N")]
PerHost = Annotated[
    int, value(RATE, "Maximum number of concurrent requests per host.", values.count(1), "N")
]
Rate = Annotated[
    float | None, value(RATE, "Start at most R requests per second.", values.rate, "R")
]
HostRate = Annotated[
    float | None,
    value(RATE, "Start at most R requests per second on each host.", values.rate, "R"),
]
MaxWait = Annotated[
    float, value(RATE, "Honour Retry-After up to this long.", values.pause, "SECONDS")
]
Deadline = Annotated[
    float | None, value(RATE, "Time limit for the whole run.", values.seconds, "SECONDS")
]

# Retries

Retries = Annotated[
    int,
    value(RETRIES, "Number of retries after a transient failure.", values.count(0), "N"),
]
Backoff = Annotated[
    float,
    value(
        RETRIES,
        "Upper bound of the first retry delay; doubles each time.",
        values.pause,
        "SECONDS",
    ),
]
Confirm = Annotated[
    bool,
    flag(RETRIES, "Recheck transient failures once, at the end of the run.", "--confirm"),
]
ConfirmAfter = Annotated[
    float, value(RETRIES, "Delay before the recheck.", values.pause, "SECONDS")
]
Hedge = Annotated[
    bool,
    flag(RETRIES, "Send a second (hedged) request when the first one is slow.", "--hedge"),
]
HedgeBudget = Annotated[
    float, value(RETRIES, "Maximum share of hedged requests.", values.share, "N%")
]
Wait = Annotated[
    float | None,
    value(
        RETRIES,
        "Repeat the whole list until every URL passes, for at most SECONDS.",
        values.seconds,
        "SECONDS",
    ),
]

# Connections

EngineName = Annotated[
    Engine, value(CONNECTIONS, f"HTTP engine: {values.ENGINE_NAMES}.", values.engine, "NAME")
]
Http2 = Annotated[bool, flag(CONNECTIONS, "Use HTTP/2 where the server supports it.", "--http2")]
Insecure = Annotated[bool, flag(CONNECTIONS, "Do not verify TLS certificates.", "-k", "--insecure")]
Cacert = Annotated[
    str | None,
    value(
        CONNECTIONS,
        "Also trust the CA certificates in this PEM file.",
        values.authorities,
        "FILE",
    ),
]
Proxy = Annotated[
    str | None,
    value(CONNECTIONS, "Send all requests through this proxy.", values.proxy, "URL"),
]
NoProxy = Annotated[
    bool, flag(CONNECTIONS, "Ignore the proxy environment variables.", "--no-proxy")
]
BlockPrivate = Annotated[
    bool,
    flag(
        CONNECTIONS,
        "Refuse URLs that lead to private, loopback or metadata addresses.",
        "--block-private",
    ),
]

# Output

AsJson = Annotated[bool, flag(OUTPUT, "Write one JSON document instead of the table.", "--json")]
AsJsonl = Annotated[
    bool, flag(OUTPUT, "Write one JSON object per line, in completion order.", "--jsonl")
]
Output = Annotated[
    list[str] | None,
    value(
        OUTPUT,
        f"Also write results to FILE ({formats.suffixes()}; repeatable).",
        values.output,
        "FILE",
        "-o",
        "--output",
    ),
]
FailedTo = Annotated[
    str | None,
    value(
        OUTPUT,
        "Write the entries that did not pass to FILE, as a new list.",
        values.file,
        "FILE",
    ),
]
Masked = Annotated[
    list[str] | None,
    value(
        OUTPUT,
        "Also mask the value of this query parameter (repeatable).",
        values.parameter,
        "NAME",
        "--mask",
    ),
]
Ordered = Annotated[bool, flag(OUTPUT, "Write JSON results in input order.", "--ordered")]
AllRows = Annotated[bool, flag(OUTPUT, "Show all rows of the table.", "--all")]
Quiet = Annotated[
    bool,
    flag(OUTPUT, "Print nothing but errors; the exit code is the result.", "-q", "--quiet"),
]
NoProgress = Annotated[bool, flag(OUTPUT, "Do not show a progress bar.", "--no-progress")]
Verbose = Annotated[
    bool,
    flag(
        OUTPUT,
        "Print the HTTP engine and the event loop to standard error.",
        "-v",
        "--verbose",
    ),
]

# Other

Demo = Annotated[bool, flag(OTHER, "Check a built-in demo server; needs no network.", "--demo")]
Version = Annotated[
    bool,
    flag(
        OTHER,
        "Show the version and exit.",
        "--version",
        is_eager=True,
        callback=print_version,
    ),
]
