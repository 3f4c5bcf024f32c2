"""Traces as text, and a text that a trace has to match.

A line is ``name [kind] ERROR {key=value, …}``; all but the name may be left out. Children stand two
or more spaces further in. ``*`` and ``?`` stand for anything in names and values; a line ``...``
stands for any further siblings, with whatever is below them.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from opentelemetry.trace import StatusCode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

_LINE = re.compile(
    r"(?P<name>.*?)(?:\s+\[(?P<kind>internal|server|client|producer|consumer)\])?"
    r"(?:\s+(?P<status>ERROR|OK))?(?:\s+\{(?P<attributes>.*)\})?",
    re.DOTALL,
)
_PAIR = re.compile(r'\s*([^=,\s]+)=("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')
_REST = "..."


@dataclass
class Node:
    """A span with its children, in the order of their starts."""

    span: ReadableSpan
    children: list[Node] = field(default_factory=list)


@dataclass
class Wanted:
    """One line of an expectation."""

    text: str
    name: str
    kind: str | None
    status: str | None
    attributes: dict[str, str]
    children: list[Wanted] = field(default_factory=list)
    open: bool = False
    """Whether further children may be there (``...``)."""


class HasForest(Protocol):
    """Spans that know their traces."""

    def forest(self) -> list[Node]:
        """Return the roots."""


def forest(spans: Iterable[ReadableSpan]) -> list[Node]:
    """Return the roots of ``spans`` (in the order of their starts) with what is below them.

    A root has no parent, or one that is not among them: of another process, or still open.
    """
    nodes = {id_of(span): Node(span) for span in spans}
    roots: list[Node] = []
    for node in nodes.values():
        parent = node.span.parent
        above = None if parent is None else nodes.get((parent.trace_id, parent.span_id))
        (roots if above is None else above.children).append(node)
    return roots


def id_of(span: ReadableSpan) -> tuple[int, int]:
    """Return trace id and span id."""
    context = span.get_span_context()
    return (0, 0) if context is None else (context.trace_id, context.span_id)


def drawn(nodes: Sequence[Node], attributes: Collection[str] = (), depth: int = 0) -> str:
    """Return ``nodes`` as text; of their attributes those that are named."""
    lines = []
    for node in nodes:
        lines.append("  " * depth + _line(node.span, attributes))
        if node.children:
            lines.append(drawn(node.children, attributes, depth + 1))
    return "\n".join(lines)


def _line(span: ReadableSpan, attributes: Collection[str]) -> str:
    kind = span.kind.name.lower()
    line = span.name if kind == "internal" else f"{span.name} [{kind}]"
    if span.status.status_code is StatusCode.ERROR:
        line += " ERROR"
    held = span.attributes or {}
    shown = [f"{key}={_quoted(str(held[key]))}" for key in attributes if key in held]
    return f"{line} {{{', '.join(shown)}}}" if shown else line


def _quoted(value: str) -> str:
    if value and not re.search(r'[,"{}\s]', value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def parsed(text: str) -> Wanted:
    """Return an expectation; its top stands for no span and has the roots below it.

    Raises:
        ValueError: a line stands further out than the first one.

    """
    top = Wanted("", "", None, None, {})
    stack: list[tuple[int, Wanted]] = [(-1, top)]
    for line in textwrap.dedent(text).splitlines():
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        while depth <= stack[-1][0]:
            stack.pop()
        above = stack[-1][1]
        if line.strip() == _REST:
            above.open = True
            continue
        found = _wanted(line.strip())
        above.children.append(found)
        stack.append((depth, found))
    return top


def _wanted(line: str) -> Wanted:
    match = _LINE.fullmatch(line)
    assert match is not None  # noqa: S101 - the name takes whatever the rest leaves
    pairs = {
        key: re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), value[1:-1])
        if value.startswith('"')
        else value.strip()
        for key, value in _PAIR.findall(match["attributes"] or "")
    }
    return Wanted(line, match["name"], match["kind"], match["status"], pairs)


def matches(wanted: Wanted, nodes: Sequence[Node], *, ordered: bool) -> bool:
    """Return whether ``nodes`` are the children that ``wanted`` asks for."""
    asked = wanted.children
    if len(nodes) < len(asked) or (len(nodes) > len(asked) and not wanted.open):
        return False
    if not ordered:
        return _all_placed(asked, nodes)
    left = iter(nodes)  # an earlier match leaves more to the later ones
    return all(any(_fits(each, node, ordered=True) for node in left) for each in asked)


def _all_placed(asked: Sequence[Wanted], nodes: Sequence[Node]) -> bool:
    """Return whether each of ``asked`` gets a node of its own (Kuhn's augmenting paths)."""
    fitting = [
        [at for at, node in enumerate(nodes) if _fits(each, node, ordered=False)] for each in asked
    ]
    taken: dict[int, int] = {}

    def place(which: int, seen: set[int]) -> bool:
        for at in fitting[which]:
            if at not in seen:
                seen.add(at)
                if at not in taken or place(taken[at], seen):
                    taken[at] = which
                    return True
        return False

    return all(place(which, set()) for which in range(len(asked)))


def _fits(wanted: Wanted, node: Node, *, ordered: bool) -> bool:
    span = node.span
    held = span.attributes or {}
    status = span.status.status_code.name
    return (
        like(span.name, wanted.name)
        and wanted.kind in (None, span.kind.name.lower())
        and (wanted.status == status if wanted.status else status != "ERROR")
        and all(
            key in held and like(str(held[key]), value) for key, value in wanted.attributes.items()
        )
        and matches(wanted, node.children, ordered=ordered)
    )


def like(text: str, pattern: str) -> bool:
    """Return whether ``text`` is ``pattern``, in which ``*`` and ``?`` stand for anything."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def _keys(wanted: Wanted) -> list[str]:
    found = list(wanted.attributes)
    for child in wanted.children:
        found += _keys(child)
    return list(dict.fromkeys(found))


def _lines(wanted: Wanted, depth: int = 0) -> list[str]:
    lines = []
    for child in wanted.children:
        lines += ["  " * depth + child.text, *_lines(child, depth + 1)]
    return [*lines, *(["  " * depth + _REST] if wanted.open else [])]


def assert_trace(spans: HasForest, expected: str, *, ordered: bool = False) -> None:
    """Fail unless the ended spans are the trees of ``expected``.

    A line of ``expected`` is a span: ``name [kind] ERROR {key=value, …}``, all but the name by
    choice; what is below it stands two spaces further in. A span that failed must say ``ERROR``. In
    names and values ``*`` and ``?`` stand for anything; ``...`` stands for any further siblings.
    Siblings may come in any order, with ``ordered`` only in that of their starts.

    Raises:
        AssertionError: with a difference of the two trees, line by line.

    """
    wanted = parsed(expected)
    roots = spans.forest()
    if matches(wanted, roots, ordered=ordered):
        return
    found = drawn(roots, _keys(wanted)).splitlines()
    difference = "\n".join(difflib.ndiff(_lines(wanted), found))
    raise AssertionError(f"the trace is another one (- expected, + ended):\n{difference}")
