"""Traces as trees with bars: for a terminal, plain or in colour, and as SVG.

Any objects with the attributes of :class:`DrawnSpan` can be drawn; ``tracekit view``, ``tracekit
draw``, the demo and the transport ``console`` draw with it. What a span says is shown without
anything that could steer a terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.drawing._paint import svg, text, wants_color
from tracekit.drawing._tree import (
    DrawnLog,
    DrawnSpan,
    Line,
    Piece,
    by_trace,
    duration,
    lines,
    printable,
    rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DrawnLog",
    "DrawnSpan",
    "Line",
    "Piece",
    "by_trace",
    "draw",
    "duration",
    "lines",
    "printable",
    "rows",
    "svg",
    "text",
    "wants_color",
]


def draw(spans: Iterable[DrawnSpan], *, width: int = 100, color: bool = False) -> str:
    """Return the traces of ``spans`` as trees with bars; ``color`` adds ANSI sequences."""
    traces = by_trace(spans).values()
    return "\n\n".join(text(lines(trace, width), color=color) for trace in traces)
