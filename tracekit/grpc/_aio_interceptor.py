"""The interceptors of an asyncio channel: one for each kind of call, as ``grpc.aio`` wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc.aio

from tracekit.grpc._aio_client import AioClientCall
from tracekit.grpc._aio_requests import requests_of
from tracekit.grpc._client import read_details, with_metadata
from tracekit.grpc._stepped import stepped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tracekit.grpc._plan import Plan

    Continuation = Callable[[grpc.aio.ClientCallDetails, object], Awaitable[grpc.aio.Call]]


class AioClientInterceptor:
    """What the four interceptors share; ``grpc.aio`` wants an object for each kind of call."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    async def _intercept(
        self,
        continuation: Continuation,
        details: grpc.aio.ClientCallDetails,
        request: object,
        *,
        streaming: bool = False,
        streams: bool = False,
    ) -> object:
        plan = self._plan
        method, given, timeout = read_details(plan, details)
        if method is None:
            return await continuation(details, request)
        rpc = AioClientCall(plan, method, given)
        begun = rpc.begin(None if streaming else request, timeout)
        metadata = grpc.aio.Metadata(*(rpc.metadata or ()))
        details = with_metadata(details, metadata)
        if not begun:
            return await continuation(details, request)
        if streaming:
            request = requests_of(request, rpc, count=True)
        else:
            rpc.sent_count, rpc.sees_requests = 1, True
        step = rpc.hand_down_in_task()
        try:
            call = await stepped(continuation(details, request), step)
        except BaseException as error:
            rpc.raised(error)
            raise
        finally:
            rpc.handed_down()
        return rpc.watch(call, streams=streams) if rpc.live else call


class UnaryUnaryInterceptor(AioClientInterceptor, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self,
        continuation: Continuation,
        client_call_details: grpc.aio.ClientCallDetails,
        request: object,
    ) -> object:
        return await self._intercept(continuation, client_call_details, request)


class UnaryStreamInterceptor(AioClientInterceptor, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self,
        continuation: Continuation,
        client_call_details: grpc.aio.ClientCallDetails,
        request: object,
    ) -> object:
        return await self._intercept(continuation, client_call_details, request, streams=True)


class StreamUnaryInterceptor(AioClientInterceptor, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self,
        continuation: Continuation,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: object,
    ) -> object:
        return await self._intercept(
            continuation, client_call_details, request_iterator, streaming=True
        )


class StreamStreamInterceptor(AioClientInterceptor, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self,
        continuation: Continuation,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: object,
    ) -> object:
        return await self._intercept(
            continuation, client_call_details, request_iterator, streaming=True, streams=True
        )


INTERCEPTORS = (
    UnaryUnaryInterceptor,
    UnaryStreamInterceptor,
    StreamUnaryInterceptor,
    StreamStreamInterceptor,
)
