"""Formats: a span becomes a frame once, frames become a payload."""

from tracekit.encoding._jaeger import JaegerEncoder, jaeger_binary, jaeger_compact
from tracekit.encoding._otlp import OtlpEncoder

__all__ = ["JaegerEncoder", "OtlpEncoder", "jaeger_binary", "jaeger_compact"]
