"""The asyncio channel, traced; see ``_channel``, which it mirrors on ``grpc.aio``'s classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar, cast

import grpc
import grpc.aio
from grpc.aio._channel import Channel as _BareChannel

from tracekit._context import attach, detach
from tracekit.grpc._aio_client import AioClientCall
from tracekit.grpc._aio_own import KEEPS_CONVERTERS
from tracekit.grpc._aio_requests import requests_of
from tracekit.grpc._client_call import handing, start
from tracekit.grpc._foreign_channel import trace_foreign
from tracekit.grpc._multi_callable import Factory, TracedMethod
from tracekit.tracing import Span, UnsampledSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self

    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._messages import Convert
    from tracekit.grpc._multi_callable import Invoke
    from tracekit.grpc._plan import Plan

_new = object.__new__


class Making:
    """Which call is being made just now: for a loop whose tasks run at once, when they are made."""

    __slots__ = ("rpc",)

    def __init__(self) -> None:
        self.rpc: AioClientCall | None = None

    def sender(self, serialize: Convert | None) -> Convert:
        """Return a serializer that serves that call, and any other as ``serialize`` does."""

        def send(message: object) -> object:
            rpc = self.rpc
            if rpc is not None:
                return rpc.send(message)
            return message if serialize is None else serialize(message)

        return send


class AioMultiCallable(TracedMethod):
    """A method of a traced channel, which makes gRPC's own calls.

    What converts messages, and so sees them, is put into the call itself. gRPC makes a task of the
    call and asks the call for its converters in there, in whatever context that task runs. Where
    interceptors of the channel make the call, later, gRPC's method is made anew for it.
    """

    def __init__(self, plan: Plan, method: str, factory: Factory) -> None:
        super().__init__(plan, method, factory)
        self._making: Making | None = None
        self._watched = self._bare
        if KEEPS_CONVERTERS and not getattr(self._bare, "_interceptors", True):
            self._making = making = Making()
            sender = making.sender(factory.serializer)
            self._watched = factory.make(sender, factory.deserializer)

    def __call__(  # noqa: C901, PLR0912, PLR0915 - one road: see what a call costs, in ``_rpc``
        self, request: object, *, metadata: Iterable[Pair] | None = None, **options: object
    ) -> object:
        plan, method, invoke = self._plan, self._known, self._bare
        if method is None:
            method = self._known = plan.method(self._method)
            if method is None:
                return invoke(request, metadata=metadata, **options)
        if metadata is not None and issubclass(type(metadata), Iterator):
            metadata = list(metadata)  # it can be read once only, and we are not its only reader
        outer = handing.get()
        if plan.plain and (outer is None or not outer.handing_down):
            # Nearly always: nothing but a span is asked for, and no edge of ours stands above.
            span, context, outgoing = start(plan, method, metadata)
            if span is None or context is None:
                return invoke(request, metadata=metadata, **options)
            kind = span.__class__
            if kind is UnsampledSpan:
                otel = attach(context)  # nobody will hear of it
                try:
                    return invoke(request, metadata=outgoing, **options)
                finally:
                    detach(otel)
            rpc: AioClientCall = _new(AioClientCall)  # ``__init__`` is a call from C
            rpc.plan, rpc.method, rpc.name, rpc.metadata = plan, method, method.name, outgoing
            rpc.span, rpc.context, rpc.begun, rpc.given = span, context, True, metadata
            if kind is Span or (kind is not UnsampledSpan and span.is_recording()):
                rpc.counts = rpc.live = True
        else:
            rpc = AioClientCall(plan, method, metadata)
            timeout = options.get("timeout") if options else None
            if not rpc.begin(None if self.request_streaming else request, timeout):
                return invoke(request, metadata=rpc.metadata, **options)
        if self.request_streaming:
            request = requests_of(request, rpc, count=False)
        making = None
        if rpc.counts:
            making, factory = self._making, self._factory
            if not self.response_streaming:
                rpc.converts_response = True
            if making is None:
                receive = rpc.receive if self.response_streaming else rpc.receive_last
                invoke = factory.make_for(rpc, receive)
            else:  # the same, without another one of gRPC's
                rpc.serialize, rpc.deserialize = factory.serializer, factory.deserializer
                rpc.sees_bytes = True
                invoke, making.rpc = self._watched, rpc
        otel = attach(rpc.context)
        try:
            call = invoke(request, metadata=rpc.metadata, **options)
        except BaseException as error:
            rpc.raised(error)
            raise
        finally:
            detach(otel)
            if making is not None:
                making.rpc = None
        if making is not None:
            return rpc.convert(call, streams=self.response_streaming)
        return rpc.watch(call, streams=self.response_streaming) if rpc.live else call


class _StreamRequest(AioMultiCallable):
    request_streaming = True

    def __call__(  # type: ignore[override] # the requests, and all options, by place as well
        self,
        request_iterator: object = None,
        timeout: float | None = None,
        metadata: Iterable[Pair] | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> object:
        return super().__call__(
            request_iterator,
            metadata=metadata,
            timeout=timeout,
            credentials=credentials,
            wait_for_ready=wait_for_ready,
            compression=compression,
        )


class _UnaryUnary(AioMultiCallable, grpc.aio.UnaryUnaryMultiCallable):
    request_streaming, response_streaming = False, False


class _UnaryStream(AioMultiCallable, grpc.aio.UnaryStreamMultiCallable):
    request_streaming, response_streaming = False, True


class _StreamUnary(_StreamRequest, grpc.aio.StreamUnaryMultiCallable):
    response_streaming = False


class _StreamStream(_StreamRequest, grpc.aio.StreamStreamMultiCallable):
    response_streaming = True


_Kind = TypeVar("_Kind", bound=AioMultiCallable)


class TracedAioChannel(grpc.aio.Channel):
    """An asyncio channel whose calls are traced; everything else is the bare channel's."""

    def __init__(self, channel: grpc.aio.Channel, plan: Plan) -> None:
        self._traced_channel = channel
        self._plan = plan
        if type(channel) is _BareChannel:
            plan.below = frozenset()

    def __getattr__(self, name: str) -> object:
        return getattr(self._traced_channel, name)

    async def __aenter__(self) -> Self:
        await self._traced_channel.__aenter__()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._traced_channel.__aexit__(*raised)

    async def close(self, grace: float | None = None) -> None:
        await self._traced_channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._traced_channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._traced_channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._traced_channel.channel_ready()

    def unary_unary(self, method: str, *args: object, **kwargs: object) -> _UnaryUnary:
        return self._method(_UnaryUnary, self._traced_channel.unary_unary, method, *args, **kwargs)

    def unary_stream(self, method: str, *args: object, **kwargs: object) -> _UnaryStream:
        return self._method(
            _UnaryStream, self._traced_channel.unary_stream, method, *args, **kwargs
        )

    def stream_unary(self, method: str, *args: object, **kwargs: object) -> _StreamUnary:
        return self._method(
            _StreamUnary, self._traced_channel.stream_unary, method, *args, **kwargs
        )

    def stream_stream(self, method: str, *args: object, **kwargs: object) -> _StreamStream:
        return self._method(
            _StreamStream, self._traced_channel.stream_stream, method, *args, **kwargs
        )

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
            return cast("_Kind", trace_foreign(bare, plan, method, AioClientCall, streams))
        return kind(plan, method, Factory(make, method, *args, **kwargs))
