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
from typing import TYPE_CHECKING, NamedTuple, cast

import grpc
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as _SUPPRESSED
from opentelemetry.context import Context

from tracekit._assembly.handle import slot
from tracekit._calls.lifecycle import Step
from tracekit._context import SPAN_KEY, SUPPRESSED_PLAINLY, attach, detach, get_current
from tracekit.grpc._blocking_server_call import BlockingServerCall
from tracekit.grpc._foreign_context import ARRIVAL, SEEN_THROUGH, known
from tracekit.grpc._handlers import OWN_HANDLER, THREAD_POOL, behavior_of, make, rebuilt
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
_new = object.__new__
_tuple = tuple.__new__  # a NamedTuple's own is a Python call


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
            base = get_current() if _THREADS_INHERIT else None
            streams = handler.request_streaming or handler.response_streaming
            behavior: Behavior = behavior_of(handler) if streams else handler.unary_unary
            deserialize, serialize = handler.request_deserializer, handler.response_serializer
            serve: Behavior
            fields, through = extracted[0], bound.pass_through
            if (
                fields is not None
                and fields[3] is False
                and through is not None
                and not handler.response_streaming
                and through.passes_on(extracted)
            ):
                given = behavior, through, extracted, base, plan, method, metadata
                serve = _tuple(Passing, given).unary
            else:
                rpc: BlockingServerCall = _new(BlockingServerCall)  # ``__init__`` is a call from C
                rpc.plan, rpc.method, rpc.name, rpc.metadata = plan, method, method.name, metadata
                rpc.started_ns = time_ns()
                rpc.unclaimed = True
                rpc.bound, rpc.extracted, rpc.base, rpc.behavior = bound, extracted, base, behavior
                rpc.deserialize, rpc.serialize, rpc.sees_bytes = deserialize, serialize, True
                deserialize, serialize, serve = rpc.receive, rpc.respond, rpc.unary
                if handler.response_streaming:
                    rpc.streaming = True
                    serialize, serve = rpc.send, _streaming(rpc, behavior)
            if streams or type(handler) is not OWN_HANDLER or hasattr(behavior, THREAD_POOL):
                return rebuilt(handler, behavior, serve, deserialize, serialize)
            return make((False, False, deserialize, serialize, serve, None, None, None))
        except Exception:
            plan.complain("tracing a handler")
            return handler


class Passing(NamedTuple):
    """A call of one response that nobody will hear of.

    All that is left to do is to pass on what arrived, to all that the handler calls.
    """

    behavior: Behavior
    pass_through: PassThrough
    extracted: Extracted
    base: Context | None
    plan: Plan
    method: Method
    metadata: Iterable[Pair] | None

    def unary(self, request: object, context: grpc.ServicerContext) -> object:
        """Serve the RPC by the handler; this is what gRPC calls in its stead."""
        behavior, through, extracted, base, plan, method, metadata = self
        own: OwnContext = context
        if (
            type(context) is not SEEN_THROUGH
            or type(own._rpc_event) is not ARRIVAL
            or own._rpc_event.invocation_metadata is not metadata
        ):
            actual = known(context).invocation_metadata()
            if actual is not None and actual is not metadata:
                # An interceptor further out keeps this handler, and calls it for other RPCs.
                other = BlockingServerCall(plan, method, actual)
                other.base, other.behavior = base, behavior
                other.arrive(actual)
                return other.unary(request, context)
        current = get_current()
        if base is not None:
            current = without(current, base)
        if current and (current.get(_SUPPRESSED) or current.get(SUPPRESSED_PLAINLY)):
            return behavior(request, context)
        span = through.pass_on(extracted)
        fields, captured = extracted
        if current or captured or (fields is not None and fields[6]):
            made = enter(extracted, current, span)
        else:
            made = Context({SPAN_KEY: span})
        token = attach(made)
        try:
            return behavior(request, context)
        finally:
            detach(token)


def _streaming(rpc: BlockingServerCall, behavior: Behavior) -> Behavior:
    def traced(
        request: object, context: grpc.ServicerContext, *send: Callable[[object], None]
    ) -> object:
        call, asked = rpc, context
        if not rpc.claims(context):
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
