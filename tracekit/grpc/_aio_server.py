"""The asyncio server: coroutines, asynchronous generators, and blocking handlers in its threads.

gRPC looks at the kind of function a handler is, so each is replaced by one of the same kind. The
RPC's own task, in which the interceptor runs, tells when gRPC is done with it.
"""

from __future__ import annotations

import asyncio
import inspect
from time import time_ns
from types import CoroutineType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as _SUPPRESSED
from opentelemetry.context import Context

from tracekit._assembly.handle import slot
from tracekit._calls.lifecycle import Step
from tracekit._context import SPAN_KEY, SUPPRESSED_PLAINLY, attach, detach, get_current
from tracekit.grpc._aio_server_call import AioServerCall
from tracekit.grpc._aio_threads import threaded
from tracekit.grpc._foreign_context import OWN_AIO_CONTEXT, known
from tracekit.grpc._handlers import behavior_of, rebuilt, rewrap
from tracekit.grpc._server_call import pairs_of, seen
from tracekit.grpc._started_in import StartContexts, without
from tracekit.grpc._stepped import resumed, steps_of
from tracekit.propagation._extracted import enter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._handlers import Behavior
    from tracekit.grpc._plan import Plan
    from tracekit.grpc._shared import Method, PassThrough
    from tracekit.propagation._remote import Extracted

_new = object.__new__


class AioServerInterceptor(grpc.aio.ServerInterceptor):
    """Traces every RPC of a ``grpc.aio`` server."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._started_in = StartContexts()

    async def intercept_service(  # noqa: PLR0915 - one road: see what a call costs, in ``_rpc``
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
        started_ns = time_ns()
        try:
            base = self._started_in.base_of(current) if current else None
            bound = plan.bound
            if bound is None or (
                bound.handle is not plan.tracing
                and (plan.tracing is not None or bound.handle is not slot.running)
            ):
                bound = plan.rebind()
            extracted = bound.propagator.read_metadata(metadata or ())
            through = bound.pass_through
            task = asyncio.current_task()
            streams, reads = handler.response_streaming, handler.request_streaming
            behavior: Behavior
            behavior = behavior_of(handler) if streams or reads else handler.unary_unary
            function = behavior.__func__ if type(behavior) is MethodType else behavior
            is_coroutine = (  # as nearly all are; the general test costs as much as a span
                type(function) is FunctionType
                and function.__code__.co_flags & inspect.CO_COROUTINE != 0
            ) or inspect.iscoroutinefunction(behavior)
            fields = extracted[0]
            unsampled = fields is not None and fields[3] is False
            if (
                unsampled
                and through is not None
                and is_coroutine
                and not streams
                and through.passes_on(extracted)
            ):
                given = behavior, through, extracted, base, plan, method, metadata
                passing = Passing(*given, task, reads)
                convert = handler.request_deserializer, handler.response_serializer
                return rebuilt(handler, behavior, passing.coroutine, *convert)
            rpc: AioServerCall = _new(AioServerCall)  # ``__init__`` is a call from C
            rpc.plan, rpc.method, rpc.name, rpc.metadata = plan, method, method.name, metadata
            rpc.started_ns, rpc.unclaimed = started_ns, True
            rpc.bound, rpc.extracted, rpc.base, rpc.behavior = bound, extracted, base, behavior
            rpc.reads_stream = reads
            if is_coroutine:
                wrapped: Behavior = rpc.coroutine
            elif inspect.isasyncgenfunction(behavior):
                wrapped = rpc.generator
            else:
                wrapped = threaded(rpc, behavior)
            traced = rewrap(handler, rpc, behavior, wrapped)
        except Exception:
            plan.complain("tracing a handler")
            return handler
        if task is not None:  # ``in_task``, without the call
            rpc.task = task
            task.add_done_callback(rpc.on_task_done)
        else:
            rpc.ends_with_handler = True
        return traced


class Passing:
    """A call of one response that nobody will hear of, served by a coroutine.

    All that is left to do is to pass on what arrived, to all that the handler calls.
    """

    __slots__ = (
        "base", "behavior", "extracted", "metadata", "method", "pass_through", "plan",
        "reads_stream", "task",
    )  # fmt: skip

    def __init__(
        self,
        behavior: Callable[..., Any],
        pass_through: PassThrough,
        extracted: Extracted,
        base: Context | None,
        plan: Plan,
        method: Method,
        metadata: Iterable[Pair] | None,
        task: asyncio.Task[object] | None,
        reads_stream: bool,
    ) -> None:
        self.behavior = behavior
        self.pass_through = pass_through
        self.extracted = extracted
        self.base = base
        self.plan = plan
        self.method = method
        self.metadata = metadata
        self.task = task
        """gRPC's, for this RPC."""
        self.reads_stream = reads_stream

    async def coroutine(self, request: object, context: grpc.aio.ServicerContext) -> object:
        """Serve the RPC by the handler; this is what gRPC calls in its stead."""
        task = asyncio.current_task()
        if task is not self.task or type(context) is not OWN_AIO_CONTEXT:
            actual = known(context).invocation_metadata()
            if actual is not None and pairs_of(actual) != pairs_of(self.metadata):
                # An interceptor further out keeps this handler, and calls it for other RPCs.
                other = AioServerCall(self.plan, self.method, actual)
                other.base, other.behavior = self.base, self.behavior
                other.reads_stream = self.reads_stream
                other.arrive(actual)
                other.unclaimed = True
                other.in_task(task)
                return await other.coroutine(request, context)
        current = get_current()
        if self.base is not None:
            current = without(current, self.base)
        if current and (current.get(_SUPPRESSED) or current.get(SUPPRESSED_PLAINLY)):
            return await self.behavior(request, context)
        span = self.pass_through.pass_on(self.extracted)
        fields, captured = self.extracted
        if current or captured or (fields is not None and fields[6]):
            made = enter(self.extracted, current, span)
        else:
            made = Context({SPAN_KEY: span})
        awaited = self.behavior(request, context)
        steps = awaited if type(awaited) is CoroutineType else steps_of(awaited)
        token = attach(made)
        try:
            waiting = steps.send(None)
        except StopIteration as done:  # it had to wait for nothing
            return done.value
        else:
            step = Step(get_current())
        finally:
            detach(token)
        return await resumed(steps, waiting, step)
