"""Ways of writing that were needed once: what in a program's tree shows them, and what to write."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

_MAKERS = {"initialize_tracer", "new_tracer", "create_tracer", "Tracer"}
_HOOKS = {"_before_request_fn", "_after_request_fn"}
_CLOSE = "not needed: what is queued at the end of the process is sent; `close()` still works"
_SLEEP = "not needed before `close()`: nothing has to be waited for"
_HOOK = "is not called: `start_span_cb=` adds to the span, `exclude=` leaves requests out"
_ACTIVE = (
    "stays with `tracekit.grpc.opentracing`; or `tracer.active_span`: the server's span is active"
    " in the handler"
)
_LOOP = "not needed: there is no IOLoop"
_GLOBALS = {
    "set_tracer_provider": "not needed: `tracekit.init()` sets the global provider",
    "set_global_textmap": "not needed: `JAEGER_PROPAGATION=…` chooses, `tracekit.init()` sets it",
    "BatchSpanProcessor": "not needed: the pipeline has its own queue",
}


def idioms(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Yield line, what stands there, and what to write, of each idiom in ``tree``."""
    tracers = {"tracer", *_tracers(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from _in_class(node)
        elif isinstance(node, ast.Call):
            yield from _in_call(node)
        for block in _blocks(node):
            yield from _in_block(block, tracers)


def _tracers(tree: ast.AST) -> Iterator[str]:
    """Yield the names that tracers are given."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        if _called(node.value) in _MAKERS:
            yield from (it.id for it in node.targets if isinstance(it, ast.Name))


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            yield block


def _in_class(node: ast.ClassDef) -> Iterator[tuple[int, str, str]]:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name in _HOOKS:
            yield item.lineno, f"def {item.name}", _HOOK


def _in_call(node: ast.Call) -> Iterator[tuple[int, str, str]]:
    name = _called(node)
    if name == "get_active_span":
        yield node.lineno, "get_active_span()", _ACTIVE
    elif name in _GLOBALS:
        yield node.lineno, f"{name}()", _GLOBALS[name]
    elif name in ("initialize_tracer", "new_tracer") and (node.args or node.keywords):
        yield node.lineno, f"{name}(io_loop)", _LOOP


def _in_block(block: list[ast.stmt], tracers: AbstractSet[str]) -> Iterator[tuple[int, str, str]]:
    before: ast.stmt | None = None
    for statement in block:
        if _closes_tracer(statement, tracers):
            yield statement.lineno, "tracer.close()", _CLOSE
            if before is not None and _call_name(before) == "sleep":
                yield before.lineno, "time.sleep()", _SLEEP
        before = statement


def _closes_tracer(statement: ast.stmt, tracers: AbstractSet[str]) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(value, ast.Yield):  # Tornado's way to wait for it
        value = value.value
    if not isinstance(value, ast.Call) or _called(value) != "close":
        return False
    owner = ast.unparse(value.func).rpartition(".")[0].rpartition(".")[2]
    return owner in tracers or owner.endswith("tracer")


def _call_name(statement: ast.stmt) -> str:
    value = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(value, ast.Yield):
        value = value.value
    return _called(value) if isinstance(value, ast.Call) else ""


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
