"""A small Jaeger back end inside your own process: for a demo, a test, a first look.

    with Receiver() as agent:
        ...  # point a service at 127.0.0.1:agent.port
        spans = agent.wait(3)

It decodes with a reader of its own, not with the code that wrote the bytes.
"""

from __future__ import annotations

from tracekit.local._receiver import Receiver
from tracekit.local._spans import (
    ClientStats,
    Log,
    ReceivedBatch,
    ReceivedSpan,
    Reference,
    Tags,
)

__all__ = [
    "ClientStats",
    "Log",
    "ReceivedBatch",
    "ReceivedSpan",
    "Receiver",
    "Reference",
    "Tags",
]
