"""The tracer: provider, tracers and spans on OpenTelemetry's API, made for a hot path.

``tracekit.init`` builds the provider; by hand it takes a sampler, a reporter and a resource.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit._lazy import lazily
from tracekit.tracing._disabled import DisabledTracer, DisabledTracerProvider
from tracekit.tracing._provider import (
    MAX_TRACERS,
    SpanCounts,
    TracerProvider,
    default_limits,
)
from tracekit.tracing._scope import CurrentSpan
from tracekit.tracing._shared import (
    DEFAULT_KEEP_BYTES,
    DEFAULT_KEEP_PER_SECOND,
    DEFAULT_KEEP_SPANS,
    Reporter,
)
from tracekit.tracing._span import Span, UnsampledSpan
from tracekit.tracing._tracer import Tracer

if TYPE_CHECKING:
    from tracekit.tracing._keeping import KeepingTracerProvider
    from tracekit.tracing._late import Unrecorded
    from tracekit.tracing._local_trace import DiscardReason, KeepCounts

__all__ = [
    "DEFAULT_KEEP_BYTES",
    "DEFAULT_KEEP_PER_SECOND",
    "DEFAULT_KEEP_SPANS",
    "MAX_TRACERS",
    "CurrentSpan",
    "DisabledTracer",
    "DisabledTracerProvider",
    "DiscardReason",
    "KeepCounts",
    "KeepingTracerProvider",
    "Reporter",
    "Span",
    "SpanCounts",
    "Tracer",
    "TracerProvider",
    "Unrecorded",
    "UnsampledSpan",
    "default_limits",
]

if not TYPE_CHECKING:  # few programs keep what was not sampled, or change a span that has begun
    __getattr__ = lazily(
        __name__,
        {
            "DiscardReason": "tracekit.tracing._local_trace",
            "KeepCounts": "tracekit.tracing._local_trace",
            "KeepingTracerProvider": "tracekit.tracing._keeping",
            "Unrecorded": "tracekit.tracing._late",
        },
    )
