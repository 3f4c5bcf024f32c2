"""A small Jaeger back end inside your own process: for a demo, a test, a first look.

    with Receiver() as agent:
        ...  # point a service at 127.0.0.1:agent.port
        print(draw(agent.wait(3)))

It decodes with a reader of its own, not with the code that wrote the bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.local import _paint, _tree
from tracekit.local._receiver import Receiver
from tracekit.local._sampling import SamplingServer
from tracekit.local._spans import (
    ClientStats,
    Log,
    ReceivedBatch,
    ReceivedSpan,
    Reference,
    Tags,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ClientStats",
    "Log",
    "ReceivedBatch",
    "ReceivedSpan",
    "Receiver",
    "Reference",
    "SamplingServer",
    "Tags",
    "draw",
]


def draw(spans: Iterable[ReceivedSpan], *, width: int = 100, color: bool = False) -> str:
    """Return the traces of ``spans`` as trees with bars; ``color`` adds ANSI sequences."""
    traces = _tree.by_trace(spans).values()
    pictures = (_paint.text(_tree.lines(trace, width), color=color) for trace in traces)
    return "\n\n".join(pictures)
