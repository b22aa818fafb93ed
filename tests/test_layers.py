"""Imports point strictly down: the layer table of the design, as a test."""

import ast
from pathlib import Path

import crawler

PACKAGE = Path(crawler.__file__).parent

# Ranks from the bottom up. Engine and report are neighbours, and meet only above.
RANK = {
    "models": 0,
    "version": 0,
    "threads": 0,
    "core": 1,
    "engine": 2,
    "report": 2,
    "broadcast": 3,
    "inputs": 3,
    "iterables": 3,
    "process": 3,
    "demo": 3,
    "outputs": 4,
    "run": 4,
    "rounds": 5,
    "job": 6,
    "options": 6,
    "cli": 7,
    "": 7,
    "__main__": 8,
}
DOORS = {
    "typer": {"cli"},
    "rich": {"report.terminal", "report.progress"},
    "httpx": {"engine", "__init__"},
}
"""Where a library may come in: a module, or all below a package."""


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = ast.parse(path.read_text("utf-8"))
    return found


def imports(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer(module: str) -> str:
    return "" if module == "__init__" else module.split(".")[0]


def owner(name: str) -> str:
    """Return the layer that `crawler.x.y` or `crawler.name` lies in."""
    first = name.removeprefix("crawler").lstrip(".").split(".")[0]
    return first if first in RANK else ""


def test_every_module_has_its_layer() -> None:
    assert {layer(module) for module in modules()} <= set(RANK)


def test_imports_point_strictly_down() -> None:
    wrong = []
    for module, tree in modules().items():
        for name in imports(tree):
            if not name.startswith("crawler"):
                continue
            mine, theirs = layer(module), owner(name)
            inside = mine == theirs and mine in {"core", "engine", "report"}
            if not inside and RANK[theirs] >= RANK[mine]:
                wrong.append(f"{module} -> {name}")
    assert wrong == []


def test_a_library_enters_by_its_own_door() -> None:
    wrong = []
    for module, tree in modules().items():
        for name in imports(tree):
            for library, doors in DOORS.items():
                if name.split(".")[0] == library and not any(
                    module == door or module.startswith(f"{door}.") for door in doors
                ):
                    wrong.append(f"{module} imports {name}")
    assert wrong == []


def test_core_and_models_read_no_clock_and_await_nothing() -> None:
    for module, tree in modules().items():
        if layer(module) not in {"core", "models"}:
            continue
        roots = {name.split(".")[0] for name in imports(tree)}
        assert not roots & {"asyncio", "time", "os", "socket", "threading"}, module
        assert not any(
            isinstance(node, ast.Await | ast.AsyncFunctionDef) for node in ast.walk(tree)
        )
