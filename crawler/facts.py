"""A class with annotated fields -> a fact: values with names, compared by their values."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def fact(cls: type[T]) -> type[T]:
    """Make a class a dataclass whose instances type checkers, if not Python, keep unchanged.

    `frozen=True` would triple the cost of an instance, and each URL has six of them. Methods
    that `dataclass` writes and compiles for each class would make a class cost four times as
    much, and every start makes thirty: all but `__init__` are the same for all facts here,
    and that is written without annotations.
    """
    made = dataclass(slots=True, kw_only=True, init=False, eq=False, repr=False)(cls)
    for name, method in {"__init__": _initialiser(made), **_METHODS}.items():
        setattr(made, name, method)
    return made


def _initialiser(cls: Any) -> Callable[..., None]:
    """Return the `__init__` of a fact: a keyword for each field, then `__post_init__`.

    Defaults are values: what is made for each instance does not belong in a fact.
    """
    names = [one.name for one in fields(cls)]
    lines = [f"self.{name} = {name}" for name in names]
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    made: dict[str, Any] = {}
    exec(f"def __init__(self, *, {', '.join(names)}): {'; '.join(lines)}", made)  # noqa: S102 - as dataclasses does
    init: Callable[..., None] = made["__init__"]
    init.__kwdefaults__ = {
        one.name: one.default for one in fields(cls) if one.default is not MISSING
    }
    return init


def _equal(self: Any, other: object) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self: Any) -> int:
    return hash(_values(self))


def _describe(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in self.__slots__])


_METHODS = {"__eq__": _equal, "__hash__": _hash, "__repr__": _describe}
