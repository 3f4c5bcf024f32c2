"""Formats: a span becomes a frame once, frames become a payload."""

from tracekit.encoding._factory import jaeger_binary, jaeger_compact, otlp
from tracekit.encoding._jaeger import JaegerEncoder
from tracekit.encoding._native import NATIVE_ENCODERS, Frames, native_frames
from tracekit.encoding._otlp import OtlpEncoder

__all__ = [
    "NATIVE_ENCODERS",
    "Frames",
    "JaegerEncoder",
    "OtlpEncoder",
    "jaeger_binary",
    "jaeger_compact",
    "native_frames",
    "otlp",
]
