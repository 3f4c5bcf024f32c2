"""Traced gRPC on asyncio: the same names and options as ``tracekit.grpc``, for ``grpc.aio``.

::

    server = grpc.aio.server(interceptors=[tracekit.grpc.aio.server_interceptor()])
    channel = tracekit.grpc.aio.trace_channel(grpc.aio.insecure_channel("shop:50051"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import grpc.aio
from opentelemetry.trace import SpanKind

from tracekit.grpc._aio_channel import TracedAioChannel
from tracekit.grpc._aio_interceptor import INTERCEPTORS, AioClientInterceptor
from tracekit.grpc._aio_server import AioServerInterceptor
from tracekit.grpc._foreign import ask
from tracekit.grpc._instrument import instrument
from tracekit.grpc._plan import ClientOptions, Options, Plan

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from tracekit._assembly.handle import HasTracing, Tracing

__all__ = ["client_interceptors", "instrument", "server_interceptor", "trace_channel"]


def server_interceptor(
    tracing: Tracing | HasTracing | None = None, **options: Unpack[Options]
) -> grpc.aio.ServerInterceptor:
    """Return the interceptor that traces a ``grpc.aio.server``, blocking handlers included."""
    return AioServerInterceptor(Plan(SpanKind.SERVER, tracing, **options))


def client_interceptors(
    tracing: Tracing | HasTracing | None = None,
    *,
    target: str | None = None,
    **options: Unpack[ClientOptions],
) -> list[AioClientInterceptor]:
    """Return the list for ``interceptors=`` of an asyncio channel, one for each kind of call.

    With any interceptor ``grpc.aio`` hands out call objects of another class, which cannot tell
    the time remaining; ``trace_channel`` leaves them as they are, sees the messages, costs less.
    """
    plan = Plan(SpanKind.CLIENT, tracing, target=target, **options)
    return [kind(plan) for kind in INTERCEPTORS]


def trace_channel(
    channel: grpc.aio.Channel,
    tracing: Tracing | HasTracing | None = None,
    *,
    target: str | None = None,
    **options: Unpack[ClientOptions],
) -> grpc.aio.Channel:
    """Return ``channel`` with its calls traced; a channel that is traced already as it is.

    The calls return gRPC's own call objects. An asyncio channel does not say its ``target``:
    give it here to have it on the spans. Raises ``TypeError`` for a blocking channel.
    """
    if issubclass(type(channel), grpc.Channel):
        raise TypeError("a blocking channel is traced by tracekit.grpc.trace_channel")
    already = ask(channel, "_unary_unary_interceptors", list) or ()
    if issubclass(type(channel), TracedAioChannel) or any(
        isinstance(interceptor, AioClientInterceptor) for interceptor in already
    ):
        return channel
    return TracedAioChannel(channel, Plan(SpanKind.CLIENT, tracing, target=target, **options))
