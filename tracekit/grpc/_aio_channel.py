"""The asyncio channel, traced; see ``_channel``, which it mirrors on ``grpc.aio``'s classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import grpc
import grpc.aio
from grpc.aio._channel import Channel as _BareChannel

from tracekit._context import attach, detach
from tracekit.grpc._aio_client import (
    AioClientCall,
    receiver_in_task,
    sender_in_task,
)
from tracekit.grpc._aio_requests import requests_of
from tracekit.grpc._foreign_channel import trace_foreign
from tracekit.grpc._multi_callable import Factory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self

    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._multi_callable import Invoke
    from tracekit.grpc._plan import Plan
    from tracekit.grpc._shared import Method


class AioMultiCallable:
    """A method of a traced channel: gRPC's own, made anew for each traced call."""

    _request_streaming: bool
    _response_streaming: bool

    def __init__(self, plan: Plan, method: str, factory: Factory) -> None:
        self._plan = plan
        self._method = method
        self._factory = factory
        self._bare = factory.make(factory.serializer, factory.deserializer)
        self._known: Method | None = None

    def _run(
        self, request: object, metadata: Iterable[Pair] | None, options: dict[str, object]
    ) -> object:
        plan, method, traced = self._plan, self._known, self._bare
        if method is None:
            method = self._known = plan.method(self._method)
            if method is None:
                return traced(request, metadata=metadata, **options)
        unary = not self._response_streaming
        rpc = AioClientCall(plan, method, metadata)
        timeout = options.get("timeout") if options else None
        if not rpc.begin(None if self._request_streaming else request, timeout):
            return traced(request, metadata=rpc.metadata, **options)
        if self._request_streaming:
            request = requests_of(request, rpc, count=False)
        if rpc.counts:
            rpc.converts_response = unary
            traced = self._traced(rpc)
        elif plan.below is not None and not plan.below:
            # Nobody will hear of it, and no edge of ours can meet it again further down.
            otel = attach(rpc.context)
            try:
                return traced(request, metadata=rpc.metadata, **options)
            finally:
                detach(otel)
        try:
            with rpc:
                call = traced(request, metadata=rpc.metadata, **options)
        except BaseException as error:
            rpc.raised(error)
            raise
        return rpc.watch(call, streams=not unary) if rpc.live else call

    def _traced(self, rpc: AioClientCall) -> Invoke:
        """Return gRPC's multi-callable with converters that count for ``rpc``."""
        receive = rpc.receive if self._response_streaming else rpc.receive_last
        return self._factory.make_for(rpc, receive)


class _UnaryRequest(AioMultiCallable):
    _request_streaming = False

    def __call__(
        self, request: object, *, metadata: Iterable[Pair] | None = None, **options: object
    ) -> object:
        return self._run(request, metadata, options)


class _StreamRequest(AioMultiCallable):
    _request_streaming = True

    def __call__(
        self,
        request_iterator: object = None,
        timeout: float | None = None,
        metadata: Iterable[Pair] | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> object:
        options = {
            "timeout": timeout,
            "credentials": credentials,
            "wait_for_ready": wait_for_ready,
            "compression": compression,
        }
        return self._run(request_iterator, metadata, options)


class _UnaryUnary(_UnaryRequest, grpc.aio.UnaryUnaryMultiCallable):
    """Unary both ways.

    gRPC converts in a task that the call starts when it is made, and a task inherits the context:
    so one multi-callable serves all of them, as in ``_channel``. Where the channel has interceptors
    of its own these make the call, in whatever task.
    """

    _response_streaming = False
    _shared: Invoke | None = None

    def _traced(self, rpc: AioClientCall) -> Invoke:
        if getattr(self._bare, "_interceptors", True):
            return super()._traced(rpc)
        rpc.sees_bytes = True
        shared = self._shared
        if shared is None:
            factory = self._factory
            receiver = receiver_in_task(factory.deserializer)
            shared = self._shared = factory.make(sender_in_task(factory.serializer), receiver)
        return shared


class _UnaryStream(_UnaryRequest, grpc.aio.UnaryStreamMultiCallable):
    _response_streaming = True


class _StreamUnary(_StreamRequest, grpc.aio.StreamUnaryMultiCallable):
    _response_streaming = False


class _StreamStream(_StreamRequest, grpc.aio.StreamStreamMultiCallable):
    _response_streaming = True


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
            streams = kind._response_streaming
            return cast("_Kind", trace_foreign(bare, plan, method, AioClientCall, streams))
        return kind(plan, method, Factory(make, method, *args, **kwargs))
