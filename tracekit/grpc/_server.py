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

from tracekit._assembly.handle import slot
from tracekit._calls.lifecycle import Step
from tracekit._context import SUPPRESSED_PLAINLY, attach, detach, get_current
from tracekit.grpc import _conventions as conventions
from tracekit.grpc._foreign_context import OWN_CONTEXT, known
from tracekit.grpc._handlers import Rebuilt, behavior_of, is_abort, rebuilt, rewrap
from tracekit.grpc._server_call import SURE_BYTES, seen
from tracekit.grpc._server_doubt import DoubtfulRpc
from tracekit.grpc._started_in import without
from tracekit.grpc._trailers import illegal_in
from tracekit.propagation._extracted import enter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.context import Context

    from tracekit.grpc._handlers import Behavior
    from tracekit.grpc._plan import Plan
    from tracekit.grpc._rpc import Pair
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
            method = plan.method(handler_call_details.method)
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
            arrival = bound.propagator.read_metadata(metadata or ())
            passer = bound.passer
            streaming = handler.response_streaming
            base = get_current() if _THREADS_INHERIT else None
            fields = arrival[0]
            unsampled = fields is not None and fields[3] is False
            if unsampled and passer is not None and not streaming and passer.passes_on(arrival):
                return _passing(handler, passer, arrival, base, (plan, method, metadata))
            rpc = BlockingServerCall(plan, method, metadata)
            rpc.started_ns = time_ns()
            rpc.unclaimed = True
            rpc.bound, rpc.arrival, rpc.base = bound, arrival, base
            return rewrap(handler, rpc, _streaming if streaming else _unary)
        except Exception:
            plan.complain("tracing a handler")
            return handler


class BlockingServerCall(DoubtfulRpc):
    """An RPC on a blocking server: begun and ended in its handler's thread, or by gRPC's own."""

    if_unconvertible = grpc.StatusCode.INTERNAL

    def cancelled_now(self) -> None:
        context = self._served
        if context is not None and self.remaining_s is None:
            self.remaining_s = context.time_remaining()

    def returned(self, response: object) -> None:
        """Called when the handler returned the response."""
        context = self._served
        if context is None:
            return
        code = context.code()
        if (code is not None and code is not _OK) or not context.is_active():
            self.end()
            return
        if self.plan.has_hooks:
            self.response = response
        self.unattended = True  # ``leave``, without the call
        if self.closed or self.ends_with_handler:
            self.end(over=False)

    def responded(self) -> None:
        """Called when the one response could be serialized."""
        context = self._served
        if context is None:
            return
        code = context.code()  # interceptors further out may have set one since
        if code is None or code is _OK:
            trailers = context.trailing_metadata()
            if self.cancels or self.sent_bytes > SURE_BYTES or trailers is not None:
                self.doubt(context)
            else:
                self.complete(_OK, response_metadata=context.trailing_metadata)
                self._served = None
        else:
            self.end(over=False)

    def exhausted(self) -> None:
        """Called when there are no more responses, and the status is all that is left to send."""
        context = self._served
        if context is None or self.ends_with_handler or context.trailing_metadata() is None:
            self.end()
        else:
            self.doubt(context)

    def end(self, error: BaseException | None = None, *, over: bool | None = None) -> None:
        context = self._served
        if not self.live or context is None:
            return
        if over is None:
            over = not context.is_active()
        if self.cancels and (over := self.cut_off(context, over)) is None:
            return
        code = conventions.code_of(context.code())
        remaining_s = self.remaining_s
        self.complete_as_sent(
            code,
            context.details(),
            error,
            aborted=code is not None and is_abort(error),
            over=over,
            remaining_s=context.time_remaining() if remaining_s is None else remaining_s,
            response_metadata=context.trailing_metadata,
        )
        self._served = None

    def failed(self, error: BaseException) -> None:
        """Called when ``error`` left the handler."""
        context = self._served
        if context is None:
            return
        over = self.closed or self.ends_with_handler or not context.is_active()
        final = over or illegal_in(context.trailing_metadata()) is not None
        if final or context.code() is None or not is_abort(error):
            self.raised(error, final=final)
        else:
            self.raised_text = ""  # nothing but what the code says
            self.leave()


def _passing(
    handler: grpc.RpcMethodHandler,
    passer: PassThrough,
    arrival: Extracted,
    base: Context | None,
    served: tuple[Plan, Method, Iterable[Pair] | None],
) -> grpc.RpcMethodHandler:
    """Return ``handler``, of one response, for a call that nobody will hear of.

    All that is left to do is to pass on what arrived, to all that the handler calls.
    """
    behavior = behavior_of(handler)
    plan, method, metadata = served

    def passing(request: object, context: grpc.ServicerContext) -> object:
        if OWN_CONTEXT is not type(context) or context.invocation_metadata() is not metadata:
            actual = known(context).invocation_metadata()
            if actual is not None and actual is not metadata:
                # An interceptor further out keeps this handler, and calls it for other RPCs.
                other = BlockingServerCall(plan, method, actual)
                other.base = base
                other.arrive(actual)
                return _unary(other, behavior)(request, context)
        current = get_current()
        if base is not None:
            current = without(current, base)
        if current and (current.get(_SUPPRESSED) or current.get(SUPPRESSED_PLAINLY)):
            return behavior(request, context)
        token = attach(enter(arrival, current, passer.pass_on(arrival)))
        try:
            return behavior(request, context)
        finally:
            detach(token)

    convert = handler.request_deserializer, handler.response_serializer
    made = rebuilt(handler, behavior, passing, *convert)
    return made if type(handler) is type(made) else Rebuilt(handler, made)


def _unary(rpc: BlockingServerCall, behavior: Behavior) -> Behavior:
    def traced(request: object, context: grpc.ServicerContext) -> object:
        call, asked = rpc, context
        first = OWN_CONTEXT is type(context) and context.invocation_metadata() is rpc.metadata
        try:
            if first:
                del rpc.unclaimed  # ``claim``, without the call
        except AttributeError:
            first = False
        if not first:
            asked = known(context)
            call = rpc.serving(asked)
        if not call.begin(request, asked):
            return behavior(request, context)
        token = attach(call.context)
        try:
            try:
                response = behavior(request, context)
            finally:
                detach(token)
        except BaseException as error:
            call.failed(error)
            raise
        if call.live:
            call.returned(response)
        return response

    return traced


def _streaming(rpc: BlockingServerCall, behavior: Behavior) -> Behavior:
    def traced(
        request: object, context: grpc.ServicerContext, *send: Callable[[object], None]
    ) -> object:
        call, asked = rpc, context
        first = OWN_CONTEXT is type(context) and context.invocation_metadata() is rpc.metadata
        try:
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
