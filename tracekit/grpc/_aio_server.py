"""The asyncio server: coroutines, asynchronous generators, and blocking handlers in its threads.

gRPC looks at the kind of function a handler is, so each is replaced by one of the same kind. The
RPC's own task, in which the interceptor runs, tells when gRPC is done with it.

A blocking handler gets a context that cannot be asked for its code, so one that listens stands in
for it. Its thread may go on after the RPC was cancelled, as it does without us.
"""

from __future__ import annotations

import asyncio
import inspect
from time import time_ns
from typing import TYPE_CHECKING, cast

import grpc
import grpc.aio

from tracekit.grpc import _conventions as conventions
from tracekit.grpc._handlers import rewrap
from tracekit.grpc._recording_context import Heard, Listening
from tracekit.grpc._server_call import ServerRpc, seen

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Generator,
        Iterable,
        Iterator,
    )

    from tracekit._calls.lifecycle import Step
    from tracekit.grpc._handlers import Behavior
    from tracekit.grpc._plan import Plan

_FINE = (None, grpc.StatusCode.OK)


class Stepped:
    """Await a coroutine with its step's context current only while it runs.

    At each suspension control, and the context, go back to the event loop as they came.
    """

    __slots__ = ("_awaited", "_step")

    def __init__(self, awaited: Awaitable[object], step: Step) -> None:
        self._awaited = awaited
        self._step = step

    def __await__(self) -> Generator[object, object, object]:
        step = self._step
        iterator = self._awaited.__await__()
        resume: Callable[..., object] = iterator.send
        value: object = None
        while True:
            try:
                with step:
                    waiting = resume(value)
            except StopIteration as done:
                return done.value
            try:
                value = yield waiting
                resume = iterator.send
            except GeneratorExit:
                with step:
                    iterator.close()
                raise
            except BaseException as error:
                value = error
                resume = iterator.throw


class AioServerInterceptor(grpc.aio.ServerInterceptor):
    """Traces every RPC of a ``grpc.aio`` server."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Return the handler of this one RPC, traced."""
        metadata = handler_call_details.invocation_metadata
        if metadata is not None and seen.get() is metadata:
            return await continuation(handler_call_details)
        mark = seen.set(metadata)
        try:
            handler = await continuation(handler_call_details)
        finally:
            seen.reset(mark)
        plan = self._plan
        method = plan.method(handler_call_details.method)
        if handler is None or method is None:
            return handler
        rpc = AioServerCall(plan, method, metadata)
        rpc.started_ns = time_ns()
        try:
            rpc.bound = bound = plan.rebind()
            rpc.arrival = bound.propagator.read_metadata(metadata or ())
        except Exception:
            plan.complain("reading what arrived")
            return handler
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(rpc.on_task_done)
        return rewrap(handler, rpc, _traced)


class AioServerCall(ServerRpc):
    """An RPC on an asyncio server."""

    if_unconvertible = grpc.StatusCode.UNKNOWN
    _served: grpc.aio.ServicerContext | Heard | None = None
    _exhausted = False

    def enter(self, request: object, context: grpc.aio.ServicerContext | Heard) -> Step | None:
        """Begin, and return the handler's step; None: not to be traced."""
        return self.step() if self.begin(request, context) else None

    def served(self, context: grpc.aio.ServicerContext | Heard) -> None:
        """Hear which context the handler has, or what listens to it."""
        self._served = context

    def on_task_done(self, task: asyncio.Task[object]) -> None:
        """Called when gRPC's task for this RPC has ended, in the loop's thread."""
        del task
        self.closed = True
        if self.unattended:
            self.end(over=self.streaming and not self._exhausted)

    def exhausted(self) -> None:
        """Hear, in a thread, that there are no more responses; the loop may still send the last."""
        self._exhausted = True
        self.unattended = True
        if self.closed:
            self.end()

    def sends(self, data: object) -> bool:
        """Return whether gRPC sends ``data``: here, text as UTF-8, and None as nothing."""
        return data is None or isinstance(data, str)

    def returned(self, response: object) -> None:
        """Called when the handler returned the response."""
        context = self._served
        if context is None:
            return
        if _code_of(context) not in _FINE or self.closed:
            self.end()  # it will not be serialized
            return
        if self.plan.has_hooks:
            self.response = response
        self.leave()

    def end(self, error: BaseException | None = None, *, over: bool | None = None) -> None:
        context = self._served
        if not self.live or context is None:
            return
        # An abort in a thread ends the RPC before its exception has left the handler, and in old
        # versions of gRPC without any.
        aborted = isinstance(error, grpc.aio.AbortError) or getattr(context, "aborted", False)
        cancelled = isinstance(error, asyncio.CancelledError) or self.closed
        code = _code_of(context)
        if error is not None and code is grpc.StatusCode.OK:
            code = None  # here, an exception overrules a code that says OK
        self.complete_as_sent(
            code,
            context.details(),
            error,
            aborted=aborted,
            over=(cancelled if over is None else over) and not aborted,
            remaining_s=context.time_remaining(),
            response_metadata=context.trailing_metadata,
        )
        self._served = None


def _code_of(context: grpc.aio.ServicerContext | Heard) -> grpc.StatusCode | None:
    return conventions.code_of(context.code(), numbers=True)


def _traced(rpc: AioServerCall, behavior: Behavior) -> Behavior:
    """Return a function of the same kind, by the tests that gRPC makes."""
    if inspect.iscoroutinefunction(behavior):
        return _coroutine(rpc, behavior)
    if inspect.isasyncgenfunction(behavior):
        return _async_generator(rpc, behavior)
    return _blocking(rpc, behavior)


def _coroutine(
    rpc: AioServerCall, behavior: Callable[..., Coroutine[object, object, object]]
) -> Behavior:
    async def traced(request: object, context: grpc.aio.ServicerContext) -> object:
        step = rpc.enter(request, context)
        if step is None:
            return await behavior(request, context)
        try:
            response = await Stepped(behavior(request, context), step)
        except BaseException as error:
            rpc.end(error)
            raise
        if rpc.streaming:
            rpc.end()
        else:
            rpc.returned(response)
        return response

    return traced


def _async_generator(
    rpc: AioServerCall, behavior: Callable[..., AsyncGenerator[object, None]]
) -> Behavior:
    async def traced(request: object, context: grpc.aio.ServicerContext) -> AsyncIterator[object]:
        step = rpc.enter(request, context)
        source = behavior(request, context)
        if step is None:
            async for response in source:
                yield response
            return
        try:
            while True:
                response = await Stepped(source.__anext__(), step)
                rpc.leave()
                yield response
                rpc.attend()
        except StopAsyncIteration:
            rpc.end()
        except GeneratorExit:
            # gRPC drops the generator of a client that went away; the loop then closes it, and
            # would close the handler's own a task later.
            await Stepped(source.aclose(), step)
            rpc.dropped()
            raise
        except BaseException as error:
            rpc.end(error)
            raise

    return traced


def _blocking(rpc: AioServerCall, behavior: Behavior) -> Behavior:
    def traced(request: object, context: grpc.ServicerContext) -> object:
        heard = Heard(context)
        step = rpc.enter(request, heard)
        if step is None:
            return behavior(request, context)
        told = Listening(context, heard)
        try:
            with step:
                response = behavior(request, told)
        except BaseException as error:
            rpc.end(error)
            raise
        if rpc.streaming:
            rpc.leave()
            return _responses(cast("Iterable[object]", response), rpc, step)
        rpc.returned(response)
        return response

    return traced


def _responses(source: Iterable[object], rpc: AioServerCall, step: Step) -> Iterator[object]:
    """Yield from what a blocking handler returned, in gRPC's thread for it."""
    rpc.attend()
    try:
        with step:
            iterator = iter(source)
        while True:
            with step:
                response = next(iterator)
            rpc.leave()
            yield response
            rpc.attend()
    except StopIteration:
        rpc.exhausted()
    except GeneratorExit:
        with step:
            del source, iterator
        rpc.dropped()
        raise
    except BaseException as error:
        rpc.end(error)
        raise
