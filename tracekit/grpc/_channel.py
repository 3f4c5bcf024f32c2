"""The blocking channel, traced: what it hands out looks and acts like gRPC's own.

Wrapped are only the methods (multi-callables). The calls they make, and everything else about the
channel, are gRPC's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import grpc
from grpc._channel import Channel as _BareChannel
from grpc._interceptor import _Channel as _InterceptedChannel

from tracekit.grpc._client import BlockingClientCall, ClientInterceptor
from tracekit.grpc._foreign_channel import trace_foreign
from tracekit.grpc._multi_callable import (
    Factory,
    MultiCallable,
    StreamStream,
    StreamUnary,
    StreamUnaryAsked,
    UnaryStream,
    UnaryUnary,
    UnaryUnaryAsked,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from tracekit.grpc._multi_callable import Invoke
    from tracekit.grpc._plan import Plan

_Kind = TypeVar("_Kind", bound=MultiCallable)


class TracedChannel(grpc.Channel):
    """A channel whose calls are traced; everything else is the bare channel's."""

    def __init__(self, channel: grpc.Channel, plan: Plan) -> None:
        self._channel = channel
        self._plan = plan
        plan.below = edges_below(channel)

    def __getattr__(self, name: str) -> object:
        return getattr(self._channel, name)

    def subscribe(self, *args: object, **kwargs: object) -> None:
        self._channel.subscribe(*args, **kwargs)

    def unsubscribe(self, *args: object, **kwargs: object) -> None:
        self._channel.unsubscribe(*args, **kwargs)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        self._channel.__enter__()
        return self

    def __exit__(self, *raised: object) -> bool | None:
        return cast("bool | None", self._channel.__exit__(*raised))

    def unary_unary(self, method: str, *args: object, **kwargs: object) -> UnaryUnary:
        kind = UnaryUnaryAsked if self._plan.response_metadata else UnaryUnary
        return self._method(kind, self._channel.unary_unary, method, *args, **kwargs)

    def unary_stream(self, method: str, *args: object, **kwargs: object) -> UnaryStream:
        return self._method(UnaryStream, self._channel.unary_stream, method, *args, **kwargs)

    def stream_unary(self, method: str, *args: object, **kwargs: object) -> StreamUnary:
        kind = StreamUnaryAsked if self._plan.response_metadata else StreamUnary
        return self._method(kind, self._channel.stream_unary, method, *args, **kwargs)

    def stream_stream(self, method: str, *args: object, **kwargs: object) -> StreamStream:
        return self._method(StreamStream, self._channel.stream_stream, method, *args, **kwargs)

    def _method(
        self,
        kind: type[_Kind],
        make: Callable[..., Invoke],
        method: str,
        *args: object,
        **kwargs: object,
    ) -> _Kind:
        plan = self._plan
        if plan.below is None:
            bare = make(method, *args, **kwargs)
            streams = kind.response_streaming
            return cast("_Kind", trace_foreign(bare, plan, method, BlockingClientCall, streams))
        return kind(plan, method, Factory(make, method, *args, **kwargs))


def edges_below(channel: grpc.Channel) -> frozenset[Plan] | None:
    """Return the plans of our edges on the way from ``channel`` to the wire.

    None if it is not gRPC's own all the way: then nobody knows.
    """
    below = set()
    while type(channel) is not _BareChannel:
        if type(channel) is TracedChannel:
            below.add(channel._plan)
        elif type(channel) is _InterceptedChannel:
            if type(channel._interceptor) is ClientInterceptor:
                below.add(channel._interceptor._plan)
        else:
            return None
        channel = channel._channel
    return frozenset(below)
