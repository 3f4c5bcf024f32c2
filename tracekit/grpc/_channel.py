"""The blocking channel, traced: what it hands out looks and acts like gRPC's own.

Wrapped are only the methods (multi-callables). The calls they make, and everything else about the
channel, are gRPC's.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeVar, cast

import grpc
from grpc._channel import Channel as _BareChannel
from grpc._interceptor import _Channel as _InterceptedChannel

from tracekit._context import attach, detach
from tracekit.grpc._client import BlockingClientCall, ClientInterceptor, Requests
from tracekit.grpc._client_call import handing
from tracekit.grpc._foreign_channel import trace_foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Self

    from tracekit.grpc._plan import Plan
    from tracekit.grpc._rpc import Convert, Pair, Rpc
    from tracekit.grpc._shared import Method

    Invoke = Callable[..., object]


class Factory:
    """Makes gRPC's own multi-callable of one method, as often as it is asked.

    Only one that is made for a single call can have converters that know which call they serve,
    and the converters are where messages can be seen.
    """

    def __init__(
        self,
        make: Callable[..., Invoke],
        method: str,
        request_serializer: object = None,
        response_deserializer: object = None,
        *args: object,
        **kwargs: object,
    ) -> None:
        self.serializer = cast("Convert | None", request_serializer)
        self.deserializer = cast("Convert | None", response_deserializer)
        self._make = make
        self._method = method
        self._args = args
        self._kwargs = kwargs

    def make(self, serializer: Convert | None, deserializer: Convert | None) -> Invoke:
        """Return one with these converters."""
        return self._make(self._method, serializer, deserializer, *self._args, **self._kwargs)

    def make_for(self, rpc: Rpc, receive: Convert) -> Invoke:
        """Return one that serves this call only: its messages pass ``rpc``."""
        rpc.serialize, rpc.deserialize = self.serializer, self.deserializer
        rpc.sees_bytes = True
        return self.make(rpc.send, receive)


class MultiCallable:
    """A method of a traced channel: gRPC's own, made anew for each traced call.

    Only so do the converters, where messages are counted, know which call they serve.
    """

    _request_streaming: bool
    _response_streaming: bool

    def __init__(self, plan: Plan, method: str, factory: Factory) -> None:
        self._plan = plan
        self._method = method
        self._factory = factory
        self._bare = factory.make(factory.serializer, factory.deserializer)
        self._known: Method | None = None

    def _run(
        self,
        verb: str,
        request: object,
        timeout: float | None,
        metadata: Iterable[Pair] | None,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        """Make the call by the method ``verb`` of gRPC's own multi-callable."""
        plan = self._plan
        method = self._known or plan.method(self._method)
        if method is None:
            return getattr(self._bare, verb)(request, timeout, metadata, *args, **kwargs)
        self._known = method
        rpc = BlockingClientCall(plan, method, metadata)
        if not rpc.begin(None if self._request_streaming else request, timeout):
            return getattr(self._bare, verb)(request, timeout, rpc.metadata, *args, **kwargs)
        if self._request_streaming:
            request = Requests(cast("Iterator[object]", request), rpc, count=False)
        invoke = getattr(self._traced(rpc, verb) if rpc.counts else self._bare, verb)
        rpc.handing_down = True  # as ``with rpc`` does; two calls less for every RPC
        mine, otel = handing.set(rpc), attach(rpc.context)
        try:
            try:
                result = invoke(request, timeout, rpc.metadata, *args, **kwargs)
            finally:
                detach(otel)
                handing.reset(mine)
                rpc.handing_down = False
        except BaseException as error:
            rpc.raised(error)
            raise
        if rpc.live:
            if self._response_streaming or verb == "future":
                return rpc.watch(result, streams=self._response_streaming)
            if verb == "__call__":
                rpc.answered(result)
            else:
                rpc.answered(*cast("tuple[object, object]", result))
        return result

    def _traced(self, rpc: BlockingClientCall, verb: str) -> Invoke:
        """Return gRPC's multi-callable with converters that count for ``rpc``."""
        del verb
        return self._factory.make_for(rpc, rpc.receive)


class _UnaryResponse(MultiCallable):
    _response_streaming = False

    def __call__(
        self,
        request: object,
        timeout: float | None = None,
        metadata: Iterable[Pair] | None = None,
        *args: object,
        **kwargs: object,
    ) -> object:
        if not self._plan.response_metadata:
            return self._run("__call__", request, timeout, metadata, args, kwargs)
        result = self._run("with_call", request, timeout, metadata, args, kwargs)
        return cast("tuple[object, grpc.Call]", result)[0]

    def with_call(
        self,
        request: object,
        timeout: float | None = None,
        metadata: Iterable[Pair] | None = None,
        *args: object,
        **kwargs: object,
    ) -> object:
        return self._run("with_call", request, timeout, metadata, args, kwargs)

    def future(
        self,
        request: object,
        timeout: float | None = None,
        metadata: Iterable[Pair] | None = None,
        *args: object,
        **kwargs: object,
    ) -> object:
        return self._run("future", request, timeout, metadata, args, kwargs)


class _StreamResponse(MultiCallable):
    _response_streaming = True

    def __call__(
        self,
        request: object,
        timeout: float | None = None,
        metadata: Iterable[Pair] | None = None,
        *args: object,
        **kwargs: object,
    ) -> object:
        return self._run("__call__", request, timeout, metadata, args, kwargs)


_Kind = TypeVar("_Kind", bound=MultiCallable)


class _UnaryUnary(_UnaryResponse, grpc.UnaryUnaryMultiCallable):
    """Unary both ways.

    Here gRPC converts in the caller's thread (not for a future), which knows its call: so one
    multi-callable serves all of them. A new one each time costs as much as a span.
    """

    _request_streaming = False
    _shared: Invoke | None = None

    def _traced(self, rpc: BlockingClientCall, verb: str) -> Invoke:
        if verb == "future":
            return super()._traced(rpc, verb)
        serializer, deserializer = self._factory.serializer, self._factory.deserializer
        rpc.serialize, rpc.deserialize = serializer, deserializer
        rpc.sees_bytes = True
        shared = self._shared
        if shared is None:
            shared = self._shared = self._factory.make(  # (no methods of ours: that were a circle)
                functools.partial(_send, serializer), functools.partial(_receive, deserializer)
            )
        return shared


def _send(serialize: Convert | None, message: object) -> object:
    rpc = handing.get()
    if rpc is None or not rpc.handing_down:
        return message if serialize is None else serialize(message)
    return rpc.send(message)


def _receive(deserialize: Convert | None, data: object) -> object:
    rpc = handing.get()
    if rpc is None or not rpc.handing_down:
        return data if deserialize is None else deserialize(data)
    return rpc.receive(data)


class _UnaryStream(_StreamResponse, grpc.UnaryStreamMultiCallable):
    _request_streaming = False


class _StreamUnary(_UnaryResponse, grpc.StreamUnaryMultiCallable):
    _request_streaming = True


class _StreamStream(_StreamResponse, grpc.StreamStreamMultiCallable):
    _request_streaming = True


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

    def unary_unary(self, method: str, *args: object, **kwargs: object) -> _UnaryUnary:
        return self._method(_UnaryUnary, self._channel.unary_unary, method, *args, **kwargs)

    def unary_stream(self, method: str, *args: object, **kwargs: object) -> _UnaryStream:
        return self._method(_UnaryStream, self._channel.unary_stream, method, *args, **kwargs)

    def stream_unary(self, method: str, *args: object, **kwargs: object) -> _StreamUnary:
        return self._method(_StreamUnary, self._channel.stream_unary, method, *args, **kwargs)

    def stream_stream(self, method: str, *args: object, **kwargs: object) -> _StreamStream:
        return self._method(_StreamStream, self._channel.stream_stream, method, *args, **kwargs)

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
            streams = kind._response_streaming
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
