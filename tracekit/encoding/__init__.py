"""Formats: a span becomes a frame once, frames become a payload."""

from typing import TYPE_CHECKING

from tracekit._lazy import lazily
from tracekit.encoding._factory import jaeger_binary, jaeger_compact, otlp
from tracekit.encoding._many import FactsEncoder
from tracekit.encoding._native import Frames, native_frames

if TYPE_CHECKING:
    from tracekit.encoding._jaeger import JaegerEncoder
    from tracekit.encoding._otlp import OtlpEncoder

__all__ = [
    "FactsEncoder",
    "Frames",
    "JaegerEncoder",
    "OtlpEncoder",
    "jaeger_binary",
    "jaeger_compact",
    "native_frames",
    "otlp",
]

if not TYPE_CHECKING:  # a program has one of them
    __getattr__ = lazily(
        __name__,
        {
            "JaegerEncoder": "tracekit.encoding._jaeger",
            "OtlpEncoder": "tracekit.encoding._otlp",
        },
    )
