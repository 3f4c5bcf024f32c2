"""``grpc_opentracing.grpcext`` by another name: interceptors for a channel or server that is there.

gRPC has had interceptors of its own since 1.8; new code gives them to ``grpc.server`` and
``grpc.intercept_channel``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Continuation = Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None]

__all__ = ["intercept_channel", "intercept_server"]

_OLD = ("intercept_unary", "intercept_stream")


def intercept_channel(channel: grpc.Channel, *interceptors: object) -> grpc.Channel:
    """Return ``channel`` behind ``interceptors``, which are gRPC's; TypeError for others."""
    _refuse_old(interceptors)
    return grpc.intercept_channel(channel, *interceptors)


def intercept_server(server: grpc.Server, *interceptors: grpc.ServerInterceptor) -> grpc.Server:
    """Return ``server``, whose handlers added from now on run behind ``interceptors``.

    They are gRPC's; TypeError for others. The first is asked first.
    """
    _refuse_old(interceptors)
    return _InterceptedServer(server, interceptors)


def _refuse_old(interceptors: Iterable[object]) -> None:
    for it in interceptors:
        if any(hasattr(it, name) for name in _OLD):
            raise TypeError(
                f"{type(it).__name__} was written for grpcext: have it derive from"
                f" grpc.UnaryUnaryClientInterceptor or grpc.ServerInterceptor"
            )


class _InterceptedServer(grpc.Server):
    """A server to add handlers to; all else is the bare one's."""

    def __init__(
        self, server: grpc.Server, interceptors: tuple[grpc.ServerInterceptor, ...]
    ) -> None:
        self._server = server
        self._interceptors = interceptors

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        wrapped = [_InterceptedHandler(handler, self._interceptors) for handler in handlers]
        self._server.add_generic_rpc_handlers(wrapped)

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler]
    ) -> None:
        """Do nothing: generated code adds the same handlers as generic ones, too."""

    def add_insecure_port(self, address: str) -> int:
        return int(self._server.add_insecure_port(address))

    def add_secure_port(self, address: str, credentials: grpc.ServerCredentials) -> int:
        return int(self._server.add_secure_port(address, credentials))

    def start(self) -> None:
        self._server.start()

    def stop(self, grace: float | None = None) -> Any:  # noqa: ANN401 (a threading.Event)
        return self._server.stop(grace)

    def wait_for_termination(self, timeout: float | None = None) -> bool:
        return bool(self._server.wait_for_termination(timeout))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever the bare server has)
        return getattr(self._server, name)


class _InterceptedHandler(grpc.GenericRpcHandler):
    """A generic handler behind interceptors."""

    def __init__(
        self, handler: grpc.GenericRpcHandler, interceptors: tuple[grpc.ServerInterceptor, ...]
    ) -> None:
        self._handler = handler
        self._interceptors = interceptors

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        proceed: Continuation = self._handler.service
        for interceptor in reversed(self._interceptors):
            proceed = _behind(interceptor, proceed)
        return proceed(handler_call_details)


def _behind(interceptor: grpc.ServerInterceptor, proceed: Continuation) -> Continuation:
    return lambda details: interceptor.intercept_service(proceed, details)
