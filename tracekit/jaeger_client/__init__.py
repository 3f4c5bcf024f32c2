"""``jaeger_client`` by another name: the same configuration, tracer and spans on this pipeline.

::

    from tracekit.jaeger_client import Config

    tracer = Config(
        config={"sampler": {"type": "const", "param": 1}, "logging": True}, service_name="shop"
    ).initialize_tracer()

Its modules have the names that they had there (``codecs``, ``constants``, ``metrics``,
``reporter``, ``sampler`` …), so a service changes its imports and nothing else.
"""

from __future__ import annotations

try:
    import opentracing  # noqa: F401 (the one place that says what is missing)
except ImportError as missing:
    raise ImportError(
        "tracekit.jaeger_client needs opentracing: pip install 'tracekit-jaeger[opentracing]'",
        name="opentracing",
    ) from missing

from tracekit.jaeger_client import thrift  # noqa: F401 (an attribute of the package, as it was)
from tracekit.jaeger_client._alias import alias
from tracekit.jaeger_client.config import Config
from tracekit.jaeger_client.reporter import Reporter
from tracekit.jaeger_client.sampler import (
    ConstSampler,
    ProbabilisticSampler,
    RateLimitingSampler,
    RemoteControlledSampler,
)
from tracekit.jaeger_client.span import Span
from tracekit.jaeger_client.span_context import SpanContext
from tracekit.jaeger_client.tracer import Tracer

__all__ = [
    "Config",
    "ConstSampler",
    "ProbabilisticSampler",
    "RateLimitingSampler",
    "RemoteControlledSampler",
    "Reporter",
    "Span",
    "SpanContext",
    "Tracer",
    "alias",
]
