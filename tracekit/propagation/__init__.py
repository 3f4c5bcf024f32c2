"""Headers in, headers out: Jaeger, B3 in both spellings, W3C, and the mesh around them.

``decode`` and ``encode`` are the codecs as pure functions over text maps, ``Remote`` what they
speak of. ``Propagator`` composes them into OpenTelemetry's ``TextMapPropagator``;
``jaeger_propagator`` and ``b3_propagator`` are its forms for a program with OpenTelemetry's own
SDK. ``merge_headers`` is the one rule by which an outgoing request gets its headers.
"""

from tracekit.propagation._formats import decode, encode
from tracekit.propagation._forwarding import merge_headers
from tracekit.propagation._propagator import Propagator, b3_propagator, jaeger_propagator
from tracekit.propagation._remote import Remote

__all__ = [
    "Propagator",
    "Remote",
    "b3_propagator",
    "decode",
    "encode",
    "jaeger_propagator",
    "merge_headers",
]
