"""The asyncio client: its calls, and interceptors that hand back gRPC's own call objects.

``grpc.aio`` starts tasks for a call while it is made, and a task inherits the context. So the
client span is current in a request iterator without anything being held over an ``await``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Protocol, cast

import grpc
import grpc.aio

from tracekit._calls.lifecycle import message_of
from tracekit.grpc import _conventions as conventions
from tracekit.grpc._aio_server import Stepped
from tracekit.grpc._client import with_metadata
from tracekit.grpc._client_call import ClientRpc

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Iterator,
    )

    from tracekit.grpc._plan import Plan
    from tracekit.grpc._rpc import Pair

    Continuation = Callable[[grpc.aio.ClientCallDetails, object], Awaitable[grpc.aio.Call]]


_SENDING = ("_invocation_task", "_send_unary_request_task")
"""Where a call keeps the task that sends a single request."""


class _Status(Protocol):
    """How a call ended, as gRPC's core tells it."""

    def code(self) -> int: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> tuple[Pair, ...] | None: ...


class _Core(Protocol):
    """The core of a call object, which lives on when that is dropped."""

    _status: _Status
    _initial_metadata: tuple[Pair, ...] | None

    def done(self) -> bool: ...
    def add_done_callback(self, callback: Callable[[], None]) -> None: ...


class AioClientCall(ClientRpc):
    """An RPC made by asyncio code; only the loop's thread touches it."""

    _core: _Core | None = None
    converts_response = False
    """Whether one response is to be converted and counted, which comes after the status."""

    def raised(self, error: BaseException) -> None:
        """Hear what making the call raised."""
        if isinstance(error, grpc.aio.AioRpcError):
            self.complete(
                conventions.code_of(error.code(), numbers=True),
                details=error.details(),
                response_metadata=lambda: _both(
                    error.initial_metadata(), error.trailing_metadata()
                ),
            )
        elif isinstance(error, asyncio.CancelledError):
            self.complete(grpc.StatusCode.CANCELLED)
        else:
            self.complete(None, details=message_of(error), exception=error)

    def watch(self, call: grpc.aio.Call) -> None:
        """Finish when ``call`` does, without keeping it alive: dropped, gRPC cancels it.

        ``add_done_callback`` of a call would keep it, that of the core inside it does not.
        """
        core = getattr(call, "_cython_call", None)
        interceptors = getattr(call, "_interceptors_task", None)
        if core is not None:
            self._core = core
            core.add_done_callback(self._ended)
            for name in _SENDING:
                if (task := getattr(call, name, None)) is not None:
                    task.add_done_callback(self._sent)
        elif interceptors is not None:
            interceptors.add_done_callback(self._intercepted)
        else:  # an interceptor answered by itself
            self.complete(grpc.StatusCode.OK)

    def _intercepted(self, task: asyncio.Task[grpc.aio.Call]) -> None:
        """Called when the interceptors of the channel have made (or refused) the call."""
        if task.cancelled():
            self.complete(grpc.StatusCode.CANCELLED)
        elif (error := task.exception()) is not None:
            self.raised(error)
        else:
            self.watch(task.result())

    def _sent(self, task: asyncio.Task[object]) -> None:
        """Called when the one request is out. If that failed there may never be a status."""
        # Not ``exception()``: for asyncio that would be somebody who has dealt with it.
        error = None if task.cancelled() else getattr(task, "_exception", None)
        core = self._core
        if error is not None and core is not None and not core.done():
            self._core = None
            self.raised(error)

    def _ended(self) -> None:
        """Called when there is a status. gRPC would fail the call for anything raised here."""
        core = self._core
        if core is None:
            return
        status = core._status
        code = conventions.CODES.get(status.code(), grpc.StatusCode.UNKNOWN)
        if self.converts_response and code is grpc.StatusCode.OK:
            return  # gRPC does that next, and then we are told
        self._core = None  # its callbacks lead here: leave no circle behind
        self.complete(
            code,
            details=status.details() or None,
            response_metadata=lambda: _both(core._initial_metadata, status.trailing_metadata()),
        )

    def receive_last(self, data: object) -> object:
        """Deserialize the one response, with which the call ends."""
        message = self.receive(data)
        try:
            self._responded()
        except Exception:
            self.plan.complain("following a call")
        return message

    def _responded(self) -> None:
        self.converts_response = False
        self._ended()

    def unconverted(self, error: Exception) -> None:
        """Called when a message was unreadable. To gRPC that is no failure of the call."""
        self.note(error)
        if self._core is not None and self._core.done():
            self._responded()


def _both(initial: Iterable[Pair] | None, trailing: Iterable[Pair] | None) -> list[Pair]:
    return [*(initial or ()), *(trailing or ())]


class AsyncRequests:
    """An asynchronous request iterator whose failure is remembered."""

    __slots__ = ("_count", "_iterator", "_rpc", "_source")

    def __init__(self, source: AsyncIterable[object], rpc: AioClientCall, *, count: bool) -> None:
        self._source = source
        self._rpc = rpc
        self._count = count
        rpc.sees_requests = True

    def __aiter__(self) -> AsyncRequests:
        self._iterator: AsyncIterator[object] = self._source.__aiter__()
        return self

    async def __anext__(self) -> object:
        try:
            request = await self._iterator.__anext__()
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._rpc.note(error)
            raise
        if self._count:
            self._rpc.sent_count += 1
        return request


def requests_of(source: object, rpc: AioClientCall, *, count: bool) -> object:
    """Return a request iterator of the same kind; None, for the writer's way, as it is."""
    if source is None:
        return None
    if isinstance(source, AsyncIterable):
        return AsyncRequests(source, rpc, count=count)
    return _from_iterable(cast("Iterable[object]", source), rpc, count=count)


def _from_iterable(
    source: Iterable[object], rpc: AioClientCall, *, count: bool
) -> Iterator[object]:
    rpc.sees_requests = True
    try:
        for request in source:
            if count:
                rpc.sent_count += 1
            yield request
    except Exception as error:
        rpc.note(error)
        raise


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
    ) -> grpc.aio.Call:
        method = self._plan.method(details.method)
        if method is None:
            return await continuation(details, request)
        rpc = AioClientCall(self._plan, method, details.metadata)
        begun = rpc.begin(None if streaming else request)
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
            call = await Stepped(continuation(details, request), step)
        except BaseException as error:
            rpc.raised(error)
            raise
        finally:
            rpc.handed_down()
        if rpc.live:
            rpc.watch(call)
        return call


class UnaryUnaryInterceptor(AioClientInterceptor, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self,
        continuation: Continuation,
        client_call_details: grpc.aio.ClientCallDetails,
        request: object,
    ) -> grpc.aio.Call:
        return await self._intercept(continuation, client_call_details, request)


class UnaryStreamInterceptor(AioClientInterceptor, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self,
        continuation: Continuation,
        client_call_details: grpc.aio.ClientCallDetails,
        request: object,
    ) -> grpc.aio.Call:
        return await self._intercept(continuation, client_call_details, request)


class StreamUnaryInterceptor(AioClientInterceptor, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self,
        continuation: Continuation,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: object,
    ) -> grpc.aio.Call:
        return await self._intercept(
            continuation, client_call_details, request_iterator, streaming=True
        )


class StreamStreamInterceptor(AioClientInterceptor, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self,
        continuation: Continuation,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: object,
    ) -> grpc.aio.Call:
        return await self._intercept(
            continuation, client_call_details, request_iterator, streaming=True
        )


INTERCEPTORS = (
    UnaryUnaryInterceptor,
    UnaryStreamInterceptor,
    StreamUnaryInterceptor,
    StreamStreamInterceptor,
)
