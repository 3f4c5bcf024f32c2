"""Span contexts, and their form in one line: ``{trace}:{span}:{parent}:{flags}``."""

from __future__ import annotations

from tracekit.jaeger_client.codecs import span_context_from_string, span_context_to_string
from tracekit.opentracing import SpanContext

__all__ = ["SpanContext", "span_context_from_string", "span_context_to_string"]
