"""Formats: a span becomes a frame once, frames become a payload."""

from tracekit.encoding._jaeger import JaegerEncoder, jaeger_binary, jaeger_compact

__all__ = ["JaegerEncoder", "jaeger_binary", "jaeger_compact"]
