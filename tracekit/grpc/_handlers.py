"""What gRPC calls to serve a method: the handler, made again around other functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from tracekit.grpc._messages import Convert
    from tracekit.grpc._server_call import ServerRpc

Behavior = Callable[..., object]

OWN_HANDLER = type(grpc.unary_unary_rpc_method_handler(lambda request, _: request))
_FIELDS = OWN_HANDLER._fields
THREAD_POOL = "experimental_thread_pool"
"""What gRPC reads off a behavior."""
make: Callable[[tuple[object, ...]], grpc.RpcMethodHandler] = functools.partial(
    tuple.__new__, OWN_HANDLER
)
"""Makes gRPC's own named tuple; through its functions that costs more than the rest here."""


def rewrap(
    handler: grpc.RpcMethodHandler, rpc: ServerRpc, behavior: Behavior, wrapped: Behavior
) -> grpc.RpcMethodHandler:
    """Return ``handler`` with a ``wrapped`` behavior and its converters watched by ``rpc``."""
    rpc.deserialize = handler.request_deserializer
    rpc.serialize = handler.response_serializer
    rpc.sees_bytes = True
    respond: Convert = rpc.respond
    if handler.response_streaming:
        rpc.streaming = True
        respond = rpc.send
    return rebuilt(handler, behavior, wrapped, rpc.receive, respond)


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
    streams = handler.response_streaming
    if hasattr(behavior, THREAD_POOL):
        wrapped = functools.partial(wrapped)  # (a method takes no attributes)
        vars(wrapped)[THREAD_POOL] = getattr(behavior, THREAD_POOL)
    if streams and hasattr(behavior, "experimental_non_blocking"):  # and this
        vars(wrapped)["experimental_non_blocking"] = behavior.experimental_non_blocking
    if handler.request_streaming:
        last = (None, None, None, wrapped) if streams else (None, None, wrapped, None)
        made = make((True, streams, deserializer, serializer, *last))
    elif streams:
        made = make((False, True, deserializer, serializer, None, wrapped, None, None))
    else:
        made = make((False, False, deserializer, serializer, wrapped, None, None, None))
    return made if type(handler) is OWN_HANDLER else Rebuilt(handler, made)


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
