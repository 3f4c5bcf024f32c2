"""``grpc_opentracing`` by another name: its factories, for code that was written against it.

::

    from tracekit.grpc.opentracing import open_tracing_server_interceptor

They return tracekit's own interceptors, for gRPC's functions and for those of ``grpcext``. New
code uses ``tracekit.grpc``.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, NamedTuple, Protocol

from opentelemetry.trace import SpanKind

from tracekit.grpc._client import ClientInterceptor
from tracekit.grpc._plan import Plan
from tracekit.grpc.opentracing._sources import ShowingInterceptor

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc
    from opentelemetry import trace

    from tracekit._assembly.handle import Tracing
    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._plan import Hook
    from tracekit.grpc._rpc import Rpc
    from tracekit.grpc._server import ServerInterceptor

__all__ = [
    "ActiveSpanSource",
    "RpcInfo",
    "SpanDecorator",
    "open_tracing_client_interceptor",
    "open_tracing_server_interceptor",
]


class OpenTracingTracer(Protocol):
    """A tracer of ``tracekit.opentracing``: built on a handle, it shows our spans as its own."""

    @property
    def tracing(self) -> Tracing:
        """The handle."""

    @property
    def active_span(self) -> object:
        """The active ``opentracing.Span``, or None."""

    def span_of(self, span: trace.Span) -> object:
        """Return the ``opentracing.Span`` that stands for ``span``."""


class ActiveSpanSource(abc.ABC):
    """Says which span is the parent of a call; derive yours from it."""

    @abc.abstractmethod
    def get_active_span(self) -> object:
        """Return an ``opentracing.Span``, or None."""


class RpcInfo(NamedTuple):
    """What a decorator hears of a call; ``timeout`` in seconds, None where there is none."""

    full_method: str
    metadata: object = None
    timeout: float | None = None
    request: object = None
    response: object = None
    error: grpc.StatusCode | None = None


class SpanDecorator(abc.ABC):
    """Adds to the span of a call when that ends; derive yours from it."""

    @abc.abstractmethod
    def __call__(self, span: object, rpc_info: RpcInfo) -> None:
        """Add to an ``opentracing.Span``. What it raises costs one warning."""


def open_tracing_client_interceptor(
    tracer: OpenTracingTracer,
    active_span_source: ActiveSpanSource | None = None,
    log_payloads: bool = False,
    span_decorator: Callable[[object, RpcInfo], object] | None = None,
) -> ClientInterceptor:
    """Return the interceptor of a channel.

    ``log_payloads`` tells number and size of the messages, not what is in them.
    """
    plan = Plan(
        SpanKind.CLIENT,
        tracer,
        active_span_source=active_span_source,
        message_events=log_payloads,
        on_finish=_hook(tracer, span_decorator),
    )
    return ClientInterceptor(plan)


def open_tracing_server_interceptor(
    tracer: OpenTracingTracer,
    log_payloads: bool = False,
    span_decorator: Callable[[object, RpcInfo], object] | None = None,
) -> ServerInterceptor:
    """Return the interceptor of a server; see ``open_tracing_client_interceptor``.

    A handler's context has ``get_active_span()``, so it can be a client's ``active_span_source``.
    """
    plan = Plan(
        SpanKind.SERVER,
        tracer,
        message_events=log_payloads,
        on_finish=_hook(tracer, span_decorator),
    )
    return ShowingInterceptor(plan, lambda: tracer.active_span)


def _hook(
    tracer: OpenTracingTracer, decorate: Callable[[object, RpcInfo], object] | None
) -> Hook | None:
    if decorate is None:
        return None

    def finishing(span: trace.Span, rpc: Rpc) -> None:
        code = rpc.code
        metadata: tuple[Pair, ...] = tuple(rpc.metadata or ())
        decorate(
            tracer.span_of(span),
            RpcInfo(
                "/" + rpc.name,
                metadata,
                getattr(rpc, "timeout_s", None),
                rpc.request,
                rpc.response,
                None if code is None or code.value[0] == 0 else code,
            ),
        )

    return finishing
