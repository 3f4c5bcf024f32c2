"""How a span is made from what is known of it.

Whoever has decided (an edge that has read headers, a tracer of another API) comes here with plain
values and gets a span that is begun. ``begin``, ``begin_kept`` and ``pass_on`` alone fill slots by
themselves, inline, because there it is hot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Decision

from tracekit._protocols import MARKS_SHIFT, PlainAttributes
from tracekit.tracing._locked_span import SPAN
from tracekit.tracing._readable import SAMPLED
from tracekit.tracing._span import UnsampledSpan

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext, SpanKind, TraceState
    from opentelemetry.util.types import Attributes, AttributeValue

    from tracekit.tracing._process_state import TracingState
    from tracekit.tracing._shared import SharedState, TracerState
    from tracekit.tracing._span import Span

    Root = tuple[int, int, TraceState, Attributes, bool]

_new = object.__new__
_NO_STATE = trace.DEFAULT_TRACE_STATE
_PLAIN_TYPES = frozenset((str, bool, int, float))


def unsampled(trace_id: int, span_id: int, bits: int, state: TraceState) -> UnsampledSpan:
    """Return a span that nobody will see, with these ids, flags and marks."""
    span: UnsampledSpan = UnsampledSpan()
    span._trace_id = trace_id
    span._span_id = span_id
    span._bits = bits
    span._state = state
    span._made = None
    return span


def recording(
    tracer: TracerState,
    process: TracingState,
    trace_id: int,
    span_id: int,
    bits: int,
    state: TraceState,
    source: SpanContext | int | None,
    name: str,
    kind: SpanKind,
    attributes: dict[str, AttributeValue],
    start_ns: int,
    of: type[Span] = SPAN,
) -> Span:
    """Return a recording span, of class ``of``; ``started`` is still to be called.

    ``bits`` are trace flags and, from bit 8 on, marks. ``source`` is the parent: its context, its
    span id if all else is as in this span, or None. ``attributes`` is taken over and becomes the
    span's own dictionary where it is plain, so the caller keeps no hold of it; ``PlainAttributes``
    are copied.
    """
    span: Span = _new(of)
    span._trace_id = trace_id
    span._span_id = span_id
    span._bits = bits
    span._state = state
    span._source = source
    span._tracer = tracer
    span._process = process
    span._name = name
    span._kind = kind
    span._made = None
    span._guard = None
    span._start_time = start_ns
    span._end_time = None
    span._added_events = None
    rules = tracer._limits.span
    if attributes.__class__ is PlainAttributes and rules.trusting and len(attributes) <= rules.room:
        span._attrs = {**attributes}
    elif not attributes or (
        rules.trusting
        and len(attributes) <= rules.room
        and _PLAIN_TYPES.issuperset(map(type, attributes.values()))
    ):
        span._attrs = attributes
    else:
        span._attrs, dropped = rules.clean(attributes)
        if dropped:
            span._dropped = dropped
    return span


def started(span: Span, context: Context | None) -> None:
    """Tell reporter and span processors of a span that is whole; ``context`` is its parent's."""
    provider = span._tracer._provider
    if span._bits & SAMPLED:
        provider._on_start(span, context)
    if provider._processors:
        provider._notify_start(span, context)


def root(provider: SharedState, process: TracingState, name: str, attributes: Attributes) -> Root:
    """Decide a root by the local sampler, which there is (``provider._decide_root``), and count it.

    Returns trace id, bits, trace state, the start attributes, and whether to record.
    """
    try:  # TracingState.draw_trace_id(), without the calls
        trace_id = process.stock.pop() or process.draw()
    except IndexError:
        trace_id = process.draw()
    if provider._wide:
        trace_id |= process.draw() << 64
    bits, state, keep = provider._random_bit, _NO_STATE, False
    try:
        result = provider._decide_root(trace_id, name)  # type: ignore[misc] # it is there, see above
        keep = result.decision is not Decision.DROP
        if keep:
            plain: PlainAttributes | None = getattr(result, "plain", None)
            if plain is None or (attributes and attributes.__class__ is not PlainAttributes):
                given = result.attributes
                attributes = {**attributes, **given} if attributes else given
            elif attributes:
                attributes = PlainAttributes(attributes)  # type: ignore[arg-type] # it is one
                attributes.update(plain)
            else:
                attributes = plain
            if result.decision is Decision.RECORD_AND_SAMPLE:
                bits |= SAMPLED | getattr(result, "marks", 0) << MARKS_SHIFT
        if result.trace_state is not None:
            state = result.trace_state
    except Exception:
        provider._failed("A sampler raised; the span is not sampled")
        keep = False
    process.roots[bits & SAMPLED] += 1
    return trace_id, bits, state, attributes, keep
