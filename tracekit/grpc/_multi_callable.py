"""The methods (multi-callables) of a traced blocking channel: from the caller to gRPC's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import grpc

from tracekit._context import attach, detach
from tracekit.grpc._client import BlockingClientCall, Requests
from tracekit.grpc._client_call import handing, start
from tracekit.tracing import Span, UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._messages import Convert
    from tracekit.grpc._plan import Plan
    from tracekit.grpc._rpc import Rpc
    from tracekit.grpc._shared import Method

    Invoke = Callable[..., object]


_new = object.__new__


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


class TracedMethod:
    """What a method of a traced channel knows, on either flavour."""

    request_streaming: bool
    response_streaming: bool

    def __init__(self, plan: Plan, method: str, factory: Factory) -> None:
        self._plan = plan
        self._method = method
        self._factory = factory
        self._bare = factory.make(factory.serializer, factory.deserializer)
        self._known: Method | None = None


class MultiCallable(TracedMethod):
    """A method of a traced channel: gRPC's own, made anew for each traced call.

    Only so do the converters, where messages are counted, know which call they serve.
    """

    _shared: Invoke | None = None
    """One that serves many calls at once, where there can be such a one."""

    def _traced(self, rpc: BlockingClientCall, verb: str) -> Invoke:
        """Return gRPC's multi-callable with converters that count for ``rpc``."""
        del verb
        return self._factory.make_for(rpc, rpc.receive)


def _calling(verb: str) -> Callable[..., object]:  # noqa: C901, PLR0915
    """Return the method ``verb`` of a traced method: one step from the caller to gRPC's own."""
    named, later, both = verb != "__call__", verb == "future", verb == "with_call"

    def call(  # noqa: C901, PLR0912, PLR0915 - one road: see what a call costs, in ``_rpc``
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
        if metadata is not None and issubclass(type(metadata), Iterator):
            metadata = list(metadata)  # it can be read once only, and we are not its only reader
        outer = handing.get()
        if plan.plain and (outer is None or not outer.handing_down):
            # Nearly always: nothing but a span is asked for, and no edge of ours stands above.
            span, context, outgoing = start(plan, method, metadata)
            if span is None or context is None:
                return getattr(invoke, verb)(request, timeout, metadata, *args, **kwargs)
            kind = span.__class__
            alone = plan.below is not None and not plan.below
            if kind is UnsampledSpan and alone and not self.request_streaming:
                # Nobody will hear of it, and no edge of ours can meet it again further down.
                if named:
                    invoke = getattr(invoke, verb)
                otel = attach(context)
                try:
                    return invoke(request, timeout, outgoing, *args, **kwargs)
                finally:
                    detach(otel)
            rpc: BlockingClientCall = _new(BlockingClientCall)  # ``__init__`` is a call from C
            rpc.plan, rpc.method, rpc.name, rpc.metadata = plan, method, method.name, outgoing
            rpc.span, rpc.context, rpc.begun, rpc.given = span, context, True, metadata
            if kind is Span or (kind is not UnsampledSpan and span.is_recording()):
                rpc.counts = rpc.live = True
        else:
            rpc = BlockingClientCall(plan, method, metadata)
            if not rpc.begin(None if self.request_streaming else request, timeout):
                return getattr(invoke, verb)(request, timeout, rpc.metadata, *args, **kwargs)
        if rpc.counts:
            if later or self._shared is None:
                invoke = self._traced(rpc, verb)
            else:
                invoke, rpc.sees_bytes = self._shared, True
        if named:
            invoke = getattr(invoke, verb)
        if self.request_streaming:
            request = Requests(cast("Iterator[object]", request), rpc, count=False)
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
            if later or self.response_streaming:
                return rpc.watch(result, streams=self.response_streaming)
            if plan.quiet:
                rpc.succeed()
            elif both:
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
    response_streaming = False
    __call__ = _calling("__call__")
    with_call = _calling("with_call")
    future = _calling("future")


class _StreamResponse(MultiCallable):
    response_streaming = True
    __call__ = _calling("__call__")


class UnaryUnary(_UnaryResponse, grpc.UnaryUnaryMultiCallable):
    """Unary both ways.

    Here gRPC converts in the caller's thread (not for a future), which knows its call: so one
    multi-callable serves all of them. A new one each time costs as much as a span.
    """

    request_streaming = False

    def _traced(self, rpc: BlockingClientCall, verb: str) -> Invoke:
        if verb == "future":
            return super()._traced(rpc, verb)
        rpc.sees_bytes = True  # (no methods of ours: that were a circle)
        sender, receiver = _sender(self._factory.serializer), _receiver(self._factory.deserializer)
        shared = self._shared = self._factory.make(sender, receiver)  # type: ignore[arg-type] # bytes
        return shared


def _sender(serialize: Convert | None) -> Convert:
    """Return ``Rpc.send`` for whichever call is being handed down in this thread."""

    def send(message: object) -> object:
        rpc = handing.get()
        if rpc is None or not rpc.handing_down:
            return message if serialize is None else serialize(message)
        try:
            data = message if serialize is None else serialize(message)
        except BaseException as error:
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
        except BaseException as error:
            rpc.spoilt(error)
            raise
        rpc.received_count += 1
        rpc.received_bytes += len(data)
        return message

    return receive


class UnaryUnaryAsked(UnaryUnary):
    """One whose response metadata is kept, which only ``with_call`` tells."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        return cast("tuple[object, grpc.Call]", self.with_call(*args, **kwargs))[0]


class UnaryStream(_StreamResponse, grpc.UnaryStreamMultiCallable):
    request_streaming = False


class StreamUnary(_UnaryResponse, grpc.StreamUnaryMultiCallable):
    request_streaming = True
    __call__ = _iterating("__call__")
    with_call = _iterating("with_call")
    future = _iterating("future")


class StreamUnaryAsked(StreamUnary):
    """The same."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        return cast("tuple[object, grpc.Call]", self.with_call(*args, **kwargs))[0]


class StreamStream(_StreamResponse, grpc.StreamStreamMultiCallable):
    request_streaming = True
    __call__ = _iterating("__call__")
