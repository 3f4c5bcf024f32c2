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
from time import time_ns
from typing import TYPE_CHECKING, cast

import grpc
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as _SUPPRESSED

from tracekit._assembly.handle import slot
from tracekit._calls.lifecycle import Step
from tracekit._context import attach, detach, get_current
from tracekit.grpc import _conventions as conventions
from tracekit.grpc._handlers import behavior_of, rebuilt, rewrap
from tracekit.grpc._server_call import SURE_BYTES, ServerRpc, seen
from tracekit.propagation import enter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.context import Context

    from tracekit.grpc._handlers import Behavior
    from tracekit.grpc._plan import PassThrough, Plan
    from tracekit.propagation import Extracted

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
        metadata = handler_call_details.invocation_metadata
        if metadata is not None and seen.get() is metadata:
            return continuation(handler_call_details)
        mark = seen.set(metadata)
        try:
            handler = continuation(handler_call_details)
        finally:
            seen.reset(mark)
        plan = self._plan
        method = plan.method(handler_call_details.method)
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
        except Exception:
            plan.complain("reading what arrived")
            return handler
        passer = bound.passer
        if passer is not None and not handler.response_streaming and passer.passes_on(arrival):
            return _passing(handler, passer, arrival)
        rpc = BlockingServerCall(plan, method, metadata)
        rpc.started_ns = time_ns()
        rpc.bound, rpc.arrival = bound, arrival
        return rewrap(handler, rpc, _streaming if handler.response_streaming else _unary)


class BlockingServerCall(ServerRpc):
    """An RPC on a blocking server: begun and ended in its handler's thread, or by gRPC's own."""

    if_unconvertible = grpc.StatusCode.INTERNAL
    _served: grpc.ServicerContext | None = None
    """The handler's context, as long as it is needed: it leads back here by its deserializer, and
    a circle would keep all that gRPC knows of the call until the next garbage collection."""

    def served(self, context: grpc.ServicerContext) -> None:
        """Hear which context the handler has, in its thread."""
        self._served = context
        self.closed = not context.add_callback(self.on_closed)

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
        if self.closed:
            self.end(over=False)

    def responded(self) -> None:
        """Called when the one response could be serialized."""
        context = self._served
        if context is None:
            return
        code = context.code()  # interceptors further out may have set one since
        if code is None or code is _OK:
            if self.sent_bytes > SURE_BYTES or _says_more(context):
                self.unsure = True  # until gRPC is done with the RPC
                if self.closed:
                    self.on_closed()
                return
            self.complete(_OK, response_metadata=context.trailing_metadata)
            self._served = None
        else:
            self.end(over=False)

    def on_closed(self) -> None:
        context = self._served
        if self.unsure and self.live and context is not None:
            self.closed = True
            self.end(over=_was_cut_off(context))
        else:
            super().on_closed()

    def end(self, error: BaseException | None = None, *, over: bool | None = None) -> None:
        context = self._served
        if not self.live or context is None:
            return
        code = conventions.code_of(context.code())
        empty = type(error) is Exception and not error.args
        self.complete_as_sent(
            code,
            context.details(),
            error,
            aborted=empty and code is not None,
            over=not context.is_active() if over is None else over,
            remaining_s=context.time_remaining(),
            response_metadata=context.trailing_metadata,
        )
        self._served = None


def _says_more(context: grpc.ServicerContext) -> bool:
    """Whether trailing metadata was set: illegal ones keep gRPC from sending anything."""
    state = getattr(context, "_state", None)  # without a call, where there is none nearly always
    return getattr(state, "trailing_metadata", None) is not None


def _was_cut_off(context: grpc.ServicerContext) -> bool:
    """Whether an RPC that is over ended before its status was sent.

    gRPC tells it in no other way; where it keeps its state under another name: no.
    """
    state = getattr(context, "_state", None)
    return getattr(state, "client", None) == "cancelled"


def _passing(
    handler: grpc.RpcMethodHandler, passer: PassThrough, arrival: Extracted
) -> grpc.RpcMethodHandler:
    """Return ``handler``, of one response, for a call that nobody will hear of.

    All that is left to do is to pass on what arrived, to all that the handler calls.
    """
    behavior = behavior_of(handler)

    def passing(request: object, context: grpc.ServicerContext) -> object:
        current = get_current()
        if current.get(_SUPPRESSED):
            return behavior(request, context)
        token = attach(enter(arrival, current, passer.pass_on(arrival)))
        try:
            return behavior(request, context)
        finally:
            detach(token)

    convert = handler.request_deserializer, handler.response_serializer
    return rebuilt(handler, behavior, passing, *convert)


def _unary(rpc: BlockingServerCall, behavior: Behavior) -> Behavior:
    def traced(request: object, context: grpc.ServicerContext) -> object:
        if not rpc.begin(request, context):
            return behavior(request, context)
        token = attach(rpc.context)
        try:
            try:
                response = behavior(request, context)
            finally:
                detach(token)
        except BaseException as error:
            rpc.end(error)
            raise
        if rpc.live:
            rpc.returned(response)
        return response

    return traced


def _streaming(rpc: BlockingServerCall, behavior: Behavior) -> Behavior:
    def traced(
        request: object, context: grpc.ServicerContext, *send: Callable[[object], None]
    ) -> object:
        if not rpc.begin(request, context):
            return behavior(request, context, *send)
        if send:  # experimental_non_blocking: the handler calls this with each response
            send = (functools.partial(_send, rpc, send[0]),)
        step = rpc.step()
        try:
            with step:
                response = behavior(request, context, *send)
        except BaseException as error:
            rpc.end(error)
            raise
        rpc.leave()  # until somebody asks for the first response
        if send:
            return response
        return _responses(cast("Iterator[object]", response), rpc, step.context)

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
        rpc.end()
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
        rpc.end(error)
        raise
