"""The blocking server: an interceptor that rewraps the handler and leaves its context alone.

What gRPC does around a handler decides where the truth is found:

* ``abort`` raises a bare ``Exception()`` after it has set the code, so an empty one with a code
  set *is* an abort. Any other exception is UNKNOWN, or the code that was set before.
* A response is serialized after the handler has returned; if that fails the code is INTERNAL. So
  a unary call ends in the serializer, not in the handler.
* A stream whose client went away is not closed but dropped: the iterator ends when it is.
"""

from __future__ import annotations

import functools
import sys
from time import time_ns
from typing import TYPE_CHECKING, cast

import grpc
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as _SUPPRESSED
from opentelemetry.context import Context

from tracekit._assembly.handle import slot
from tracekit._calls.lifecycle import Step
from tracekit._context import SPAN_KEY, SUPPRESSED_PLAINLY, attach, detach, get_current
from tracekit.grpc._blocking_server_call import BlockingServerCall
from tracekit.grpc._foreign_context import ARRIVAL, SEEN_THROUGH, known
from tracekit.grpc._handlers import behavior_of, rebuilt, rewrap
from tracekit.grpc._server_call import seen
from tracekit.grpc._started_in import without
from tracekit.propagation._extracted import enter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._foreign_context import OwnContext
    from tracekit.grpc._handlers import Behavior
    from tracekit.grpc._plan import Plan
    from tracekit.grpc._shared import Method, PassThrough
    from tracekit.propagation._remote import Extracted

_THREADS_INHERIT = bool(getattr(sys.flags, "thread_inherit_context", False))
"""Whether the threads of a pool begin with what was current where the server was started."""
_OK = grpc.StatusCode.OK


class ServerInterceptor(grpc.ServerInterceptor):
    """Traces every RPC of a blocking server."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """Return the handler of this one RPC, traced."""
        plan = self._plan
        try:
            metadata = handler_call_details.invocation_metadata
            path = handler_call_details.method
            method = plan.methods[path] if path in plan.methods else plan.method(path)
        except Exception:  # an interceptor's own idea of details
            return continuation(handler_call_details)
        if metadata is not None and seen.get() is metadata:
            return continuation(handler_call_details)
        mark = seen.set(metadata)
        try:
            handler = continuation(handler_call_details)
        finally:
            seen.reset(mark)
        if handler is None or method is None:
            return handler
        try:
            bound = plan.bound
            if bound is None or (
                bound.handle is not plan.tracing
                and (plan.tracing is not None or bound.handle is not slot.running)
            ):
                bound = plan.rebind()
            extracted = bound.propagator.read_metadata(metadata or ())
            through = bound.pass_through
            streaming = handler.response_streaming
            behavior: Behavior
            if streaming or handler.request_streaming:
                behavior = behavior_of(handler)
            else:
                behavior = handler.unary_unary
            base = get_current() if _THREADS_INHERIT else None
            fields = extracted[0]
            unsampled = fields is not None and fields[3] is False
            if unsampled and through is not None and not streaming and through.passes_on(extracted):
                passing = Passing(behavior, through, extracted, base, plan, method, metadata)
                convert = handler.request_deserializer, handler.response_serializer
                return rebuilt(handler, behavior, passing.unary, *convert)
            rpc = BlockingServerCall(plan, method, metadata)
            rpc.started_ns = time_ns()
            rpc.unclaimed = True
            rpc.bound, rpc.extracted, rpc.base, rpc.behavior = bound, extracted, base, behavior
            wrapped = _streaming(rpc, behavior) if streaming else rpc.unary
            return rewrap(handler, rpc, behavior, wrapped)
        except Exception:
            plan.complain("tracing a handler")
            return handler


class Passing:
    """A call of one response that nobody will hear of.

    All that is left to do is to pass on what arrived, to all that the handler calls.
    """

    __slots__ = ("base", "behavior", "extracted", "metadata", "method", "pass_through", "plan")

    def __init__(
        self,
        behavior: Behavior,
        pass_through: PassThrough,
        extracted: Extracted,
        base: Context | None,
        plan: Plan,
        method: Method,
        metadata: Iterable[Pair] | None,
    ) -> None:
        self.behavior = behavior
        self.pass_through = pass_through
        self.extracted = extracted
        self.base = base
        self.plan = plan
        self.method = method
        self.metadata = metadata

    def unary(self, request: object, context: grpc.ServicerContext) -> object:
        """Serve the RPC by the handler; this is what gRPC calls in its stead."""
        own: OwnContext = context
        if (
            type(context) is not SEEN_THROUGH
            or type(own._rpc_event) is not ARRIVAL
            or own._rpc_event.invocation_metadata is not self.metadata
        ):
            actual = known(context).invocation_metadata()
            if actual is not None and actual is not self.metadata:
                # An interceptor further out keeps this handler, and calls it for other RPCs.
                other = BlockingServerCall(self.plan, self.method, actual)
                other.base, other.behavior = self.base, self.behavior
                other.arrive(actual)
                return other.unary(request, context)
        current = get_current()
        if self.base is not None:
            current = without(current, self.base)
        if current and (current.get(_SUPPRESSED) or current.get(SUPPRESSED_PLAINLY)):
            return self.behavior(request, context)
        span = self.pass_through.pass_on(self.extracted)
        fields, captured = self.extracted
        if current or captured or (fields is not None and fields[6]):
            made = enter(self.extracted, current, span)
        else:
            made = Context({SPAN_KEY: span})
        token = attach(made)
        try:
            return self.behavior(request, context)
        finally:
            detach(token)


def _streaming(rpc: BlockingServerCall, behavior: Behavior) -> Behavior:
    def traced(
        request: object, context: grpc.ServicerContext, *send: Callable[[object], None]
    ) -> object:
        call, asked = rpc, context
        try:
            own: OwnContext = context
            first = (
                type(context) is SEEN_THROUGH
                and type(own._rpc_event) is ARRIVAL
                and own._rpc_event.invocation_metadata is rpc.metadata
            )
            if first:
                del rpc.unclaimed  # ``claim``, without the call
        except AttributeError:
            first = False
        if not first:
            asked = known(context)
            call = rpc.serving(asked)
        if not call.begin(request, asked):
            return behavior(request, context, *send)
        if send:  # experimental_non_blocking: the handler calls this with each response
            send = (functools.partial(_send, call, send[0]),)
        step = call.step()
        try:
            with step:
                response = behavior(request, context, *send)
        except BaseException as error:
            call.failed(error)
            raise
        call.leave()  # until somebody asks for the first response
        if send:
            return response
        return _responses(cast("Iterator[object]", response), call, step.context)

    return traced


def _send(rpc: BlockingServerCall, send: Callable[[object], None], response: object) -> None:
    send(response)
    if response is None:
        rpc.end(over=False)


def _responses(
    source: Iterator[object], rpc: BlockingServerCall, context: Context
) -> Iterator[object]:
    """Yield from the handler's iterator; its own context is current only while it runs."""
    rpc.attend()
    try:
        while True:
            token = attach(context)  # a ``Step`` without its two calls: for every message
            try:
                response = next(source)
            finally:
                context = get_current()
                detach(token)
            yield response
    except StopIteration:
        rpc.exhausted()
    except GeneratorExit:
        # gRPC does not close the iterator of a client that went away, it drops it. What the
        # handler does about that, in its ``finally``, is still part of the call.
        with Step(context):
            del source
        if response is None:  # what gRPC itself takes for the end
            rpc.end(over=False)
        else:
            rpc.dropped()
        raise
    except BaseException as error:
        rpc.failed(error)
        raise
