"""The house: arrows between modules only point down, none in a circle, and all stays short."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import textwrap
from pathlib import Path

import pytest

from tracekit._config.variables import ROWS

PACKAGE = Path(__file__).parents[1] / "tracekit"

# The folder (or, at the root, the module) says the floor; a module may import its own floor and
# those below. Edges (4) are held apart by a rule of their own.
FLOORS: dict[str, int] = {
    "tracekit": 3,  # the front
    **dict.fromkeys(("errors", "_causes", "_context", "_display", "_protocols"), 0),
    **dict.fromkeys(("_frozen", "_lazy", "_protobuf", "_process"), 0),
    **dict.fromkeys(("propagation", "sampling", "tracing", "encoding", "reporting", "_calls"), 1),
    "drawing": 1,
    "transport": 2,
    **dict.fromkeys(("settings", "metrics", "exporter", "_config", "_assembly"), 3),
    **dict.fromkeys(("grpc", "wsgi", "flask", "requests", "logging", "mesh", "prometheus"), 4),
    **dict.fromkeys(("asgi", "fastapi", "django", "httpx", "aiohttp", "celery", "rq"), 4),
    **dict.fromkeys(("opentracing", "jaeger_client"), 4),
    **dict.fromkeys(("_cli", "__main__", "_instrument", "_recording", "pytest_plugin"), 5),
    **dict.fromkeys(("testing", "local"), 6),  # apart: what they may use is public
}
# The effects that live beside the engines they serve.
EFFECTS = {
    *(f"tracekit.sampling.{name}" for name in ("_poller", "_http", "_fetch")),
    "tracekit.reporting._worker",
}
# Which edge may lean on which: Flask is WSGI with names; jaeger_client is a bridge over several.
EDGE_TO_EDGE = {
    ("tracekit.flask", "tracekit.wsgi"),
    ("tracekit.fastapi", "tracekit.asgi"),
    ("tracekit.django", "tracekit.wsgi"),
    ("tracekit.django", "tracekit.asgi"),
    ("tracekit.jaeger_client", "tracekit.opentracing"),
}
# What an edge may see of the assembly floor.
HANDLE = {"tracekit._assembly.handle"}
BRIDGES = {
    "tracekit.jaeger_client": {
        "tracekit.settings",
        "tracekit._assembly.distribution",
        "tracekit._assembly.init",
        "tracekit._assembly.resource",
        "tracekit.transport",
        "tracekit.sampling._fetch",
    },
}
NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}  # public, whatever they look like
# Which module touches which private attribute of another package's objects, and why.
PRIVATE = {
    ("tracekit._cli.report", "_parts"): "a launcher looks behind the handle: added exporters",
    ("tracekit.grpc._aio_client", "_call"): "gRPC's own: no public name tells what awaits a stream",
    ("tracekit.grpc._aio_client", "_exception"): "likewise: why it failed",
    **{
        ("tracekit.logging._stamp", name): "a span's slots: each record of a program reads them"
        for name in ("_bits", "_span_id", "_trace_id")
    },
    ("tracekit.opentracing._span", "_tracer"): "OpenTracing's own: its Span keeps the tracer there",
    **{
        ("tracekit.propagation._propagator", name): "a span's slots: a call took a fifth of inject"
        for name in ("_source", "_span_id", "_trace_id")
    },
    ("tracekit.reporting._reporter", "_accounted"): "asked of anybody's span, twice for each",
    ("tracekit.sampling._keep", "_status"): "the SDK's own: asked of each span of a trace",
}


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def floor_of(module: str) -> int:
    if module in EFFECTS:
        return 2
    return FLOORS[([*module.split("."), ""])[1] or "tracekit"]


def top(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imports_of(
    path: Path, known: dict[str, Path], *, deferred: bool, types: bool = False
) -> set[str]:
    """Modules of ours that ``path`` imports; ``deferred``: in functions, ``types``: for types."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        type_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (type_only and not types) or (function and not deferred):
            skipped.update(inner for stmt in node.body for inner in ast.walk(stmt))
    seen: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            seen.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                seen.add(inner if inner in known else node.module)
    return {name for name in seen if name in known}


def from_imports(tree: ast.AST) -> set[str]:
    return {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


NAMES = {
    0: "words",
    1: "engines",
    2: "effects",
    3: "assembly",
    4: "edges",
    5: "launchers",
    6: "apart",
}
ARCHITECTURE = PACKAGE.parent / "docs" / "explanation" / "architecture.md"


def picture() -> str:
    """Return the floors as the page on the architecture shows them, the uppermost first."""
    lines = []
    for floor, name in sorted(NAMES.items(), reverse=True):
        rooms = sorted((room for room, at in FLOORS.items() if at == floor), key=str.lower)
        rooms += sorted(module.removeprefix("tracekit.") for module in EFFECTS if floor == 2)
        text = textwrap.fill("  ".join(rooms), 86, break_long_words=False, break_on_hyphens=False)
        lines.append(f"{floor}  {name:<9}  " + text.replace("\n", "\n" + " " * 14))
    return "\n".join(lines) + "\n"


KNOWN = modules()


@pytest.mark.parametrize("module", sorted(KNOWN))
def test_a_module_imports_no_higher_floor(module: str) -> None:
    """No import, deferred or not, climbs; launchers alone may reach anything."""
    floor = floor_of(module)
    if floor == 5 or module == "tracekit":
        return
    for target in imports_of(KNOWN[module], KNOWN, deferred=True) - {module}:
        below = floor_of(target)
        if floor == 4 and below == 4 and top(module) != top(target):
            assert (top(module), top(target)) in EDGE_TO_EDGE, f"{module} -> {target}: edge to edge"
        elif floor == 4 and below in (2, 3):
            allowed = HANDLE | BRIDGES.get(top(module), set())
            assert target in allowed or top(target) in allowed, f"{module} -> {target}"
        elif floor == 6:
            if target.startswith("tracekit._recording"):  # the one launcher that testing shares
                continue
            private = any(part.startswith("_") for part in target.split("."))
            assert not private or top(target) == top(module), f"{module} -> {target}: private"
        else:
            assert below <= floor, f"{module} (floor {floor}) -> {target} (floor {below})"


def test_the_page_shows_these_floors() -> None:
    """Its picture is this table; ``make docs`` prints it."""
    assert f"```text\n{picture()}```" in ARCHITECTURE.read_text(encoding="utf-8")


def test_every_room_has_a_floor() -> None:
    """A folder that is gone stands in no table; one that is new fails until it does."""
    assert set(KNOWN) >= EFFECTS
    rooms = {module.split(".")[1] for module in KNOWN if "." in module}
    assert rooms == set(FLOORS) - {"tracekit"}


def test_imports_form_no_circle() -> None:
    """The graph of imports at load time can be sorted."""
    graph = {name: imports_of(path, KNOWN, deferred=False) - {name} for name, path in KNOWN.items()}
    list(graphlib.TopologicalSorter(graph).static_order())


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the groups of modules of which each leads to each of the others."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            new = graph[ahead.pop()] - seen
            seen |= new
            ahead += new
        reach[start] = seen
    found = {frozenset({*(b for b in reach[a] if a in reach[b])}) for a in graph}
    return [set(group) for group in found if group]


def test_types_form_no_circle() -> None:
    """Imports for the type checker count here: each module can be read after what it names."""
    graph = {
        name: imports_of(path, KNOWN, deferred=False, types=True) - {name}
        for name, path in KNOWN.items()
    }
    assert circles(graph) == []


def private_of(tree: ast.AST) -> set[str]:
    """Return the private attributes that the classes in ``tree`` define or fill."""
    found: set[str] = set()
    for kind in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for node in ast.walk(kind):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls"):
                found.update({node.attr} if isinstance(node.ctx, ast.Store) else ())
        for node in kind.body:
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            found.update(it.id for it in targets if isinstance(it, ast.Name))
            if "__slots__" in map(ast.unparse, filter(None, targets)):
                found.update(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return {name for name in found if re.fullmatch(r"_[a-zA-Z0-9]\w*", name)}


def test_packages_keep_to_public_attributes() -> None:
    """Of an object that another package defines, its public names do; see ``PRIVATE`` for why not.

    What is private in the package itself may be touched there, and what none of ours defines is
    not ours (gRPC's own names).
    """
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in KNOWN.items()}
    own: dict[str, set[str]] = {}
    for module, tree in trees.items():
        own.setdefault(top(module), set()).update(private_of(tree))
    ours = set().union(*own.values())
    touched = {
        (module, node.attr)
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in ours - own[top(module)]
        and node.attr not in NAMED_TUPLES
    }
    assert touched == set(PRIVATE)


@pytest.mark.parametrize("module", sorted(name for name in KNOWN if floor_of(name) in (0, 1)))
def test_an_engine_is_pure(module: str) -> None:
    """No socket, environment, sleep or thread: only a lock of ``threading`` may be named."""
    tree = ast.parse(KNOWN[module].read_text(encoding="utf-8"))
    names = {
        ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name)
    }
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    assert not imported & {"socket", "ssl", "select", "urllib3", "subprocess", "grpc"}
    assert not names & {"os.environ", "os.getenv", "time.sleep", "threading.Thread"}
    assert not from_imports(tree) & {"os.environ", "os.getenv", "time.sleep", "threading.Thread"}


def test_only_one_module_names_the_variables() -> None:
    """``JAEGER_*``, ``OTEL_*`` and ``TRACEKIT_*`` stand in ``_config.variables`` alone."""
    naming = {
        module
        for module, path in KNOWN.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"(JAEGER|OTEL|TRACEKIT)_[A-Z0-9_]+", node.value)
    }
    # The others set variables for the programs that they start. They read none, but for the word of
    # `tracekit run` to the interpreters under it, which is no setting.
    allowed = {
        "tracekit._config.variables",
        "tracekit._cli.demo",
        "tracekit.testing",
        "tracekit._instrument._launch",
        "tracekit._instrument.site",
    }
    assert {name for name in naming if not name.startswith(tuple(allowed))} == set()


def test_advice_names_variables_that_exist() -> None:
    """Sentences of launchers and of ``_causes`` name variables; none of them is misspelt."""
    said = {
        (module, name)
        for module, path in KNOWN.items()
        if not module.startswith("tracekit._config.variables")
        for tree in (ast.parse(path.read_text(encoding="utf-8")),)
        for node in set(ast.walk(tree)) - docstrings(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
        for name in re.findall(r"(?:JAEGER|OTEL|TRACEKIT)_[A-Z0-9_]+", node.value)
    }
    assert {name for _, name in said} <= {row.name for row in ROWS}
    assert {top(module) for module, _ in said} == {"tracekit._causes", "tracekit._cli"}


def docstrings(tree: ast.AST) -> set[ast.AST]:
    """Return the texts in ``tree`` that stand by themselves: documentation."""
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}


MODULE_LINES = 350
TEST_NAME = 40
Test = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def suite() -> dict[str, Test]:
    """Return every test, by where it begins."""
    return {
        f"{path.relative_to(PACKAGE.parent)}:{node.lineno} {node.name}": node
        for path in sorted((PACKAGE.parent / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, Test) and node.name.startswith("test_")
    }


def test_a_module_can_be_read_in_one_sitting() -> None:
    """What grows beyond 350 lines is about two things: take one of them out."""
    lengths = {
        str(path.relative_to(PACKAGE.parent)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    assert {path: lines for path, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_a_test_has_a_short_name() -> None:
    """Up to 40 letters: the sentence belongs into the docstring."""
    assert [at for at, node in suite().items() if len(node.name) > TEST_NAME] == []


def test_a_test_says_what_it_holds() -> None:
    """A docstring states the behaviour, for whoever sees the test fail."""
    assert [at for at, node in suite().items() if not ast.get_docstring(node)] == []
