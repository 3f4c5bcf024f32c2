"""The tracer: provider, tracers and spans on OpenTelemetry's API, made for a hot path.

``tracekit.init`` builds the provider; by hand it takes a sampler, a reporter and a resource.
"""

from __future__ import annotations

from tracekit.tracing._disabled import DisabledTracer, DisabledTracerProvider
from tracekit.tracing._late import Unrecorded
from tracekit.tracing._provider import (
    MAX_TRACERS,
    SpanCounts,
    TracerProvider,
    default_limits,
)
from tracekit.tracing._scope import CurrentSpan
from tracekit.tracing._shared import Reporter
from tracekit.tracing._span import Span, UnsampledSpan
from tracekit.tracing._tracer import Tracer

__all__ = [
    "MAX_TRACERS",
    "CurrentSpan",
    "DisabledTracer",
    "DisabledTracerProvider",
    "Reporter",
    "Span",
    "SpanCounts",
    "Tracer",
    "TracerProvider",
    "Unrecorded",
    "UnsampledSpan",
    "default_limits",
]
