"""What a program says about tracing: its imports, options, variables and idioms, each with a row.

Files are read, never imported and never changed. One that does not parse as Python 3 is searched
line by line, for imports and variables alone.
"""

from __future__ import annotations

import ast
import functools
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import tracekit
from tracekit._cli.migrate.idioms import idioms
from tracekit._cli.migrate.table import LIBRARIES, OPTIONS, REQUIREMENTS, row_of
from tracekit._config import jaeger_dictionary, variables

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FILE_BYTES = 1 << 20
_TEXTS = {".cfg", ".conf", ".env", ".ini", ".md", ".sh", ".toml", ".txt", ".yaml", ".yml"}
_NAMED = {"Dockerfile", "Makefile", "Pipfile", "Procfile"}
_SKIPPED = {"node_modules", "__pycache__", "site-packages"}
_VARIABLE = re.compile(r"\b(?:JAEGER|OTEL|TRACEKIT)_[A-Z0-9_]*[A-Z0-9]\b")
_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+import\s+([\w, ]+)|import\s+([\w.]+))")
_REQUIREMENT = re.compile(r"^[\s\"'-]*([A-Za-z][A-Za-z0-9._-]*)")
_ROOTS = {row.old.partition(".")[0] for row in LIBRARIES} - {"opentelemetry"} | {"opentracing"}
_FAR = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.instrumentation")
_FURTHER = ("opentelemetry.propagator.", "opentelemetry.propagators.")
_OURS = {
    "jaeger_client": "jaeger_client",
    "flask_opentracing": "flask",
    "grpc_opentracing": "grpc/opentracing",
}
"""Packages whose names we have, in modules of the same name below these folders."""


class Finding(NamedTuple):
    """One thing on one line; ``new`` is empty where there is no row for it."""

    line: int
    kind: str
    """``import``, ``option``, ``variable``, ``idiom``, ``requirement`` or ``unread``."""
    old: str
    new: str


def files_of(path: Path) -> Iterator[Path]:
    """Yield what is to be read at ``path``, sorted; no virtual environments, nothing hidden."""
    if path.is_file():
        yield path
        return
    for item in sorted(path.iterdir()):
        if item.is_symlink() or item.name in _SKIPPED:
            continue
        if item.is_dir():
            if not item.name.startswith(".") and not (item / "pyvenv.cfg").exists():
                yield from files_of(item)
        elif item.suffix == ".py" or item.suffix in _TEXTS or item.name in {*_NAMED, ".env"}:
            yield item


def read(path: Path) -> list[Finding]:
    """Return what ``path`` says, by line. OSError if it cannot be read."""
    if path.stat().st_size > MAX_FILE_BYTES:
        return [Finding(0, "unread", f"more than {MAX_FILE_BYTES} bytes", "")]
    text = path.read_bytes().decode("utf-8", "replace")
    found = {*_variables(text)}
    if path.suffix == ".py":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the program's own escapes
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            found.add(Finding(0, "unread", "this is no Python 3: only imports were looked for", ""))
            found.update(_imported_lines(text))
        else:
            found.update(_Program(tree).findings())
    elif path.suffix != ".md":
        found.update(_requirements(text))
    return sorted(found)


class _Program:
    """One parsed file: which name means which import, and what is made of them."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._names: dict[str, str] = {}

    def findings(self) -> Iterator[Finding]:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Import):
                yield from self._import(node)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield from self._import_from(node, node.module)
        if not self._names:
            return
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Attribute):
                yield from self._attribute(node)
            elif isinstance(node, ast.Call):
                yield from self._options(node)
        for line, old, new in idioms(self._tree):
            yield Finding(line, "idiom", old, new)

    def _import(self, node: ast.Import) -> Iterator[Finding]:
        for alias in node.names:
            if not _concerns(alias.name):
                continue
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            self._names[alias.asname or whole] = whole
            yield _imported(node.lineno, alias.name)

    def _import_from(self, node: ast.ImportFrom, module: str) -> Iterator[Finding]:
        for alias in node.names:
            name = module if alias.name == "*" else f"{module}.{alias.name}"
            if _concerns(name):
                self._names[alias.asname or alias.name] = name
                yield _imported(node.lineno, name)

    def _attribute(self, node: ast.Attribute) -> Iterator[Finding]:
        """A name of a module that was imported whole: ``jaeger_client.Config``."""
        name = self._dotted(node)
        if name and isinstance(node.value, ast.Name | ast.Attribute) and _is_public(name):
            whole = self._dotted(node.value)
            if whole and _is_module(whole):
                yield _imported(node.lineno, name)

    def _options(self, node: ast.Call) -> Iterator[Finding]:
        called = self._dotted(node.func)
        if not called:
            return
        for keyword in node.keywords:
            new = OPTIONS.get((called, keyword.arg or ""))
            if new:
                yield Finding(keyword.value.lineno, "option", f"{keyword.arg}=", new)
        if called.endswith(".Config") and called.startswith("jaeger_client"):
            given = [*node.args[:1], *(it.value for it in node.keywords if it.arg == "config")]
            for value in given:
                if isinstance(value, ast.Dict):
                    yield from _keys(value)

    def _dotted(self, node: ast.expr) -> str:
        """Return what a name or attribute means, by the imports; "" if it is none of those."""
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self._names:
            return ""
        return ".".join([self._names[node.id], *reversed(parts)])


def _keys(given: ast.Dict, group: str = "") -> Iterator[Finding]:
    for key, value in zip(given.keys, given.values, strict=True):
        if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
            continue
        name = f"{group}{key.value}"
        if isinstance(value, ast.Dict) and not group and name != "tags":
            yield from _keys(value, f"{name}.")
        else:
            yield Finding(key.lineno, "option", name, jaeger_dictionary.meaning(name))


def _imported(line: int, name: str) -> Finding:
    return Finding(line, "import", name, meaning(name))


def meaning(name: str) -> str:
    """Return what takes the place of an imported name, as Markdown; "" if there is no row."""
    root, _, rest = name.partition(".")
    row = row_of(name)
    if row is not None and (row.old != root or root not in _OURS):
        return row.new
    if root not in _OURS or not _is_ours(name):
        return ""
    return f"`{'.'.join(['tracekit', *_OURS[root].split('/'), *filter(None, [rest])])}`"


def _concerns(name: str) -> bool:
    return name.partition(".")[0] in _ROOTS or name.startswith((*_FAR, *_FURTHER))


def _is_public(name: str) -> bool:
    return not name.rpartition(".")[2].startswith("_")


def _is_module(name: str) -> bool:
    """Whether a dotted name is a module of a retired package, as far as we have it."""
    root, *rest = name.split(".")
    return root in _OURS and (not rest or _source(root, rest) is not None)


def _is_ours(name: str) -> bool:
    """Whether our counterpart of a module has this name; nothing is imported to find out."""
    root, *rest = name.split(".")
    if root == "flask_opentracing" and rest[:1] == ["tracing"]:  # all is in one module
        del rest[0]
    if not rest or _source(root, rest) is not None:
        return True
    source = _source(root, rest[:-1])
    return source is not None and rest[-1] in _defined(source)


def _source(root: str, rest: list[str]) -> Path | None:
    base = Path(tracekit.__file__).parent.joinpath(*_OURS[root].split("/"), *rest)
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@functools.cache
def _defined(source: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom) and node.names[0].name == "*" and node.module:
            beside = _source("jaeger_client", node.module.split(".")[2:])
            names.update(_defined(beside) if beside else ())
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def _variables(text: str) -> Iterator[Finding]:
    known = {row.name: row for row in variables.ROWS}
    for number, line in enumerate(text.splitlines(), 1):
        for name in _VARIABLE.findall(line):
            if _is_ours(f"jaeger_client.constants.{name}"):
                continue  # a name in a program, not a variable
            row = known.get(name)
            said = "" if row is None else f"`{row.instead}`" if row.instead else "read as it is"
            yield Finding(number, "variable", name, said)


def _requirements(text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        match = _REQUIREMENT.match(line)
        name = match.group(1).lower().replace("_", "-") if match else ""
        if name in REQUIREMENTS:
            yield Finding(number, "requirement", name, REQUIREMENTS[name] or "nothing")


def _imported_lines(text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        match = _IMPORT.match(line)
        if match is None:
            continue
        module, names, whole = match.groups()
        parts = [part.split()[0] for part in (names or "").split(",") if part.split()]
        for name in [f"{module}.{part}" for part in parts] if module else [whole]:
            if _concerns(name):
                yield _imported(number, name)
