# ruff: noqa: ARG002 - OpenTelemetry's signatures, and nothing to do
"""A provider whose spans are no spans: what stands in when tracing is switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanKind

from tracekit.tracing._scope import SPAN_KEY, get_current
from tracekit.tracing._tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Link
    from opentelemetry.util.types import Attributes


class DisabledTracer(trace.Tracer):
    """Hands the parent's context on: what came from the wire goes on to the wire."""

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Return a span that records nothing and has its parent's ids."""
        parent = (get_current() if context is None else context).get(SPAN_KEY)
        if parent is None:
            return trace.INVALID_SPAN
        if isinstance(parent, NonRecordingSpan):
            return parent
        return NonRecordingSpan(trace.get_current_span(context).get_span_context())

    start_as_current_span = Tracer.start_as_current_span  # type: ignore[assignment]


class DisabledTracerProvider(trace.TracerProvider):
    """Gives disabled tracers; takes span processors and never shows them a span."""

    def __init__(self, resource: Resource | None = None) -> None:
        self.resource = Resource.get_empty() if resource is None else resource
        self._tracer = DisabledTracer()

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> DisabledTracer:
        """Return the one tracer."""
        return self._tracer

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Do nothing: there will be no span to see."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return True: nothing is left."""
        return True

    def shutdown(self, timeout_s: float = 2.0) -> None:
        """Do nothing."""
