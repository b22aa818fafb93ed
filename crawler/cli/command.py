"""The command line: options to a `Job`, and its exit code to exit. The only typer."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

from crawler.cli import values as options
from crawler.core import expect, faults, semantics, units
from crawler.core.display import escape, mask, safe, safe_loosely
from crawler.core.summary import ExitCode
from crawler.models import NO_CLASSES, Engine, Expectation, Limits
from crawler.report import formats
from crawler.report.formats import FORMATS, JSON, JSONL, TABLE
from crawler.version import __version__

if TYPE_CHECKING:
    from crawler.engine.transports.settings import Proxies

T = TypeVar("T")
_CONFIRM_AFTER = 5.0
_HEDGE_BUDGET = "2%"


class GroupedHelp(TyperCommand):
    """Help as plain text: options in groups, each on one line with its default."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and param.param_type_name == "option":
                group = getattr(param, "rich_help_panel", None) or OTHER
                groups.setdefault(group, []).append(record)
        width = max(len(name) for records in groups.values() for name, _ in records)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in records], width)


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def run(args: Sequence[str]) -> int:
    """Run the command line `args` and return its exit code; complaints are one line each."""
    try:
        code = app(list(args), prog_name="crawl", standalone_mode=False)
    except typer.TyperException as exc:
        say(f"{exc.format_message()} (see crawl --help)")
        return ExitCode.USAGE
    except OSError:
        return ExitCode.USAGE  # help that cannot be written: main says so
    except Exception as exc:
        say(faults.describe(exc))
        return ExitCode.USAGE
    return int(code or 0)


def say(text: str, masked: frozenset[str] = frozenset()) -> None:
    """Write one line for people to standard error, if there is one.

    `masked` are query parameters whose values are hidden, besides those known for it.
    """
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"crawl: {safe(text, masked)}", file=sys.stderr, flush=True)


LISTS, VERDICT, REQUESTS, PACE = "List", "Verdict", "Requests", "Pace"
AGAIN, CONNECTIONS, OUTPUT, OTHER = "Asking again", "Connections", "Output", "Other"


def _option(group: str, help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=group, **more)


def _value(group: str, help: str, convert: Callable[[str], Any], metavar: str, *names: str) -> Any:
    """Return an option whose complaint names the value and the rule it breaks."""

    def parse(value: Any) -> Any:
        if not isinstance(value, str):
            return value  # a default, converted already
        try:
            return convert(value)
        except ValueError as exc:
            raise typer.BadParameter(f"'{safe_loosely(value)}' {exc}") from exc

    return _option(group, help, *names, parser=parse, metavar=metavar)


def _checks(convert: Callable[[str], Any]) -> Callable[[str], str]:
    """Return a conversion that only sees whether `convert` takes a value, and keeps its text.

    For values whose default is to be shown in the help as it is written.
    """

    def check(text: str) -> str:
        convert(text)
        return text

    return check


def _version(asked: bool) -> None:
    if asked:
        print(f"crawl {__version__}")
        raise typer.Exit


@app.command(cls=GroupedHelp, context_settings={"terminal_width": 100})
def command(
    targets: Annotated[list[str] | None, typer.Argument(metavar="[TARGET]...")] = None,
    repeat: Annotated[
        bool, _option(LISTS, "Ask a URL as often as it is listed, not once.", "--repeat")
    ] = False,
    accept: Annotated[
        str, _value(VERDICT, "Statuses that pass.", _checks(expect.parse), "RANGES", "--accept")
    ] = "200-399",
    fail_on: Annotated[
        str | None,
        _value(VERDICT, "Fail for these even if they pass.", _checks(expect.classes), "CLASSES"),
    ] = None,
    warn_on: Annotated[
        str | None,
        _value(VERDICT, "Only warn of these.", _checks(expect.classes), "CLASSES", "--warn-on"),
    ] = None,
    max_failures: Annotated[
        str,
        _value(VERDICT, "So many may fail for exit code 0.", _checks(options.tolerance), "N|N%"),
    ] = "0",
    timeout: Annotated[
        float, _value(REQUESTS, "For a whole attempt.", options.seconds, "SECONDS", "--timeout")
    ] = 10,
    method: Annotated[
        str | None,
        _value(REQUESTS, "Request method (GET).", semantics.parse_method, "METHOD", "--method"),
    ] = None,
    head: Annotated[
        bool, _option(REQUESTS, "Ask with HEAD, and with GET where that is refused.", "--head")
    ] = False,
    header: Annotated[
        list[str] | None,
        _option(
            REQUESTS, "Send this header; @FILE reads some.", "-H", "--header", metavar="'K: V'"
        ),
    ] = None,
    no_follow: Annotated[
        bool, _option(REQUESTS, "Judge a redirect itself, do not follow it.", "--no-follow")
    ] = False,
    max_redirects: Annotated[
        int, _value(REQUESTS, "Redirects followed for one URL.", options.count(0), "N")
    ] = 10,
    max_body: Annotated[
        str,
        _value(REQUESTS, "Read no more of a body than this.", _checks(units.parse_size), "SIZE"),
    ] = "10MB",
    max: Annotated[int, _value(PACE, "Requests at once.", options.count(1), "N", "--max")] = 10,
    per_host: Annotated[int, _value(PACE, "The same for each host.", options.count(1), "N")] = 10,
    rate: Annotated[
        float | None, _value(PACE, "Requests per second.", options.rate, "R", "--rate")
    ] = None,
    host_rate: Annotated[
        float | None, _value(PACE, "The same for each host.", options.rate, "R")
    ] = None,
    max_wait: Annotated[
        float, _value(PACE, "Longest Retry-After to wait for.", options.pause, "SECONDS")
    ] = 60,
    deadline: Annotated[
        float | None, _value(PACE, "For the whole run.", options.seconds, "SECONDS", "--deadline")
    ] = None,
    retries: Annotated[
        int, _value(AGAIN, "After failures that may pass.", options.count(0), "N", "--retries")
    ] = 1,
    backoff: Annotated[
        float, _value(AGAIN, "Longest first pause; doubles.", options.pause, "SECONDS", "--backoff")
    ] = 0.5,
    confirm: Annotated[
        bool, _option(AGAIN, "Ask such failures once more when all is done.", "--confirm")
    ] = False,
    confirm_after: Annotated[
        float | None, _value(AGAIN, "So much later (5).", options.pause, "SECONDS")
    ] = None,
    hedge: Annotated[bool, _option(AGAIN, "Send slow requests a second time.", "--hedge")] = False,
    hedge_budget: Annotated[
        str | None, _value(AGAIN, "At most so many of all (2%).", _checks(options.share), "N%")
    ] = None,
    wait: Annotated[
        float | None,
        _value(AGAIN, "Ask all again until all pass.", options.seconds, "SECONDS", "--wait"),
    ] = None,
    engine: Annotated[
        Engine,
        _value(CONNECTIONS, f"{options.ENGINE_NAMES}.", options.engine, "NAME", "--engine"),
    ] = Engine.DIRECT,
    http2: Annotated[
        bool, _option(CONNECTIONS, "Speak HTTP/2 where the server does.", "--http2")
    ] = False,
    insecure: Annotated[
        bool, _option(CONNECTIONS, "Accept any TLS certificate.", "-k", "--insecure")
    ] = False,
    cacert: Annotated[
        str | None,
        _value(CONNECTIONS, "Trust the CAs in this PEM file too.", options.authorities, "FILE"),
    ] = None,
    proxy: Annotated[
        str | None,
        _value(CONNECTIONS, "Go through this proxy.", options.proxy, "URL", "--proxy"),
    ] = None,
    no_proxy: Annotated[
        bool, _option(CONNECTIONS, "Ignore the proxies that the environment names.", "--no-proxy")
    ] = False,
    block_private: Annotated[
        bool,
        _option(
            CONNECTIONS,
            "Refuse URLs that lead to private, loopback or metadata addresses.",
            "--block-private",
        ),
    ] = False,
    as_json: Annotated[
        bool, _option(OUTPUT, "One JSON document instead of the table.", "--json")
    ] = False,
    as_jsonl: Annotated[
        bool, _option(OUTPUT, "One JSON object per line, as URLs finish.", "--jsonl")
    ] = False,
    output: Annotated[
        list[str] | None,
        _option(
            OUTPUT,
            f"Write {formats.suffixes()} as well.",
            "-o",
            "--output",
            metavar="FILE",
        ),
    ] = None,
    failed_to: Annotated[
        str | None,
        _option(OUTPUT, "Write the lines that did not pass, as a list.", metavar="FILE"),
    ] = None,
    mask_names: Annotated[
        list[str] | None,
        _option(OUTPUT, "Hide the values of this query parameter too.", "--mask", metavar="NAME"),
    ] = None,
    ordered: Annotated[
        bool, _option(OUTPUT, "JSON results in the order of the list.", "--ordered")
    ] = False,
    everything: Annotated[
        bool, _option(OUTPUT, "Show every row of the table, however many.", "--all")
    ] = False,
    quiet: Annotated[
        bool, _option(OUTPUT, "No table, no progress: the exit code tells.", "-q", "--quiet")
    ] = False,
    no_progress: Annotated[bool, _option(OUTPUT, "No progress bar.", "--no-progress")] = False,
    verbose: Annotated[
        bool, _option(OUTPUT, "Say on standard error what the run uses.", "-v", "--verbose")
    ] = False,
    demo: Annotated[
        bool, _option(OTHER, "Crawl a small server made for it; needs no network.", "--demo")
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback has answered by now
        bool,
        _option(OTHER, "Show the version and exit.", "--version", is_eager=True, callback=_version),
    ] = False,
) -> int:
    """Check which URLs of a list work, many at once.

    A TARGET is a file with a URL on each line, a URL (anything with ://), or - for
    standard input, which is also read when it is a pipe and no TARGET is given.
    """
    from crawler.app import job
    from crawler.app.opening import StartError
    from crawler.app.settings import Settings
    from crawler.engine.transports import engine_for
    from crawler.engine.transports.settings import ConnectionSettings
    from crawler.report.outputs import OutputSettings
    from crawler.system import loop as process
    from crawler.system.threads import NoThreadError

    if as_json and as_jsonl:
        raise typer.BadParameter("--json and --jsonl exclude each other")
    if head and method is not None:
        raise typer.BadParameter("--head and --method exclude each other")
    stdout = JSON if as_json else JSONL if as_jsonl else None if quiet else TABLE
    connecting = ConnectionSettings(
        engine=engine,
        http2=http2,
        verify=not insecure,
        cacert=cacert,
        proxies=_proxies(proxy, no_proxy, quiet),
        block_private=block_private,
    )
    chosen = _checked(engine_for, connecting, hint="'--http2'" if http2 else "'--engine'")
    masked = frozenset(
        _checked(options.parameter, name, hint="'--mask'") for name in mask_names or ()
    )
    complain = partial(say, masked=masked)
    settings = Settings(
        targets=_targets(targets or [], demo),
        limits=Limits(
            max=max,
            per_host=per_host,
            rate=rate,
            host_rate=host_rate,
            timeout=timeout,
            deadline=deadline,
            retries=retries,
            backoff=backoff,
            max_wait=max_wait,
            confirm_after=_CONFIRM_AFTER if confirm and confirm_after is None else confirm_after,
            hedge_budget=options.share(hedge_budget or _HEDGE_BUDGET)
            if hedge or hedge_budget
            else 0.0,
            head_first=head,
            follow=not no_follow,
            max_redirects=max_redirects,
            max_body=units.parse_size(max_body),
        ),
        connections=connecting,
        expectation=_expectation(accept, fail_on, warn_on),
        method="HEAD" if head else method or "GET",
        headers=_checked(options.headers, header or (), hint="'-H'"),
        repeat=repeat,
        masked=masked,
        outputs=OutputSettings(
            stdout=stdout,
            files=tuple(_checked(options.output, path, hint="'-o'") for path in output or ()),
            failed_to=None
            if failed_to is None
            else _checked(options.file, failed_to, hint="'--failed-to'"),
            ordered=ordered,
            all_rows=everything,
        ),
        wait=wait,
        tolerated=options.tolerance(max_failures),
        progress=not (quiet or no_progress) and _has_room_for_a_bar(stdout),
        closing_line=not quiet and stdout in FORMATS and _is_terminal(sys.stderr),
        demo=demo,
    )
    if not insecure:
        _checked(_check_certificate_variables, hint="environment")
    try:
        return process.run_on_a_loop(
            job.execute(settings, complain), complain, chosen, verbose=verbose
        )
    except (StartError, NoThreadError, OSError) as exc:
        complain(str(exc))
    except Exception as exc:
        complain(faults.describe(exc))
        for line in "".join(traceback.format_exception(exc)).splitlines() if verbose else ():
            complain(line)
    return ExitCode.USAGE


def _checked(convert: Callable[..., T], *values: Any, hint: str) -> T:
    """Convert; what is wrong is complained of like any other bad value of an option."""
    try:
        return convert(*values)
    except ValueError as exc:
        shown = "".join(f"'{escape(value)}' " for value in values if isinstance(value, str))
        raise typer.BadParameter(f"{shown}{exc}", param_hint=hint) from exc


def _expectation(accept: str, fail_on: str | None, warn_on: str | None) -> Expectation:
    return replace(
        expect.parse(accept),
        fail_on=expect.classes(fail_on) if fail_on else NO_CLASSES,
        warn_on=expect.classes(warn_on) if warn_on else NO_CLASSES,
    )


def _targets(given: list[str], demo: bool) -> tuple[str, ...]:
    """Return what is to be read; raise Exit or BadParameter where there is nothing."""
    if demo:
        if given:
            raise typer.BadParameter("--demo brings its own URLs and takes no TARGET")
        return ()
    if given:
        return tuple(_utf8(argument) for argument in given)
    if _is_terminal(sys.stdin):
        say("nothing to check: name a file, a URL or - for standard input (see crawl --help)")
        raise typer.Exit(ExitCode.USAGE)
    return ("-",)


def _utf8(argument: str) -> str:
    """Read a URL as UTF-8, whatever the locale says; a file keeps the name that the system gave."""
    if "://" not in argument:
        return argument
    return os.fsencode(argument).decode("utf-8", "surrogateescape")


def _proxies(proxy: str | None, no_proxy: bool, quiet: bool) -> "Proxies":
    """Return the proxies of the option, else of the environment, naming the latter once."""
    from crawler.engine.transports.settings import Proxies

    if proxy is not None:
        return Proxies(http=proxy, https=proxy)
    if no_proxy:
        return Proxies()
    found = _checked(options.environment_proxies, os.environ, hint="environment")
    if not quiet:
        for variable, url in dict.fromkeys(found.values()):
            say(f"using the proxy {mask(url)} from {variable} (--no-proxy ignores it)")
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    urls = {scheme: url for scheme, (_, url) in found.items()}
    return Proxies(http=urls.get("http"), https=urls.get("https"), no_proxy=exempt)


def _check_certificate_variables() -> None:
    """Raise BadParameter where a variable that OpenSSL reads names nothing it could use."""
    for name, convert in (("SSL_CERT_FILE", options.pem), ("SSL_CERT_DIR", options.directory)):
        if name in os.environ:
            options.from_environment(os.environ, name, convert)


def _has_room_for_a_bar(stdout: str | None) -> bool:
    """Whether a progress bar can be drawn without running into the results."""
    if os.environ.get("TERM") == "dumb" or not _is_terminal(sys.stderr):
        return False
    return stdout in (TABLE, None) or not _is_terminal(sys.stdout)


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty()
