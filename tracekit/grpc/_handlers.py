"""What gRPC calls to serve a method: the handler, made again around other functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import grpc

from tracekit.grpc._server_call import ServerRpc

if TYPE_CHECKING:
    from tracekit.grpc._rpc import Convert

Behavior = Callable[..., object]
_Rpc = TypeVar("_Rpc", bound=ServerRpc)

_FIELDS = type(grpc.unary_unary_rpc_method_handler(lambda request, _: request))._fields
_handler: Callable[[tuple[object, ...]], grpc.RpcMethodHandler] = functools.partial(
    tuple.__new__, type(grpc.unary_unary_rpc_method_handler(lambda request, _: request))
)
"""Makes gRPC's own named tuple; through its functions that costs more than the rest here."""


def rewrap(
    handler: grpc.RpcMethodHandler, rpc: _Rpc, wrap: Callable[[_Rpc, Behavior], Behavior]
) -> grpc.RpcMethodHandler:
    """Return ``handler`` with its behavior wrapped and its converters watched by ``rpc``."""
    rpc.deserialize = handler.request_deserializer
    rpc.serialize = handler.response_serializer
    rpc.sees_bytes = True
    respond: Convert = rpc.respond
    if handler.response_streaming:
        rpc.streaming = True
        respond = rpc.send
    behavior = behavior_of(handler)
    made = rebuilt(handler, behavior, wrap(rpc, behavior), rpc.receive, respond)
    return made if type(handler) is type(made) else Rebuilt(handler, made)


def behavior_of(handler: grpc.RpcMethodHandler) -> Behavior:
    """Return the one function of the four that ``handler`` has."""
    behavior: Behavior
    if handler.request_streaming:
        behavior = handler.stream_stream if handler.response_streaming else handler.stream_unary
    else:
        behavior = handler.unary_stream if handler.response_streaming else handler.unary_unary
    return behavior


def rebuilt(
    handler: grpc.RpcMethodHandler,
    behavior: Behavior,
    wrapped: Behavior,
    deserializer: Convert | None,
    serializer: Convert | None,
) -> grpc.RpcMethodHandler:
    """Return a handler like ``handler`` with a ``wrapped`` behavior and these converters."""
    if hasattr(behavior, "experimental_thread_pool"):  # gRPC reads this off the function
        vars(wrapped)["experimental_thread_pool"] = behavior.experimental_thread_pool
    if not handler.response_streaming:
        if handler.request_streaming:
            return _handler((True, False, deserializer, serializer, None, None, wrapped, None))
        return _handler((False, False, deserializer, serializer, wrapped, None, None, None))
    if hasattr(behavior, "experimental_non_blocking"):  # and this
        vars(wrapped)["experimental_non_blocking"] = behavior.experimental_non_blocking
    if handler.request_streaming:
        return _handler((True, True, deserializer, serializer, None, None, None, wrapped))
    return _handler((False, True, deserializer, serializer, None, wrapped, None, None))


def is_abort(error: BaseException | None) -> bool:
    """Return whether this is how ``ServicerContext.abort`` leaves a blocking handler."""
    return type(error) is Exception and not error.args


class Rebuilt(grpc.RpcMethodHandler):
    """A handler of somebody else's class, which may hold more: as it is but for what gRPC calls."""

    def __init__(self, handler: grpc.RpcMethodHandler, made: grpc.RpcMethodHandler) -> None:
        self._tracekit_handler = handler
        for name in _FIELDS:
            setattr(self, name, getattr(made, name))

    @property  # type: ignore[misc] # what isinstance asks when the type itself says no
    def __class__(self) -> type:
        return type(self._tracekit_handler)

    def __getattr__(self, name: str) -> object:
        return getattr(self._tracekit_handler, name)
