"""A small Jaeger back end inside your own process: for a demo, a test, a first look.

    with Receiver() as agent:
        ...  # point a service at 127.0.0.1:agent.port
        print(draw(agent.wait(3)))

It decodes with a reader of its own, not with the code that wrote the bytes.
"""

from __future__ import annotations

from tracekit.drawing import draw
from tracekit.local._backend import Backend
from tracekit.local._documents import MAX_FILE_BYTES, read_document, write_document
from tracekit.local._ports import PORTS, PortsTakenError
from tracekit.local._receiver import Receiver
from tracekit.local._sampling import SamplingServer
from tracekit.local._search import all_tags, as_text, parse_duration_ns, parse_trace_id
from tracekit.local._spans import (
    ClientStats,
    Log,
    ReceivedBatch,
    ReceivedSpan,
    Reference,
    Tags,
)
from tracekit.local._strategies import Strategies
from tracekit.local._traces import TraceStore

__all__ = [
    "MAX_FILE_BYTES",
    "PORTS",
    "Backend",
    "ClientStats",
    "Log",
    "PortsTakenError",
    "ReceivedBatch",
    "ReceivedSpan",
    "Receiver",
    "Reference",
    "SamplingServer",
    "Strategies",
    "Tags",
    "TraceStore",
    "all_tags",
    "as_text",
    "draw",
    "parse_duration_ns",
    "parse_trace_id",
    "read_document",
    "write_document",
]
