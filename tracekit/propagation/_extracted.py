"""What arrived, put where OpenTelemetry and our tracer look for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import baggage as otel_baggage
from opentelemetry import trace
from opentelemetry.context import Context

from tracekit._context import (
    CARRIED,
    DEBUG,
    DEFER,
    FORWARDED_KEY,
    MARKS_KEY,
    RANDOM,
    ROOT_HINT_KEY,
    SPAN_KEY,
    Decision,
    RootHint,
    SpanContext,
)
from tracekit.propagation._tracestate import TraceState, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit._context import Headers
    from tracekit.propagation._remote import Extracted, ExtractedFields

# Made up by OpenTelemetry at import, like SPAN_KEY. Reading the context once by key, instead of
# through two functions that each look it up, is a third of what inject costs.
BAGGAGE_KEY = next(iter(otel_baggage.set_baggage("key", "value", Context())))

NO_STATE = trace.DEFAULT_TRACE_STATE
_FLAGS = tuple(map(trace.TraceFlags, range(4)))
_new = tuple.__new__
_set = dict.__setitem__
_mark = object.__setattr__
_span = object.__new__
_NonRecordingSpan = trace.NonRecordingSpan


def enter(extracted: Extracted, context: Context, span: trace.Span | None = None) -> Context:
    """Return ``context`` with what arrived; ``context`` itself if that is nothing.

    ``span`` has been started below the caller's, and is current in its stead.
    """
    fields, captured = extracted
    if fields is None:
        return context
    made = Context(context)
    if span is None:
        return fill(made, fields, captured)
    _set(made, SPAN_KEY, span)
    if captured or fields[6]:
        _carry(made, fields[6], captured)
    return made


def fill(made: Context, fields: ExtractedFields, captured: Headers) -> Context:
    """Fill a fresh context before anybody sees it; a second copy would cost as much again."""
    trace_id, span_id, parent_id, sampled, debug, debug_id, baggage, tracestate, bits = fields
    if trace_id:
        # SpanContext.__new__ would check the ranges that decoders have checked already.
        flags = _FLAGS[bits & RANDOM | 1 if sampled else bits & RANDOM]
        state = trace_state(tracestate) if tracestate else NO_STATE
        span_context = _new(SpanContext, (trace_id, span_id, True, flags, state, True))
        if debug or sampled is None or bits & CARRIED:
            marks = bits & CARRIED
            if debug:
                marks |= DEBUG
            elif sampled is None:
                marks |= DEFER
            _mark(span_context, "marks", marks)
            if marks != DEFER:
                _set(made, MARKS_KEY, (trace_id, marks & ~DEFER))
        span = _span(_NonRecordingSpan)
        span._context = span_context
        if parent_id:  # told again by who passes it on without a span of its own
            span.parent_id = parent_id  # type: ignore[attr-defined]
        _set(made, SPAN_KEY, span)
    elif sampled is not None:
        decision = Decision.DEBUG if debug else Decision.ACCEPT if sampled else Decision.DENY
        _set(made, ROOT_HINT_KEY, RootHint(decision, debug_id))
    if captured or baggage:
        _carry(made, baggage, captured)
    return made


def _carry(made: Context, baggage: Mapping[str, str], captured: Headers) -> None:
    if captured:
        _set(made, FORWARDED_KEY, captured)
    if baggage:
        _set(made, BAGGAGE_KEY, {**otel_baggage.get_all(made), **baggage})


def trace_state(text: str) -> trace.TraceState:
    """Return what a ``tracestate`` header says."""
    members = parse(text)
    return TraceState(members) if members else NO_STATE
