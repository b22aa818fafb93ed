"""Plants faults in the program: replaces a name, or edits lines of one function."""

import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any


def edit(place: str, *pairs: tuple[str, str]) -> None:
    """Replace texts that occur exactly once each in a function ("module:Class.name").

    Raises LookupError if one does not.
    """
    owner, name = _found(place)
    source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
    for old, new in pairs:
        if source.count(old) != 1:
            raise LookupError(f"{place}: {source.count(old)} times {old!r}")
        source = source.replace(old, new)
    made: dict[str, Any] = {}
    module = importlib.import_module(place.partition(":")[0])
    exec(compile(source, f"<planted in {place}>", "exec"), vars(module), made)  # noqa: S102
    _put(owner, name, made[name])


def wrap(place: str, wrapper: Callable[[Any], Any]) -> None:
    """Replace a function or a value by `wrapper` of it. Raises LookupError if it does not exist."""
    owner, name = _found(place)
    _put(owner, name, wrapper(getattr(owner, name)))


def every(
    number: int, change: Callable[..., Any], otherwise: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Return a function that calls `change` on each `number`-th call, and `otherwise` on the rest.

    Without `otherwise` the last argument is returned unchanged.
    """
    count = 0

    def sometimes(*args: Any) -> Any:
        nonlocal count
        count += 1
        if count % number == 0:
            return change(*args)
        return args[-1] if otherwise is None else otherwise(*args)

    return sometimes


def _put(owner: Any, name: str, new: Any) -> None:
    """Set a name, also in the modules that imported it from there."""
    old = getattr(owner, name)
    setattr(owner, name, new)
    if inspect.ismodule(owner):
        for module in [one for key, one in sys.modules.items() if key.startswith("crawler")]:
            if vars(module).get(name) is old:
                setattr(module, name, new)


def _found(place: str) -> tuple[Any, str]:
    module, _, path = place.partition(":")
    *outer, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for part in outer:
        owner = getattr(owner, part, None)
    if not hasattr(owner, name):
        raise LookupError(f"{place} does not exist")
    return owner, name
