"""The bounds on modules, functions and the changing attributes of classes, as a test."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import crawler

PACKAGE = Path(crawler.__file__).parent
ROOT = Path(__file__).parents[1]
MODULE_LINES = 300
FUNCTION_LINES = 40
CHANGING_ATTRIBUTES = 12
# typer makes each option from a parameter of this function.
LONG = {"cli.command.command"}


def modules() -> dict[str, str]:
    """Return the text of each module by its dotted name."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path.read_text("utf-8")
        for path in paths
    }


def long_modules(texts: Mapping[str, str]) -> dict[str, int]:
    """Return the number of lines of each module that is too long."""
    counts = {name: text.count("\n") for name, text in texts.items()}
    return {name: count for name, count in counts.items() if count > MODULE_LINES}


def long_functions(texts: Mapping[str, str]) -> dict[str, int]:
    """Return the number of lines of each function that is too long."""
    counts = {
        f"{name}.{function.name}": lines(function)
        for name, text in texts.items()
        for function in functions(ast.parse(text))
    }
    return {name: count for name, count in counts.items() if count > FUNCTION_LINES}


def changing_classes(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the changing attributes of each class that has too many of them."""
    found = {
        f"{name}.{node.name}": sorted(changing(node))
        for name, text in texts.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    }
    return {name: names for name, names in found.items() if len(names) > CHANGING_ATTRIBUTES}


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
    assert long_modules(modules()) == {}


def test_no_function_is_too_long() -> None:
    found = long_functions(modules())
    assert found.keys() <= LONG, found


def test_no_class_has_too_many_attributes_that_change() -> None:
    assert changing_classes(modules()) == {}


# That the bounds are really checked


def function(count: int, indent: str = "", described: int = 0) -> str:
    """Return a function of `count` lines, and of `described` more in its docstring."""
    docstring = (
        ['    """Described.', *["    more"] * (described - 2), '    """'] if described else []
    )
    body = ["def sample(self):", *docstring, *["    pass"] * (count - 1)]
    return "".join(f"{indent}{line}\n" for line in body)


def owner(count: int) -> str:
    """Return a class with `count` attributes that change, and one that `__init__` sets."""
    changes = "".join(f"        self.a{number} = 0\n" for number in range(count - 1))
    start = "    def __init__(self):\n        self.set_once = 0\n"
    return f"class Owner:\n{start}    def act(self):\n{changes}        del self.last\n"


def test_a_module_of_301_lines_is_found() -> None:
    assert long_modules({"a": "\n" * 300, "b": "\n" * 301}) == {"b": 301}


@pytest.mark.parametrize("described", [0, 10])
def test_a_function_of_41_lines_is_found_and_docstrings_do_not_count(described: int) -> None:
    texts = {"a": function(40, described=described), "b": function(41, described=described)}
    methods = {"c": "class C:\n" + function(41, "    "), "d": "async " + function(41)}
    found = {"b.sample": 41, "c.sample": 41, "d.sample": 41}
    assert long_functions(texts | methods) == found


def test_a_class_with_13_attributes_that_change_is_found() -> None:
    found = changing_classes({"a": owner(12), "b": owner(13)})
    assert list(found) == ["b.Owner"]
    assert len(found["b.Owner"]) == 13


@pytest.mark.parametrize(
    ("rule", "within", "beyond"),
    [
        ("PLR0915", "    a = 1\n" * 40, "    a = 1\n" * 41),
        ("PLR0912", "    if a:\n        a = 1\n" * 10, "    if a:\n        a = 1\n" * 11),
        ("C901", "    if a:\n        a = 1\n" * 9, "    if a:\n        a = 1\n" * 10),
    ],
    ids=["statements", "branches", "complexity"],
)
def test_ruff_finds_a_function_that_does_too_much(rule: str, within: str, beyond: str) -> None:
    assert rule not in complaints(f"def sample(a):\n{within}    return a\n")
    assert rule in complaints(f"def sample(a):\n{beyond}    return a\n")


def test_ruff_finds_a_function_with_eight_arguments() -> None:
    assert "PLR0913" not in complaints("def sample(a, b, c, d, e, f, g):\n    pass\n")
    assert "PLR0913" in complaints("def sample(a, b, c, d, e, f, g, h):\n    pass\n")


def complaints(text: str) -> str:
    """Return what ruff reports of a module of the package with this text."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise"]
    ended = subprocess.run(
        [*command, "--stdin-filename", "crawler/sample.py", "-"],
        input=text,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode in (0, 1), ended.stderr
    return ended.stdout
