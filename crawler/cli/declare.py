"""How options are declared: conversions, groups of the help, usage errors."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

from crawler.core.display import safe_loosely
from crawler.version import __version__

T = TypeVar("T")


class UsageError(typer.TyperException):
    """A combination of options that cannot be used."""


class GroupedHelp(TyperCommand):
    """Help as plain text: options in groups, each on one line with its default."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and param.param_type_name == "option":
                group = getattr(param, "rich_help_panel", None) or "Other"
                groups.setdefault(group, []).append(record)
        width = max(len(name) for records in groups.values() for name, _ in records)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in records], width)


def flag(group: str, help: str, *names: str, **more: Any) -> Any:
    """Return an option without a value."""
    return typer.Option(*names, help=help, rich_help_panel=group, **more)


def value(group: str, help: str, convert: Callable[[str], Any], metavar: str, *names: str) -> Any:
    """Return an option whose error message names the value and the rule it breaks."""

    def parse(given: Any) -> Any:
        if not isinstance(given, str):
            return given  # a default, already converted
        try:
            return convert(given)
        except ValueError as exc:
            raise typer.BadParameter(f"'{safe_loosely(given)}' {exc}") from exc

    return flag(group, help, *names, parser=parse, metavar=metavar)


def secret(group: str, help: str, convert: Callable[[str], Any], metavar: str, *names: str) -> Any:
    """Return an option whose error message does not show the value."""

    def parse(given: str) -> Any:
        try:
            return convert(given)
        except ValueError as exc:
            raise typer.BadParameter(str(exc)) from exc

    return flag(group, help, *names, parser=parse, metavar=metavar)


def is_given(ctx: typer.Context, name: str) -> bool:
    """Whether the option of the parameter `name` is on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def usable(check: Callable[..., T], *values: Any) -> T:
    """Call `check`, turning its ValueError into a usage error."""
    try:
        return check(*values)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc


def print_version(wanted: bool) -> None:
    if wanted:
        print(f"crawl {__version__}")
        raise typer.Exit
