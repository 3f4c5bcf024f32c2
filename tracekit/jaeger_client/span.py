"""``jaeger_client.Span``: OpenTracing's span with the attributes and constructor it had there."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import opentracing
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind
from opentracing.ext import tags as ext

from tracekit._context import Decision
from tracekit._protocols import REF_TYPE
from tracekit.jaeger_client._fields import FIELDS, Log, Tag, tags_of
from tracekit.jaeger_client.constants import DEBUG_FLAG, SAMPLED_FLAG
from tracekit.opentracing import Span as OpenTracingSpan
from tracekit.opentracing import SpanContext
from tracekit.opentracing import Tracer as OpenTracingTracer
from tracekit.opentracing._span import nanoseconds
from tracekit.opentracing._tags import KINDS, ValueRules
from tracekit.sampling import Const, ParentRule
from tracekit.sampling._parent import priority
from tracekit.tracing import Span as RecordingSpan
from tracekit.tracing import Tracer as RecordingTracer
from tracekit.tracing import TracerProvider, Unrecorded
from tracekit.tracing._late import remove_events, replace_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry import trace

__all__ = ["DEBUG_FLAG", "SAMPLED_FLAG", "Span"]

_KIND_TAGS = {kind: tag for tag, kind in KINDS.items()}


class Span(OpenTracingSpan):
    """A span of ``tracekit.jaeger_client``. Every method may be called from any thread.

    Tracers make them. One that is made by hand takes up the ids and the decision of ``context``
    and is reported by ``tracer``, if that is one of ours; else it can only be looked at.
    """

    _given_end: float | None = None

    def __init__(
        self,
        context: SpanContext,
        tracer: OpenTracingTracer,
        operation_name: str,
        tags: Mapping[str, object] | None = None,
        start_time: float | None = None,
        references: Sequence[opentracing.Reference] | None = None,
    ) -> None:
        parent = SpanContext(context.trace_id, context.parent_id, None, context.flags).otel
        recorder = tracer.recorder() if isinstance(tracer, OpenTracingTracer) else _unheard()
        links = [
            Link(ref.referenced_context.otel, {REF_TYPE: ref.type}) for ref in references or ()
        ]
        unrecorded = None
        otel: trace.Span = NonRecordingSpan(context.otel)
        if isinstance(recorder, RecordingTracer) and context.has_trace:
            unrecorded = Unrecorded.of(
                recorder,
                Context(),
                parent,
                operation_name,
                SpanKind.INTERNAL,
                links,
                nanoseconds(start_time),
            )
            otel = unrecorded.resume(context.otel)
        held = SpanContext.of(otel, context.baggage, context.forwarded, None, context.parent_id)
        super().__init__(tracer, otel, held, None if otel.is_recording() else unrecorded)
        if isinstance(tracer, OpenTracingTracer):
            tracer.remember(self)
        for key, value in (tags or {}).items():
            self.set_tag(key, value)

    @classmethod
    def showing(
        cls,
        tracer: OpenTracingTracer,
        otel: trace.Span,
        context: SpanContext,
        unrecorded: Unrecorded | None,
    ) -> Span:
        """Return a span that shows ``otel``."""
        made = cls.__new__(cls)
        OpenTracingSpan.__init__(made, tracer, otel, context, unrecorded)
        return made

    def finish(self, finish_time: float | None = None) -> None:
        """End the span at ``finish_time`` (seconds since the epoch; None: now)."""
        if self.otel.is_recording():
            self._given_end = finish_time
        super().finish(finish_time)

    @property
    def end_time(self) -> float | None:
        """Seconds since the epoch, the very number that was given; None if not finished."""
        ended = super().end_time
        return ended if ended is None else self._given_end or ended

    @property
    def tags(self) -> list[Tag]:
        """The tags so far, the kind first; empty if the span is not recorded. A copy."""
        kind = _KIND_TAGS.get(getattr(self.otel, "kind", SpanKind.INTERNAL))
        first = [] if kind is None else [Tag.of(ext.SPAN_KIND, kind)]
        return first + tags_of(getattr(self.otel, "attributes", None))

    @tags.setter
    def tags(self, tags: Sequence[Tag]) -> None:
        if isinstance(self.otel, RecordingSpan):
            replace_attributes(
                self.otel, {tag.key: getattr(tag, FIELDS[tag.vType]) for tag in tags}
            )

    @property
    def logs(self) -> list[Log]:
        """The logs so far; empty if the span is not recorded. A copy."""
        events = getattr(self.otel, "events", ())
        return [Log(event.timestamp // 1_000, tags_of(event.attributes)) for event in events]

    @logs.setter
    def logs(self, logs: Sequence[Log]) -> None:
        if isinstance(self.otel, RecordingSpan):
            remove_events(self.otel)
            for log in logs:
                fields = {tag.key: getattr(tag, FIELDS[tag.vType]) for tag in log.fields}
                self.log_kv(fields, log.timestamp / 1_000_000)

    @property
    def references(self) -> list[opentracing.Reference] | None:
        """What the span was started with beside its parent; None if nothing. A copy."""
        links = getattr(self.otel, "links", ())
        return [
            opentracing.Reference(
                (link.attributes or {}).get(REF_TYPE, opentracing.ReferenceType.FOLLOWS_FROM),
                SpanContext.of(NonRecordingSpan(link.context)),
            )
            for link in links
        ] or None

    def __repr__(self) -> str:
        context = self.context
        ids = f"{context.trace_id or 0:x}:{context.span_id or 0:x}:{context.parent_id or 0:x}"
        return f"{ids}:{self.flags:x} {self._tracer.service_name}.{self.operation_name}"

    @property
    def _values(self) -> ValueRules:
        tracer = self._tracer
        if isinstance(tracer, OpenTracingTracer):
            return tracer.values
        return ValueRules(tracer.max_tag_value_length, tracer.max_traceback_length)

    def _prioritise(self, value: object) -> bool:
        if (
            priority({ext.SAMPLING_PRIORITY: value}) is Decision.DEBUG
            and not self.is_debug()
            and not self._tracer.is_debug_allowed(self.operation_name)
        ):
            return False
        return super()._prioritise(value)


@cache
def _unheard() -> RecordingTracer:
    """Return what records the spans of tracers that are none of ours; nobody gets them."""
    provider = TracerProvider(ParentRule(Const(True)), None, Resource({}))
    return provider.tracer_class(provider, InstrumentationScope(""))
