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
_add = dict.setdefault  # under a new key: half of what the call of the other costs
_mark = object.__setattr__


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
    trace_id, _, parent_id, sampled, debug, debug_id, baggage, _, bits = fields
    if trace_id:
        span = RemoteSpan()
        span._arrived = fields
        if parent_id:
            span.parent_id = parent_id
        (_set if made else _add)(made, SPAN_KEY, span)
        if debug or bits & CARRIED:  # for spans that cannot carry them (DEFER is no mark of these)
            _set(made, MARKS_KEY, (trace_id, bits & CARRIED | DEBUG if debug else bits & CARRIED))
    elif sampled is not None:
        decision = Decision.DEBUG if debug else Decision.ACCEPT if sampled else Decision.DENY
        _set(made, ROOT_HINT_KEY, RootHint(decision, debug_id))
    if captured or baggage:
        _carry(made, baggage, captured)
    return made


class RemoteSpan(trace.NonRecordingSpan):
    """The caller's span as it arrived, which nobody has changed since; any thread may read it.

    Its ``SpanContext`` is made when somebody first asks for it: who starts a span below it, or
    passes on what arrived.
    """

    _arrived: ExtractedFields
    _made: SpanContext | None = None
    _bits = None  # whoever reads a span of ours by its slots sees at once that this is none
    parent_id: int | None = None
    """Told again by who passes it on without a span of its own."""
    __init__ = object.__init__  # filled by who makes it

    def get_span_context(self) -> SpanContext:
        """Return what arrived, as OpenTelemetry has it."""
        return self._made or self._make()

    @property
    def _context(self) -> SpanContext:  # type: ignore[override] # what the class above holds
        return self._made or self._make()

    def _make(self) -> SpanContext:
        trace_id, span_id, _, sampled, debug, _, _, tracestate, bits = self._arrived
        # SpanContext.__new__ would check the ranges that decoders have checked already.
        flags = _FLAGS[bits & RANDOM | 1 if sampled else bits & RANDOM]
        state = trace_state(tracestate) if tracestate else NO_STATE
        made = _new(SpanContext, (trace_id, span_id, True, flags, state, True))
        if debug or sampled is None or bits & CARRIED:
            marks = DEBUG if debug else DEFER if sampled is None else 0
            _mark(made, "marks", bits & CARRIED | marks)
        self._made = made  # of two threads' the last stays; they are equal
        return made

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle as what any program with OpenTelemetry can read."""
        held = {"parent_id": self.parent_id} if self.parent_id else None
        return trace.NonRecordingSpan, (self.get_span_context(),), held


IDLE = (RemoteSpan, trace.NonRecordingSpan)
"""Spans that hold a context and do nothing, by exact type: what a subclass says has to be asked."""


def _carry(made: Context, baggage: Mapping[str, str], captured: Headers) -> None:
    if captured:
        _set(made, FORWARDED_KEY, captured)
    if baggage:
        _set(made, BAGGAGE_KEY, {**otel_baggage.get_all(made), **baggage})


def trace_state(text: str) -> trace.TraceState:
    """Return what a ``tracestate`` header says."""
    members = parse(text)
    return TraceState(members) if members else NO_STATE
