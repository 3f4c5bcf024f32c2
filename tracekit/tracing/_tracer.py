"""The hot path: from a parent to a child.

A parent that is one of our own spans is read by slot, so no ``SpanContext`` is made until
somebody asks for it, and its decision is followed inline. Everything else (roots, parents from
the wire or of another library, foreign samplers) takes the road that the SDK takes.
"""

from __future__ import annotations

import logging
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import Decision as SamplingDecision
from opentelemetry.sdk.trace.sampling import SamplingResult
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import SpanKind

from tracekit._context import DEFER, marks_of
from tracekit.tracing._scope import SPAN_KEY, CurrentSpan, get_current
from tracekit.tracing._span import (
    DEBUG_BITS,
    FLAGS,
    MARKS_SHIFT,
    SAMPLED,
    Span,
    UnsampledSpan,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanContext, TraceState
    from opentelemetry.util.types import Attributes

    from tracekit.tracing._provider import TracerProvider

_log = logging.getLogger(__name__)
_new = object.__new__
_INTERNAL = SpanKind.INTERNAL
_NO_STATE = trace.TraceState.get_default()
_PRIORITY = "sampling.priority"
_DROP = SamplingResult(SamplingDecision.DROP)


class Tracer(trace.Tracer):
    """Starts the spans of one instrumentation scope. Any thread may use it."""

    def __init__(self, provider: TracerProvider, scope: InstrumentationScope) -> None:
        self.scope = scope
        self._provider = provider
        self._limits = provider._limits
        self._lives = provider._lives

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = _INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Start a span without making it current; see ``opentelemetry.trace.Tracer``.

        ``start_time`` in ns since the epoch. Never raises: a sampler or processor that does is
        logged and counted.
        """
        provider = self._provider
        parent: Any = (get_current() if context is None else context).get(SPAN_KEY)
        of = type(parent)
        if (
            (of is Span or of is UnsampledSpan)
            and provider._follows_parents
            and (attributes is None or _PRIORITY not in attributes)
        ):
            source: SpanContext | int | None = parent._span_id
            trace_id, bits, state = parent._trace_id, parent._bits, parent._state
            recording = bits & SAMPLED
        else:
            source, trace_id, bits, state, attributes, recording = self._decide(
                context, name, kind, attributes, links
            )
        lives = self._lives
        life = lives.current if lives.mark[0] else lives.now()
        generator = provider._foreign_ids
        span_id = life.draw() if generator is None else generator.generate_span_id()
        if not recording:
            life.unsampled.raise_()
            return _unsampled(trace_id, span_id, bits, state)

        span = _new(Span)
        span._tracer = self
        span._life = life
        span._name = name
        span._kind = kind
        span._trace_id = trace_id
        span._span_id = span_id
        span._bits = bits
        span._state = state
        span._source = source
        span._made = None
        span._end_time = None
        span._guard = None
        if attributes:
            span._attrs, dropped = self._limits.span.clean(attributes)
            if dropped:
                span._dropped = dropped
        else:
            span._attrs = {}
        if links:
            self._link(span, links)
        if not (record_exception and set_status_on_exception):
            span._record_exception = record_exception
            span._set_status_on_exception = set_status_on_exception
        span._start_time = time_ns() if start_time is None else start_time
        if bits & SAMPLED:
            provider._on_start(span, context)
        else:
            life.unsampled.raise_()
        if provider._processors:
            provider._notify_start(span, context)
        return span

    def start_as_current_span(  # type: ignore[override]  # ours is no contextlib generator
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = _INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """Return a context manager, or decorator, that starts a span and makes it current."""
        made = _new(CurrentSpan)
        made._tracer = self
        made._end_on_exit = end_on_exit
        made._arguments = (
            name,
            context,
            kind,
            attributes,
            links,
            start_time,
            record_exception,
            set_status_on_exception,
        )
        return made

    def _decide(
        self,
        context: Context | None,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link] | None,
    ) -> tuple[SpanContext | None, int, int, TraceState, Attributes, bool]:
        """Ask the sampler; return parent, trace id, bits, state, attributes, whether to record."""
        provider = self._provider
        parent: SpanContext | None = trace.get_current_span(context).get_span_context()
        if parent is not None and parent.is_valid:
            trace_id = parent.trace_id
            bits = parent.trace_flags & FLAGS & ~SAMPLED
            bits |= (marks_of(parent) & ~DEFER) << MARKS_SHIFT
        else:
            parent = None
            trace_id, bits = provider._new_trace()
        try:
            result = provider.sampler.should_sample(
                context, trace_id, name, kind, attributes, links or ()
            )
        except Exception:
            provider._failed("A sampler raised; the span is not sampled")
            result = _DROP
        if result.decision is SamplingDecision.RECORD_AND_SAMPLE:
            bits |= SAMPLED | getattr(result, "marks", 0) << MARKS_SHIFT
        else:
            bits &= ~DEBUG_BITS
        recording = result.decision is not SamplingDecision.DROP
        state = result.trace_state
        if state is None:
            state = _NO_STATE
        return parent, trace_id, bits, state, result.attributes, recording

    def _link(self, span: Span, links: Sequence[Link]) -> None:
        limits = self._limits
        span._added_links = BoundedList.from_seq(
            limits.max_links,
            [
                (link.context, limits.link.clean(link.attributes))
                for link in links
                if link
                and link.context
                and (link.context.is_valid or link.attributes or link.context.trace_state)
            ],
        )


def _unsampled(trace_id: int, span_id: int, bits: int, state: TraceState) -> UnsampledSpan:
    span = _new(UnsampledSpan)
    span._trace_id = trace_id
    span._span_id = span_id
    span._bits = bits
    span._state = state
    span._made = None
    return span
