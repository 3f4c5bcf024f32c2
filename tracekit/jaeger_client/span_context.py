"""Span contexts, and their form in one line: ``{trace}:{span}:{parent}:{flags}``."""

from __future__ import annotations

from opentracing import SpanContextCorruptedException

from tracekit.opentracing import SpanContext
from tracekit.propagation import decode

__all__ = ["SpanContext", "span_context_from_string", "span_context_to_string"]


def span_context_to_string(trace_id: int, span_id: int, parent_id: int | None, flags: int) -> str:
    """Return the line; numbers in hexadecimal, without leading zeros."""
    return f"{trace_id:x}:{span_id:x}:{parent_id or 0:x}:{flags:x}"


def span_context_from_string(value: object) -> tuple[int, int, int | None, int]:
    """Return trace id, span id, parent id (None: a root) and flags of such a line.

    Raises SpanContextCorruptedException for anything else.
    """
    if isinstance(value, list) and len(value) == 1:  # some frameworks list a header's values
        (value,) = value
    remote = decode("jaeger", {"uber-trace-id": value}) if isinstance(value, str) else None
    if remote is None:
        raise SpanContextCorruptedException(f"malformed trace context {value!r}")
    context = SpanContext(
        remote.trace_id,
        remote.span_id,
        remote.parent_id,
        remote.trace_flags | bool(remote.sampled) | remote.debug << 1,
    )
    return remote.trace_id, remote.span_id, remote.parent_id, context.flags or 0
