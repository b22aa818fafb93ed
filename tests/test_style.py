"""The bounds on modules, functions and the changing attributes of classes, as a test."""

import ast
from collections.abc import Iterator
from pathlib import Path

import crawler

PACKAGE = Path(crawler.__file__).parent
MODULE_LINES = 300
FUNCTION_LINES = 40
CHANGING_ATTRIBUTES = 12
# typer makes each option from a parameter of this function.
LONG = {"cli.command.command"}


def modules() -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the text of each module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ".".join(path.relative_to(PACKAGE).with_suffix("").parts), path.read_text("utf-8")


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of a function, its docstring left out."""
    assert function.end_lineno is not None
    first = function.body[0]
    described = 0
    if ast.get_docstring(function, clean=False) is not None:
        assert first.end_lineno is not None
        described = first.end_lineno - first.lineno + 1
    return function.end_lineno - function.lineno + 1 - described


def changing(node: ast.ClassDef) -> set[str]:
    """Return the attributes of `self` that methods other than `__init__` assign to or delete."""
    found = set()
    for method in functions(node):
        if method.name == "__init__":
            continue
        for part in ast.walk(method):
            if (
                isinstance(part, ast.Attribute)
                and isinstance(part.ctx, ast.Store | ast.Del)
                and isinstance(part.value, ast.Name)
                and part.value.id == "self"
            ):
                found.add(part.attr)
    return found


def test_no_module_is_too_long() -> None:
    counts = {name: text.count("\n") for name, text in modules()}
    assert {name: count for name, count in counts.items() if count > MODULE_LINES} == {}


def test_no_function_is_too_long() -> None:
    counts = {
        f"{name}.{function.name}": lines(function)
        for name, text in modules()
        for function in functions(ast.parse(text))
    }
    long = {name: count for name, count in counts.items() if count > FUNCTION_LINES}
    assert long.keys() <= LONG, long


def test_no_class_has_too_many_attributes_that_change() -> None:
    counts = {
        f"{name}.{node.name}": sorted(changing(node))
        for name, text in modules()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    }
    assert {name: of for name, of in counts.items() if len(of) > CHANGING_ATTRIBUTES} == {}
