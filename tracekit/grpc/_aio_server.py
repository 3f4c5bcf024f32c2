"""The asyncio server: coroutines, asynchronous generators, and blocking handlers in its threads.

gRPC looks at the kind of function a handler is, so each is replaced by one of the same kind. The
RPC's own task, in which the interceptor runs, tells when gRPC is done with it.
"""

from __future__ import annotations

import asyncio
import inspect
from time import time_ns
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from tracekit._assembly.handle import slot
from tracekit._context import get_current
from tracekit.grpc import _conventions as conventions
from tracekit.grpc import _foreign as foreign
from tracekit.grpc._aio_threads import threaded
from tracekit.grpc._foreign_context import OWN_AIO_CONTEXT, KnownContext, known
from tracekit.grpc._handlers import behavior_of, rewrap
from tracekit.grpc._recording_context import ReadableContext
from tracekit.grpc._server_call import ServerRpc, seen
from tracekit.grpc._started_in import StartContexts
from tracekit.grpc._stepped import Stepped

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
    )
    from typing import TypeAlias

    from typing_extensions import Self

    from tracekit.grpc._handlers import Behavior
    from tracekit.grpc._plan import Plan

    _Asked: TypeAlias = grpc.aio.ServicerContext | KnownContext

_FINE = (None, grpc.StatusCode.OK)


class AioServerInterceptor(grpc.aio.ServerInterceptor):
    """Traces every RPC of a ``grpc.aio`` server."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._started_in = StartContexts()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Return the handler of this one RPC, traced."""
        plan = self._plan
        try:
            metadata = handler_call_details.invocation_metadata
            path = handler_call_details.method
            method = plan.methods[path] if path in plan.methods else plan.method(path)
        except Exception:  # an interceptor's own idea of details
            return await continuation(handler_call_details)
        if metadata is not None and seen.get() is metadata:
            return await continuation(handler_call_details)
        current = get_current()
        mark = seen.set(metadata)
        try:
            handler = await continuation(handler_call_details)
        finally:
            seen.reset(mark)
        if handler is None or method is None:
            return handler
        rpc = AioServerCall(plan, method, metadata)
        rpc.started_ns = time_ns()
        rpc.unclaimed = True
        try:
            rpc.reads_stream = handler.request_streaming
            if current:
                rpc.base = self._started_in.base_of(current)
            bound = plan.bound
            if bound is None or (
                bound.handle is not plan.tracing
                and (plan.tracing is not None or bound.handle is not slot.running)
            ):
                bound = plan.rebind()
            rpc.bound = bound
            rpc.extracted = bound.propagator.read_metadata(metadata or ())
            behavior = behavior_of(handler)
            traced = rewrap(handler, rpc, behavior, _traced(rpc, behavior))
        except Exception:
            plan.complain("tracing a handler")
            return handler
        task = rpc.task = asyncio.current_task()
        if task is not None:  # ``in_task``, without the call
            task.add_done_callback(rpc.on_task_done)
        else:
            rpc.ends_with_handler = True
        return traced


class AioServerCall(ServerRpc):
    """An RPC on an asyncio server."""

    if_unconvertible = grpc.StatusCode.UNKNOWN
    task: asyncio.Task[object] | None = None
    """gRPC's, in which this RPC is served."""
    _served: grpc.aio.ServicerContext | KnownContext | ReadableContext | None = None
    reads_stream = False
    """Whether there is a stream of requests."""
    _exhausted = False
    _interrupted = False

    def in_task(self, task: asyncio.Task[object] | None) -> None:
        """Called with gRPC's task for this RPC; None: nobody will tell when it is over."""
        if task is None:
            self.ends_with_handler = True
        else:
            self.task = task
            task.add_done_callback(self.on_task_done)

    def called(self, context: grpc.aio.ServicerContext) -> tuple[Self, _Asked]:
        """Return the RPC that the handler is called for, and its context; in a task of the loop."""
        task = asyncio.current_task()
        if not self.begun and task is self.task and type(context) is OWN_AIO_CONTEXT:
            return self, context
        asked = known(context)
        call = self.serving(asked)
        if call is not self:
            call.reads_stream = self.reads_stream
            call.in_task(task)
        return call, asked

    def served(self, context: _Asked | ReadableContext) -> None:
        """Called with the context that the handler has, or with what listens to it."""
        self._served = context

    def cancelled_now(self) -> None:
        context = self._served
        if context is not None and self.remaining_s is None:
            self.remaining_s = context.time_remaining()

    def on_task_done(self, task: asyncio.Task[object]) -> None:
        """Called when gRPC's task for this RPC has ended, in the loop's thread."""
        del task
        self.task = None
        self.closed = True
        if not self.live:
            return
        self.cancelled_now()
        if not self.unattended:
            return
        if self._interrupted:
            # Somebody further out may have cancelled the handler, and answered by itself.
            self.end(over=not foreign.ask(self._served, "done", bool))
        else:
            over = self.streaming and not self._exhausted and self.raised_text is None
            self.end(over=over)

    async def was_cut_off(self) -> bool:
        """Return whether the RPC was over before its handler, which has ended, could know.

        A request that is too large ends the RPC; its handler sees the end of the stream, and
        gRPC cancels it one step of the loop later, if it still runs. Then too late is as good.
        """
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and hasattr(task, "uncancel"):  # Python 3.11
                task.uncancel()
            return True
        return False

    def exhausted(self) -> None:
        """Called in a thread when there are no more responses; the loop may still send the last."""
        self._exhausted = True
        self.unattended = True
        if self.closed:
            self.end()

    def failed(self, error: BaseException) -> None:
        """Called when ``error`` left the handler."""
        if isinstance(error, asyncio.CancelledError) and not self.ends_with_handler:
            self.cancelled_now()
            self._interrupted = self.unattended = True
            if self.closed:
                self.end(error)
        else:
            self.raised(error, final=isinstance(error, grpc.aio.AbortError) or self._is_aborted())

    def _is_aborted(self) -> bool:
        return isinstance(self._served, ReadableContext) and self._served.aborted

    def sends(self, data: object) -> bool:
        """Return whether gRPC sends ``data``: here, text as UTF-8, and None as nothing."""
        return data is None or isinstance(data, str)

    def returned(self, response: object) -> None:
        """Called when the handler returned the response."""
        context = self._served
        if context is None:
            return
        fine = not context.code() or _code_of(context) in _FINE  # (the number of OK is 0)
        if not fine or self.closed or self.ends_with_handler:
            self.end()  # it will not be serialized
            return
        if self.plan.has_hooks:
            self.response = response
        self.unattended = True  # ``leave``, without the call

    def responded(self) -> None:
        """Called when the one response could be serialized: nearly all calls end well here."""
        context = self._served
        own = type(context) is OWN_AIO_CONTEXT
        if (
            context is not None
            and own
            and self.plan.quiet
            and self.raised_text is None
            and not context.code()
            and not context.trailing_metadata()
        ):
            self.succeed()
            self._served = None
        else:
            self.end(over=False)

    def end(self, error: BaseException | None = None, *, over: bool | None = None) -> None:
        context = self._served
        if not self.live or context is None:
            return
        # An abort in a thread ends the RPC before its exception has left the handler, and in old
        # versions of gRPC without any.
        aborted = isinstance(error, grpc.aio.AbortError) or getattr(context, "aborted", False)
        cancelled = isinstance(error, asyncio.CancelledError) or self.closed
        remaining_s = self.remaining_s
        code = _code_of(context)
        if (error is not None or self.raised_text is not None) and code is grpc.StatusCode.OK:
            code = None  # here, an exception overrules a code that says OK
        if over is None:
            over = cancelled
        if over and code is not None and foreign.ask(context, "done", bool):
            over = False  # an abort has gone out, whatever the handler did after that
        self.complete_as_sent(
            code,
            context.details(),
            error,
            aborted=aborted,
            over=over and not aborted,
            remaining_s=context.time_remaining() if remaining_s is None else remaining_s,
            response_metadata=context.trailing_metadata,
        )
        self._served = None


def _code_of(context: _Asked | ReadableContext) -> grpc.StatusCode | None:
    return conventions.code_of(context.code(), numbers=True)


def _traced(rpc: AioServerCall, behavior: Behavior) -> Behavior:
    """Return a function of the same kind, by the tests that gRPC makes."""
    if inspect.iscoroutinefunction(behavior):
        return _coroutine(rpc, behavior)
    if inspect.isasyncgenfunction(behavior):
        return _async_generator(rpc, behavior)
    return threaded(rpc, behavior)


def _coroutine(
    rpc: AioServerCall, behavior: Callable[..., Coroutine[object, object, object]]
) -> Behavior:
    async def traced(request: object, context: grpc.aio.ServicerContext) -> object:
        call, asked = rpc.called(context)
        if not call.begin(request, asked):
            return await behavior(request, context)
        try:
            response = await Stepped(behavior(request, context), call.step(), call)
        except BaseException as error:
            call.failed(error)
            raise
        if call.reads_stream and await call.was_cut_off():
            call.end(over=True)
        elif call.streaming:
            call.end()
        else:
            call.returned(response)
        return response

    return traced


def _async_generator(
    rpc: AioServerCall, behavior: Callable[..., AsyncGenerator[object, None]]
) -> Behavior:
    async def traced(request: object, context: grpc.aio.ServicerContext) -> AsyncIterator[object]:
        call, asked = rpc.called(context)
        begun = call.begin(request, asked)
        source = behavior(request, context)
        if not begun:
            async for response in source:
                yield response
            return
        step = call.step()
        try:
            while True:
                response = await Stepped(source.__anext__(), step, call)
                call.leave()
                yield response
                call.attend()
        except StopAsyncIteration:
            call.end(over=True if call.reads_stream and await call.was_cut_off() else None)
        except GeneratorExit:
            # gRPC drops the generator of a client that went away; the loop then closes it, and
            # would close the handler's own a task later.
            await Stepped(source.aclose(), step)
            call.dropped()
            raise
        except BaseException as error:
            call.failed(error)
            raise

    return traced
