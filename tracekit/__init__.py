"""tracekit: tracing for Python services in Jaeger and Istio shops.

::

    import tracekit

    tracekit.init()                      # reads JAEGER_* (and OTEL_*)
    tracer = tracekit.get_tracer(__name__)
    with tracer.start_as_current_span("dispatch") as span:
        span.set_attribute("customer", 392)

Edges are modules of their own: ``tracekit.flask``, ``tracekit.grpc``, ``tracekit.requests``,
``tracekit.mesh``, ``tracekit.opentracing``, ``tracekit.logging`` and more.
"""

from tracekit._assembly.handle import (
    Tracing,
    current_span,
    drain_on,
    flush,
    get_tracer,
    init,
    shutdown,
    stats,
)
from tracekit._calls.carry import wrap, wrap_executor
from tracekit.errors import ConfigError, Problem, StrategyError, TracekitError
from tracekit.settings import Settings

__all__ = [
    "ConfigError",
    "Problem",
    "Settings",
    "StrategyError",
    "TracekitError",
    "Tracing",
    "current_span",
    "drain_on",
    "flush",
    "get_tracer",
    "init",
    "shutdown",
    "stats",
    "wrap",
    "wrap_executor",
]
