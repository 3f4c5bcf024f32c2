"""The diagrams of the pages, drawn from the tables below by ``make docs``.

A diagram is rows of boxes with arrows between them. It brings its own background and follows the
reader's choice of light or dark; text in it can be selected and searched.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DOCS = Path(__file__).parent
_WIDTH, _HEIGHT, _GAP, _ROW, _LEFT, _TOP = 150, 46, 74, 84, 16, 36
_A_LINE = 3
"""So many boxes stand side by side, and can be read at the width of a page."""
_TURN = _LEFT + 12


class Box(NamedTuple):
    """A part."""

    name: str
    does: str = ""
    after: str = ""
    """What stands on the arrow to the next one."""
    within: str = ""
    """What it shares with its neighbours of the same text: a pod, a node, a thread."""


class Row(NamedTuple):
    """A way from left to right, and what it is called."""

    title: str
    boxes: tuple[Box, ...]


ROADS = (
    Row(
        "A finished span",
        (
            Box("span.end()", "attributes are final", "", "the program's thread"),
            Box("SpanQueue.offer", "never waits", "span", "the program's thread"),
            Box("Encoder.frame", "once per span", "bytes", "the worker"),
            Box("Batcher", "to the byte limit", "payload", "the worker"),
            Box("Sender", "again, or gives up", "", "the worker"),
            Box("Transport.send", "one attempt", "", "the worker"),
        ),
    ),
    Row(
        "A header",
        (
            Box("carrier", "HTTP, gRPC, a message"),
            Box("decode", "each format", "fields"),
            Box("Tracer", "joins or begins", "span"),
            Box("your code", "under the span", "context"),
            Box("encode", "each format"),
            Box("carrier", "the next service"),
        ),
    ),
    Row(
        "A setting",
        (
            Box("environment", "one snapshot"),
            Box("row", "_config/variables", "value"),
            Box("layers", "argument, variable, file", ""),
            Box("rules", "between settings", ""),
            Box("Settings", "frozen", ""),
            Box("wiring.build", "the parts"),
        ),
    ),
)
WAYS = (
    Row("shop", (Box("service", "", "OTLP/HTTP"), Box("Jaeger v2", "in memory"))),
    Row(
        "jaeger",
        (
            Box("service", "", "OTLP/HTTP"),
            Box("Jaeger v2", "two replicas", "bulk"),
            Box("Elasticsearch", "a week of indices"),
        ),
    ),
    Row(
        "collector",
        (
            Box("service", "", "OTLP/gRPC"),
            Box("Collector", "a Deployment", "OTLP/gRPC"),
            Box("Jaeger v2", "or several back ends"),
        ),
    ),
    Row(
        "daemonset",
        (
            Box("service", "", "UDP", "the node"),
            Box("agent", "one a node", "OTLP/gRPC", "the node"),
            Box("Jaeger v2"),
        ),
    ),
    Row(
        "sidecar",
        (
            Box("service", "", "UDP", "the pod"),
            Box("agent", "one a pod", "OTLP/gRPC", "the pod"),
            Box("Jaeger v2"),
        ),
    ),
)
DIAGRAMS: Mapping[str, tuple[str, tuple[Row, ...]]] = {
    "explanation/roads.svg": ("Three roads through tracekit", ROADS),
    "kubernetes/ways.svg": ("Where spans go, folder by folder", WAYS),
}
_STYLE = (
    ".paper{fill:#fff}.box{fill:#e3f1ee;stroke:#2a7f62}.room{fill:none;stroke:#999;"
    "stroke-dasharray:5 4}.turn{stroke:#555;fill:none}.arrow{stroke:#555;fill:#555}"
    "text{fill:#222}.small{fill:#555}"
    "@media(prefers-color-scheme:dark){.paper{fill:#1e2129}.box{fill:#21443b;stroke:#62b99b}"
    ".turn{stroke:#bbb}.room{stroke:#888}.arrow{stroke:#bbb;fill:#bbb}"
    "text{fill:#eee}.small{fill:#bbb}}"
)


def svg(title: str, rows: tuple[Row, ...]) -> str:
    """Return the picture."""
    width = 2 * _LEFT + _A_LINE * _WIDTH + (_A_LINE - 1) * _GAP
    parts, top = [], _TOP
    for row in rows:
        parts.append(
            f'<text x="{_LEFT}" y="{top - 10}" font-weight="bold">{escape(row.title)}</text>'
        )
        for first in range(0, len(row.boxes), _A_LINE):
            parts += _line(row.boxes, first, top)
            top += _ROW
    height = top - _ROW + _HEIGHT + 16
    head = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            f'aria-label="{escape(title)}" font-family="sans-serif" font-size="13">'
        ),
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}" rx="6"/>',
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _line(boxes: tuple[Box, ...], first: int, top: int) -> Iterator[str]:
    """Draw the boxes from ``first`` to the end of the line, and the arrows that leave them."""
    line = boxes[first : first + _A_LINE]
    yield from _rooms(line, top)
    middle = top + _HEIGHT // 2
    for place, box in enumerate(line):
        x = _x(place)
        yield f'<rect class="box" x="{x}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" rx="5"/>'
        centre, above = x + _WIDTH // 2, middle - 3 if box.does else middle + 4
        yield f'<text x="{centre}" y="{above}" text-anchor="middle">{escape(box.name)}</text>'
        if box.does:
            yield _small(centre, middle + 14, box.does)
        if first + place + 1 == len(boxes):
            continue
        if place + 1 < len(line):
            end = x + _WIDTH + _GAP
            yield f'<path class="arrow" d="M{x + _WIDTH} {middle}H{end - 7}"/>'
            yield f'<path class="arrow" d="M{end} {middle}l-8 -4v8z"/>'
            yield from _on_arrow(x + _WIDTH + _GAP // 2 - 3, middle - 6, box)
        else:  # down to the next line
            bottom, turn = top + _HEIGHT, top + (_HEIGHT + _ROW) // 2
            yield f'<path class="turn" d="M{centre} {bottom}V{turn}H{_TURN}V{top + _ROW - 7}"/>'
            yield f'<path class="arrow" d="M{_TURN} {top + _ROW}l-4 -8h8z"/>'
            yield from _on_arrow(x, turn - 4, box)


def _on_arrow(x: int, y: int, box: Box) -> Iterator[str]:
    if box.after:
        yield _small(x, y, box.after)


def _rooms(line: tuple[Box, ...], top: int) -> Iterator[str]:
    """Frame neighbours that are within the same."""
    for name in dict.fromkeys(box.within for box in line if box.within):
        places = [place for place, box in enumerate(line) if box.within == name]
        x, end = _x(places[0]) - 8, _x(places[-1]) + _WIDTH + 8
        size = f'width="{end - x}" height="{_HEIGHT + 12}"'
        yield f'<rect class="room" x="{x}" y="{top - 6}" {size}/>'
        yield _small(end, top - 10, name, "end")


def _x(place: int) -> int:
    return _LEFT + place * (_WIDTH + _GAP)


def _small(x: int, y: int, text: str, anchor: str = "middle") -> str:
    return (
        f'<text class="small" x="{x}" y="{y}" font-size="11" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
