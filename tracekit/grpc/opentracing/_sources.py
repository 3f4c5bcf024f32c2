"""A context that says which span is active, for who hands it on as a client's source."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tracekit.grpc._handlers import behavior_of, rebuilt
from tracekit.grpc._server import ServerInterceptor

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from tracekit.grpc._handlers import Behavior
    from tracekit.grpc._plan import Plan


class ShowingInterceptor(ServerInterceptor):
    """Gives each handler's context a ``get_active_span``, for code that hands it on as a source.

    It is an attribute of gRPC's own context: there is no proxy around that.
    """

    def __init__(self, plan: Plan, active_span: Callable[[], object]) -> None:
        super().__init__(plan)
        self._active_span = active_span

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Return the handler of this one RPC, traced, and showing its span."""

        def showing(details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            handler = continuation(details)
            if handler is None:
                return None
            behavior = behavior_of(handler)
            return rebuilt(
                handler,
                behavior,
                self._shown_by(behavior),
                handler.request_deserializer,
                handler.response_serializer,
            )

        return super().intercept_service(showing, handler_call_details)

    def _shown_by(self, behavior: Behavior) -> Behavior:
        def handle(request: object, context: grpc.ServicerContext, *more: object) -> object:
            span = self._active_span()
            with suppress(AttributeError):  # a context of somebody's with slots
                context.get_active_span = lambda: span
            return behavior(request, context, *more)

        return handle
