"""Headers in, headers out: Jaeger, B3 in both spellings, W3C, and the mesh around them.

``decode`` and ``encode`` are the codecs as pure functions over text maps. ``Propagator`` composes
them into OpenTelemetry's ``TextMapPropagator``. ``merge_headers`` is the one rule by which an
outgoing request gets its headers.
"""

from tracekit.propagation._binary import decode_binary, encode_binary
from tracekit.propagation._counters import Counters
from tracekit.propagation._extracted import enter
from tracekit.propagation._formats import FORMATS, decode, encode
from tracekit.propagation._forwarding import (
    TRACE_HEADERS,
    ForwardRule,
    Outgoing,
    application_names,
    merge_headers,
    select,
)
from tracekit.propagation._headers import collect, pairs_of
from tracekit.propagation._jaeger import Names as JaegerHeaders
from tracekit.propagation._metadata import merge_metadata, outgoing_metadata
from tracekit.propagation._propagator import Propagator, b3_propagator, jaeger_propagator
from tracekit.propagation._remote import Extracted, Remote

__all__ = [
    "FORMATS",
    "TRACE_HEADERS",
    "Counters",
    "Extracted",
    "ForwardRule",
    "JaegerHeaders",
    "Outgoing",
    "Propagator",
    "Remote",
    "application_names",
    "b3_propagator",
    "collect",
    "decode",
    "decode_binary",
    "encode",
    "encode_binary",
    "enter",
    "jaeger_propagator",
    "merge_headers",
    "merge_metadata",
    "outgoing_metadata",
    "pairs_of",
    "select",
]
