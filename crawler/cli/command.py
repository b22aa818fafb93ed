"""The command line -> settings, and the exit code of the run that they describe."""

import os
import sys
import traceback
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from crawler.cli import declare, defaults, environment, options
from crawler.cli.declare import UsageError, is_given, usable
from crawler.cli.stderr import print_line
from crawler.core import faults
from crawler.core.display import mask
from crawler.core.exitcode import ExitCode
from crawler.engine.transports.settings import Engine
from crawler.models import NO_CLASSES, Limits
from crawler.report.formats import FORMATS, JSON, JSONL, TABLE

if TYPE_CHECKING:
    from crawler.engine.transports.settings import Proxies

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def main(args: Sequence[str]) -> int:
    """Run the command line `args` and return its exit code; an error is one line."""
    try:
        code = app(list(args), prog_name="crawl", standalone_mode=False)
    except typer.TyperException as exc:
        print_line(f"{exc.format_message()} (see crawl --help)")
        return ExitCode.USAGE
    except OSError:
        return ExitCode.USAGE  # the help cannot be written, which __main__ reports
    except Exception as exc:
        print_line(faults.describe(exc))
        return ExitCode.USAGE
    return int(code or 0)


@app.command(cls=declare.GroupedHelp, context_settings={"terminal_width": 100})
def command(  # noqa: PLR0913 - typer makes an option of each parameter
    ctx: typer.Context,
    targets: options.Targets = None,
    repeat: options.Repeat = False,
    accept: options.Accept = defaults.ACCEPT,
    fail_on: options.FailOn = None,
    warn_on: options.WarnOn = None,
    max_failures: options.MaxFailures = defaults.MAX_FAILURES,
    timeout: options.Timeout = defaults.TIMEOUT,
    method: options.Method = "GET",
    head: options.Head = False,
    header: options.Headers = None,
    no_follow: options.NoFollow = False,
    max_redirects: options.MaxRedirects = defaults.MAX_REDIRECTS,
    max_body: options.MaxBody = defaults.MAX_BODY,
    max: options.Max = defaults.MAX,
    per_host: options.PerHost = defaults.PER_HOST,
    rate: options.Rate = None,
    host_rate: options.HostRate = None,
    max_wait: options.MaxWait = defaults.MAX_WAIT,
    deadline: options.Deadline = None,
    retries: options.Retries = defaults.RETRIES,
    backoff: options.Backoff = defaults.BACKOFF,
    confirm: options.Confirm = False,
    confirm_after: options.ConfirmAfter = defaults.CONFIRM_AFTER,
    hedge: options.Hedge = False,
    hedge_budget: options.HedgeBudget = defaults.HEDGE_BUDGET,
    wait: options.Wait = None,
    engine: options.EngineName = Engine.DIRECT,
    http2: options.Http2 = False,
    insecure: options.Insecure = False,
    cacert: options.Cacert = None,
    proxy: options.Proxy = None,
    no_proxy: options.NoProxy = False,
    block_private: options.BlockPrivate = False,
    as_json: options.AsJson = False,
    as_jsonl: options.AsJsonl = False,
    output: options.Output = None,
    failed_to: options.FailedTo = None,
    masked: options.Masked = None,
    ordered: options.Ordered = False,
    all_rows: options.AllRows = False,
    quiet: options.Quiet = False,
    no_progress: options.NoProgress = False,
    verbose: options.Verbose = False,
    demo: options.Demo = False,
    version: options.Version = False,  # noqa: ARG001 - handled by its callback
) -> int:
    """Check a list of URLs concurrently and report which of them work.

    A TARGET is a file with a URL on each line, a URL (anything with ://), or - for
    standard input, which is also read when it is a pipe and no TARGET is given.
    """
    from crawler.app import job
    from crawler.app.settings import Settings
    from crawler.engine.transports import engine_for
    from crawler.engine.transports.settings import ConnectionSettings
    from crawler.report.outputs import OutputSettings

    if as_json and as_jsonl:
        raise UsageError("--json and --jsonl cannot be used together")
    if head and is_given(ctx, "method"):
        raise UsageError("--head and --method cannot be used together")
    stdout = JSON if as_json else JSONL if as_jsonl else None if quiet else TABLE
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
            confirm_after=confirm_after if confirm or is_given(ctx, "confirm_after") else None,
            hedge_budget=hedge_budget if hedge or is_given(ctx, "hedge_budget") else 0.0,
            head_first=head,
            follow=not no_follow,
            max_redirects=max_redirects,
            max_body=max_body,
        ),
        connections=ConnectionSettings(
            engine=engine,
            http2=http2,
            verify=not insecure,
            cacert=cacert,
            proxies=_proxies(proxy, no_proxy, quiet),
            block_private=block_private,
        ),
        expectation=replace(accept, fail_on=fail_on or NO_CLASSES, warn_on=warn_on or NO_CLASSES),
        outputs=OutputSettings(
            stdout=stdout,
            files=tuple(output or ()),
            failed_to=failed_to,
            ordered=ordered,
            all_rows=all_rows,
        ),
        method="HEAD" if head else method,
        headers=tuple(pair for pairs in header or () for pair in pairs),
        repeat=repeat,
        masked=frozenset(masked or ()),
        wait=wait,
        tolerance=max_failures,
        progress=not (quiet or no_progress) and _has_room_for_a_bar(stdout),
        closing_line=not quiet and stdout in FORMATS and _is_terminal(sys.stderr),
        demo=demo,
    )
    chosen = usable(engine_for, settings.connections)
    if not insecure:
        usable(environment.check_certificates, os.environ)
    notify = partial(print_line, masked=settings.masked)
    return _run(job.execute(settings, notify), chosen, notify, verbose)


def _run(
    work: Coroutine[Any, Any, int], engine: Engine, notify: Callable[[str], None], verbose: bool
) -> int:
    """Run on an event loop; what keeps the run from starting is one line and exit code 2."""
    from crawler.app.opening import StartError
    from crawler.system import loop
    from crawler.system.threads import NoThreadError

    try:
        name, factory = loop.choose()
        if verbose:
            notify(f"engine {engine}, event loop {name}")
        return loop.run(work, factory, notify, verbose=verbose)
    except (StartError, NoThreadError, OSError) as exc:
        notify(str(exc))
    except Exception as exc:
        notify(faults.describe(exc))
        for line in "".join(traceback.format_exception(exc)).splitlines() if verbose else ():
            notify(line)
    return ExitCode.USAGE


def _targets(given: list[str], demo: bool) -> tuple[str, ...]:
    """Return the targets to read. Raises UsageError if there is nothing to read."""
    if demo:
        if given:
            raise UsageError("--demo takes no TARGET")
        return ()
    if given:
        return tuple(_utf8(argument) for argument in given)
    if _is_terminal(sys.stdin):
        print_line(
            "nothing to check: name a file, a URL or - for standard input (see crawl --help)"
        )
        raise typer.Exit(ExitCode.USAGE)
    return ("-",)


def _utf8(argument: str) -> str:
    """Decode a URL as UTF-8, whatever the locale is; a file name stays as the system gave it."""
    if "://" not in argument:
        return argument
    return os.fsencode(argument).decode("utf-8", "surrogateescape")


def _proxies(proxy: str | None, no_proxy: bool, quiet: bool) -> "Proxies":
    """Return the proxy of the option, or else those of the environment, which are reported."""
    from crawler.engine.transports.settings import Proxies

    if proxy is not None:
        return Proxies(http=proxy, https=proxy)
    if no_proxy:
        return Proxies()
    found = usable(environment.proxies, os.environ)
    if not quiet:
        for variable, url in dict.fromkeys(found.values()):
            print_line(f"using the proxy {mask(url)} from {variable} (disable with --no-proxy)")
    urls = {scheme: url for scheme, (_, url) in found.items()}
    exempt = environment.no_proxy(os.environ)
    return Proxies(http=urls.get("http"), https=urls.get("https"), no_proxy=exempt)


def _has_room_for_a_bar(stdout: str | None) -> bool:
    """Whether a progress bar can be drawn without running into the results."""
    if os.environ.get("TERM") == "dumb" or not _is_terminal(sys.stderr):
        return False
    return stdout in (TABLE, None) or not _is_terminal(sys.stdout)


def _is_terminal(stream: Any) -> bool:
    return stream is not None and stream.isatty()
