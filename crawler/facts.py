"""A class with annotated fields -> a fact: values with names, compared by their values."""

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def fact(cls: type[T]) -> type[T]:
    """Make a class a dataclass whose instances type checkers, if not Python, keep unchanged.

    `frozen=True` would triple the cost of an instance, and each URL has six of them. Methods
    that `dataclass` writes and compiles for each class would triple the cost of a class, which
    every start pays for thirty of them; these here are the same for all.
    """
    made = dataclass(slots=True, kw_only=True, eq=False, repr=False)(cls)
    for name, method in _METHODS.items():
        setattr(made, name, method)
    return made


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
