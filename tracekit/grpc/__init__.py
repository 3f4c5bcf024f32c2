"""Traced gRPC, blocking: interceptors and channels that never change the call.

::

    server = grpc.server(pool, interceptors=[tracekit.grpc.server_interceptor()])
    channel = tracekit.grpc.trace_channel(grpc.insecure_channel("shop:50051"))

``tracekit.grpc.aio`` has the same names for ``grpc.aio``.
"""

from __future__ import annotations

try:
    import grpc
    import grpc.aio
except ImportError as missing:
    raise ImportError(
        "tracekit.grpc needs grpcio: pip install 'tracekit-jaeger[grpc]'", name="grpc"
    ) from missing

from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from tracekit.grpc._channel import TracedChannel
from tracekit.grpc._client import ClientInterceptor
from tracekit.grpc._conventions import UNTRACED
from tracekit.grpc._foreign import ask
from tracekit.grpc._instrument import instrument
from tracekit.grpc._plan import ClientOptions, Options, Plan
from tracekit.grpc._rpc import Rpc
from tracekit.grpc._server import ServerInterceptor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from tracekit._assembly.handle import HasTracing, Tracing

__all__ = [
    "UNTRACED",
    "ClientOptions",
    "Options",
    "Rpc",
    "client_interceptors",
    "instrument",
    "server_interceptor",
    "trace_channel",
]


def server_interceptor(
    tracing: Tracing | HasTracing | None = None, **options: Unpack[Options]
) -> grpc.ServerInterceptor:
    """Return the interceptor that traces a ``grpc.server``; put it first in the list.

    ``tracing`` is a handle (None: the process' one, looked up at each call); for ``options`` see
    ``Options``.
    """
    return ServerInterceptor(Plan(SpanKind.SERVER, tracing, **options))


def client_interceptors(
    tracing: Tracing | HasTracing | None = None,
    *,
    target: str | None = None,
    **options: Unpack[ClientOptions],
) -> list[ClientInterceptor]:
    """Return the interceptors for ``grpc.intercept_channel(channel, *client_interceptors())``.

    An interceptor sees neither the channel's ``target`` (give it here to have it on the spans)
    nor the messages of a response; ``trace_channel`` sees both and costs less.
    """
    return [ClientInterceptor(Plan(SpanKind.CLIENT, tracing, target=target, **options))]


def trace_channel(
    channel: grpc.Channel,
    tracing: Tracing | HasTracing | None = None,
    *,
    target: str | None = None,
    **options: Unpack[ClientOptions],
) -> grpc.Channel:
    """Return ``channel`` with its calls traced; a channel that is traced already as it is.

    The calls return gRPC's own call objects. ``target`` is read off the channel if not given.
    Raises ``TypeError`` for a channel of ``grpc.aio``.
    """
    if issubclass(type(channel), grpc.aio.Channel):
        raise TypeError("a channel of grpc.aio is traced by tracekit.grpc.aio.trace_channel")
    if issubclass(type(channel), TracedChannel):
        return channel
    if target is None:
        target = ask(channel, "_target", str)  # gRPC keeps it, without an accessor
    return TracedChannel(channel, Plan(SpanKind.CLIENT, tracing, target=target, **options))
