"""OpenTracing's API on the same pipeline, for code that was written against it.

::

    opentracing.set_global_tracer(tracekit.opentracing.tracer())

Its spans are OpenTelemetry spans seen through the other API: whichever of the two made the
current span, the other sees it, and what was made current last is current.
"""

from __future__ import annotations

try:
    import opentracing  # noqa: TC002 (the one place that says what is missing)
except ImportError as missing:
    raise ImportError(
        "tracekit.opentracing needs opentracing: pip install 'tracekit-jaeger[opentracing]'",
        name="opentracing",
    ) from missing

from typing import TYPE_CHECKING

from tracekit.opentracing._scopes import ContextScopeManager, MirroredScopeManager, Scope
from tracekit.opentracing._span import Span
from tracekit.opentracing._span_context import SpanContext
from tracekit.opentracing._tracer import Tracer

if TYPE_CHECKING:
    from tracekit._assembly.handle import HasTracing, Tracing

__all__ = [
    "ContextScopeManager",
    "MirroredScopeManager",
    "Scope",
    "Span",
    "SpanContext",
    "Tracer",
    "tracer",
]


def tracer(
    tracing: Tracing | HasTracing | None = None,
    scope_manager: opentracing.ScopeManager | None = None,
) -> Tracer:
    """Return an ``opentracing.Tracer`` whose spans go where all others of ``tracing`` go.

    ``tracing`` is a handle (None: the process' one, looked up at each span). ``scope_manager`` may
    be any of the ``opentracing`` package: it then says where a span is active, and OpenTelemetry
    is kept in step. None follows OpenTelemetry's context, which is right for threads, asyncio and
    gevent alike.
    """
    return Tracer(tracing, scope_manager)
