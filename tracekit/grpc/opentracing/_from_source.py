"""A client interceptor whose parent is a span that somebody names and nobody made current."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace

from tracekit._context import attach, detach, get_current, with_span
from tracekit.grpc._client import ClientInterceptor

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from tracekit.grpc._client import Continuation
    from tracekit.grpc._plan import Plan


class SourcedInterceptor(ClientInterceptor):
    """Asks before each call which span is the parent; None: the current one."""

    def __init__(self, plan: Plan, source: Callable[[], object]) -> None:
        super().__init__(plan)
        self._source = source

    def _intercept(
        self,
        continuation: Continuation,
        details: grpc.ClientCallDetails,
        request: object,
        *,
        streaming: bool = False,
    ) -> object:
        parent = self._parent()
        if parent is None:
            return super()._intercept(continuation, details, request, streaming=streaming)
        token = attach(with_span(parent, get_current()))
        try:
            return super()._intercept(continuation, details, request, streaming=streaming)
        finally:
            detach(token)

    def _parent(self) -> trace.Span | None:
        """Return the named span as OpenTelemetry has it."""
        try:
            span = self._source()
            shown = getattr(span, "otel", span)
        except Exception:
            self._plan.complain("an active_span_source")
            return None
        return shown if isinstance(shown, trace.Span) else None
