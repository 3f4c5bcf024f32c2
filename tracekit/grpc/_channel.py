"""The blocking channel, traced: what it hands out looks and acts like gRPC's own.

Wrapped are only the methods (multi-callables). The calls they make, and everything else about the
channel, are gRPC's.
"""

from __future__ import annotations

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

    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._messages import Convert
    from tracekit.grpc._plan import Plan
    from tracekit.grpc._rpc import Rpc
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

    def _traced(self, rpc: BlockingClientCall, verb: str) -> Invoke:
        """Return gRPC's multi-callable with converters that count for ``rpc``."""
        del verb
        return self._factory.make_for(rpc, rpc.receive)


def _calling(verb: str) -> Callable[..., object]:  # noqa: C901
    """Return the method ``verb`` of a traced method: one step from the caller to gRPC's own."""
    named, later, both = verb != "__call__", verb == "future", verb == "with_call"

    def call(  # noqa: C901, PLR0912 - one road: see what a call costs, in ``_rpc``
        self: MultiCallable,
        request: object,
        timeout: float | None = None,
        metadata: Iterable[Pair] | None = None,
        *args: object,
        **kwargs: object,
    ) -> object:
        plan, method, invoke = self._plan, self._known, self._bare
        if method is None:
            method = self._known = plan.method(self._method)
            if method is None:
                return getattr(invoke, verb)(request, timeout, metadata, *args, **kwargs)
        rpc = BlockingClientCall(plan, method, metadata)
        if not rpc.begin(None if self._request_streaming else request, timeout):
            return getattr(invoke, verb)(request, timeout, rpc.metadata, *args, **kwargs)
        if rpc.counts:
            invoke = self._traced(rpc, verb)
        if named:
            invoke = getattr(invoke, verb)
        if self._request_streaming:
            request = Requests(cast("Iterator[object]", request), rpc, count=False)
        if not rpc.counts and not plan.below and plan.below is not None:
            # Nobody will hear of it, and no edge of ours can meet it again further down.
            otel = attach(rpc.context)
            try:
                return invoke(request, timeout, rpc.metadata, *args, **kwargs)
            finally:
                detach(otel)
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
            if later or self._response_streaming:
                return rpc.watch(result, streams=self._response_streaming)
            if both:
                rpc.answered(*cast("tuple[object, object]", result))
            else:
                rpc.answered(result)
        return result

    call.__name__ = verb
    return call


def _iterating(verb: str) -> Callable[..., object]:
    """Return the same for requests that are a stream: gRPC has another name for them."""
    calling = _calling(verb)

    def call(
        self: MultiCallable, request_iterator: object, *args: object, **kwargs: object
    ) -> object:
        return calling(self, request_iterator, *args, **kwargs)

    call.__name__ = verb
    return call


class _UnaryResponse(MultiCallable):
    _response_streaming = False
    __call__ = _calling("__call__")
    with_call = _calling("with_call")
    future = _calling("future")


class _StreamResponse(MultiCallable):
    _response_streaming = True
    __call__ = _calling("__call__")


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
        rpc.sees_bytes = True
        shared = self._shared
        if shared is None:  # (no methods of ours: that were a circle)
            factory = self._factory
            sender, receiver = _sender(factory.serializer), _receiver(factory.deserializer)
            shared = self._shared = factory.make(sender, receiver)  # type: ignore[arg-type] # bytes
        return shared


def _sender(serialize: Convert | None) -> Convert:
    """Return ``Rpc.send`` for whichever call is being handed down in this thread."""

    def send(message: object) -> object:
        rpc = handing.get()
        if rpc is None or not rpc.handing_down:
            return message if serialize is None else serialize(message)
        try:
            data = message if serialize is None else serialize(message)
        except Exception as error:
            rpc.spoilt(error)
            raise
        if data.__class__ is bytes and not rpc.plan.message_events:
            rpc.sent_count += 1
            rpc.sent_bytes += len(data)
        else:
            rpc.sent_otherwise(data)
        return data

    return send


def _receiver(deserialize: Convert | None) -> Callable[[bytes], object]:
    """Return ``Rpc.receive`` for it."""

    def receive(data: bytes) -> object:
        rpc = handing.get()
        if rpc is None or not rpc.handing_down:
            return data if deserialize is None else deserialize(data)
        if rpc.plan.message_events:
            rpc.deserialize = deserialize
            return rpc.receive(data)
        try:
            message = data if deserialize is None else deserialize(data)
        except Exception as error:
            rpc.spoilt(error)
            raise
        rpc.received_count += 1
        rpc.received_bytes += len(data)
        return message

    return receive


class _UnaryUnaryAsked(_UnaryUnary):
    """One whose response metadata is kept, which only ``with_call`` tells."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        return cast("tuple[object, grpc.Call]", self.with_call(*args, **kwargs))[0]


class _UnaryStream(_StreamResponse, grpc.UnaryStreamMultiCallable):
    _request_streaming = False


class _StreamUnary(_UnaryResponse, grpc.StreamUnaryMultiCallable):
    _request_streaming = True
    __call__ = _iterating("__call__")
    with_call = _iterating("with_call")
    future = _iterating("future")


class _StreamUnaryAsked(_StreamUnary):
    """The same."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        return cast("tuple[object, grpc.Call]", self.with_call(*args, **kwargs))[0]


class _StreamStream(_StreamResponse, grpc.StreamStreamMultiCallable):
    _request_streaming = True
    __call__ = _iterating("__call__")


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
        kind = _UnaryUnaryAsked if self._plan.response_metadata else _UnaryUnary
        return self._method(kind, self._channel.unary_unary, method, *args, **kwargs)

    def unary_stream(self, method: str, *args: object, **kwargs: object) -> _UnaryStream:
        return self._method(_UnaryStream, self._channel.unary_stream, method, *args, **kwargs)

    def stream_unary(self, method: str, *args: object, **kwargs: object) -> _StreamUnary:
        kind = _StreamUnaryAsked if self._plan.response_metadata else _StreamUnary
        return self._method(kind, self._channel.stream_unary, method, *args, **kwargs)

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
