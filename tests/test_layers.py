"""Imports point strictly down: the layer table of the design, as a test."""

import ast
from pathlib import Path

import crawler

PACKAGE = Path(crawler.__file__).parent

# From the bottom up: a module imports only from earlier lines. An indented line continues the
# one before. Packages whose `__init__` holds no code are left out. `docs/architecture.md`
# quotes the table.
LAYERS = """
facts version
models
core.addresses core.botblock core.display core.hostname core.noproxy core.quantiles
    core.semantics core.units
core.expect core.faults core.pacing core.url
core.redirect core.retry core.summary core.urllist
core.exitcode core.hedge
system.descriptors system.loop system.signals system.threads
engine.clock engine.lane engine.transports.http1.chunks
    engine.transports.http1.listener engine.transports.http1.poller
    engine.transports.http1.responsehead engine.transports.requesthead
    engine.transports.settings engine.transports.tls engine.transports.wire
engine.failure engine.lanes engine.race engine.suspensions engine.transports.dialogue
    engine.transports.http1.exchange engine.transports.http1.nested engine.transports.lazy
    engine.transports.lean engine.transports.request engine.transports.reqwest_errors
    engine.transports.resolve engine.transports.trace
engine.headers engine.timeouts engine.transports.guard engine.transports.http1.opening
    engine.transports.httpcore_errors engine.transports.proxy
    engine.transports.reqwest_response engine.transports.sockets engine.visit
engine.chain engine.hedging engine.slots engine.transports.backend
    engine.transports.http1.connection engine.transports.reqwest engine.transports.socks
engine.attempt engine.intake engine.transports.http1.stream engine.transports.httpx_transport
    engine.transports.pool engine.transports.tunnel
engine.fetch engine.transports.connector
engine.course engine.sender engine.transports.direct
engine.leanpath engine.plainattempt
engine.fastpath
engine.schedule engine.transports.http2 engine.transports.native
engine.transports
inputs.iterables inputs.sources report.closing report.columns report.failedlist report.progress
    report.record report.rows report.streams
inputs.entries report.jsondocument report.jsonl report.sinks report.terminal
report.broadcast report.formats report.table
report.outputs
app.collect app.conclusion app.demo app.interruption app.settings
app.assemble app.opening app.run
app.rounds
app.job
cli.declare cli.defaults cli.stderr cli.values
cli.environment cli.options
cli.command
crawler
__main__
"""
ROOMS = {
    "facts": set(),
    "models": {"facts"},
    "version": set(),
    "core": {"facts", "models"},
    "system": {"core"},
    "engine": {"facts", "models", "version", "core", "system"},
    "inputs": {"facts", "models", "core", "system"},
    "report": {"facts", "models", "core", "system"},
    "app": {"facts", "models", "core", "system", "engine", "inputs", "report"},
    "cli": {"facts", "models", "version", "core", "system", "engine", "report", "app"},
    "": {"facts", "models", "version", "core", "engine", "inputs", "app"},
    "__main__": {"core", "cli"},
}
"""Which rooms a room may import from: engine, inputs and report meet only in app."""
DOORS = {
    "typer": {"cli"},
    "rich": {"report.terminal", "report.progress"},
    "httpx": {"engine", "app.assemble", "app.job", "__init__"},
}
"""Where a library may be imported: a module, or all modules of a package."""


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


def ranks() -> dict[str, int]:
    """Return the line of each module in the table, counted from the bottom."""
    rank, found = -1, {}
    for line in LAYERS.strip().split("\n"):
        rank += not line.startswith(" ")
        for module in line.split():
            assert module not in found, f"{module} stands in two lines"
            found[module.removeprefix("crawler")] = rank
    return found


def room(module: str) -> str:
    return module.split(".")[0]


def owner(name: str, known: set[str]) -> str:
    """Return the module that `crawler.x.y` or `crawler.x.name` lies in."""
    inner = name.removeprefix("crawler").removeprefix(".")
    return inner if inner in known else inner.rpartition(".")[0]


def edges() -> list[tuple[str, str]]:
    found = modules()
    return [
        ("" if module == "__init__" else module, owner(name, set(found)))
        for module, tree in found.items()
        for name in sorted(imports(tree))
        if name.split(".")[0] == "crawler"
    ]


def test_every_module_with_code_has_its_layer() -> None:
    with_code = {
        "" if module == "__init__" else module
        for module, tree in modules().items()
        if any(not isinstance(node, ast.Expr) for node in tree.body)
    }
    assert with_code == set(ranks())


def test_the_architecture_document_quotes_the_table() -> None:
    document = Path(__file__).parents[1] / "docs" / "architecture.md"
    assert f"```text{LAYERS}```\n" in document.read_text("utf-8")


def test_imports_point_strictly_down() -> None:
    rank = ranks()
    assert [edge for edge in edges() if rank[edge[1]] >= rank[edge[0]]] == []


def test_a_room_imports_only_from_the_rooms_below_it() -> None:
    crossing = {(room(one), room(other)) for one, other in edges() if room(one) != room(other)}
    assert {(one, other) for one, other in crossing if other not in ROOMS[one]} == set()


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
        if room(module) not in {"core", "models"}:
            continue
        roots = {name.split(".")[0] for name in imports(tree)}
        assert not roots & {"asyncio", "time", "os", "socket", "threading"}, module
        assert not any(
            isinstance(node, ast.Await | ast.AsyncFunctionDef) for node in ast.walk(tree)
        )
