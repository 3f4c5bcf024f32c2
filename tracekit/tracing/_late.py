"""What Jaeger's clients could do to a span in the middle: decide anew, renumber, replace its tags.

OpenTelemetry knows no such turns, so there a span that nobody recorded stays lost. OpenTracing's
``sampling.priority`` is exactly that turn, and its tracer keeps what is needed to make it.
The functions here are for bridges: what they do has no name in OpenTelemetry's API, so spans show
no method for it. Any thread may call them.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, NamedTuple

from tracekit._context import Decision, marks_of
from tracekit._protocols import FLAGS, MARKS_SHIFT
from tracekit.tracing._begin import valid_links
from tracekit.tracing._make import recording, started, unsampled
from tracekit.tracing._readable import SAMPLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk import trace as sdk
    from opentelemetry.trace import Link, SpanContext, SpanKind
    from opentelemetry.util.types import AttributeValue

    from tracekit.tracing._shared import TracerState
    from tracekit.tracing._span import Span, UnsampledSpan


def force(span: Span | UnsampledSpan, decision: Decision) -> None:
    """Change what was decided about a live span, for its context and its later children.

    DEBUG and ACCEPT sample it, DENY does not; DEFER changes nothing.
    """
    span._force(decision)


def renumber(
    span: Span | UnsampledSpan, trace_id: int | None = None, span_id: int | None = None
) -> None:
    """Give a span other ids (None: as they are), for a library that numbers its spans itself.

    What has been started below or sent out before keeps the former ones.
    """
    span._trace_id = span._trace_id if trace_id is None else trace_id
    span._span_id = span._span_id if span_id is None else span_id
    span._made = None


def set_parent_id(span: Span, parent_id: int | None) -> None:
    """Put a span below ``parent_id`` of its own trace (None: a root)."""
    span._source = parent_id


def set_kind(span: sdk.Span, kind: SpanKind) -> None:
    """Change the kind, which OpenTelemetry's API takes at the start only."""
    span._kind = kind


def replace_attributes(span: Span, attributes: dict[str, AttributeValue]) -> None:
    """Put ``attributes`` in the place of all there are; the dictionary is taken over."""
    span._attrs = attributes


def remove_events(span: Span) -> None:
    """Forget the events so far."""
    span._added_events = None


class Unrecorded(NamedTuple):
    """What an unsampled span does not keep of its own start."""

    tracer: TracerState
    context: Context
    parent: SpanContext | None
    name: str
    kind: SpanKind
    links: Sequence[Link]
    start_ns: int

    def record(self, quiet: UnsampledSpan, decision: Decision) -> Span:
        """Return a recording span with the ids of ``quiet``, sampled by ``decision``.

        It is counted as started now, and owes one end. ``quiet`` says the same from now on, for
        those who hold it.
        """
        quiet._force(decision)
        tracer = self.tracer
        span = recording(
            tracer,
            tracer._states.now(),
            quiet._trace_id,
            quiet._span_id,
            quiet._bits,
            quiet._state,
            self.parent,
            self.name,
            self.kind,
            {},
            self.start_ns,
        )
        if self.links:
            span._added_links = valid_links(tracer, self.links)
        started(span, self.context)
        return span

    def resume(self, context: SpanContext) -> Span | UnsampledSpan:
        """Start the span under the ids, flags and marks of ``context``, asking no sampler.

        For Zipkin's way of having one span on both sides of a call.
        """
        bits = context.trace_flags & FLAGS | marks_of(context) << MARKS_SHIFT
        quiet = unsampled(context.trace_id, context.span_id, bits, context.trace_state)
        sampled = bits & SAMPLED
        self.tracer._states.now().begin(self.parent, sampled)
        return self.record(quiet, Decision.ACCEPT) if sampled else quiet

    @classmethod
    def of(
        cls,
        tracer: TracerState,
        context: Context,
        parent: SpanContext,
        name: str,
        kind: SpanKind,
        links: Sequence[Link],
        start_ns: int | None,
    ) -> Unrecorded:
        """Return what is known of a start; ``start_ns`` None: now."""
        above = parent if parent.is_valid else None
        return cls(
            tracer, context, above, name, kind, links, time_ns() if start_ns is None else start_ns
        )
