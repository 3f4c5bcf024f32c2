"""An RPC that a blocking handler serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from tracekit._context import attach, detach
from tracekit.grpc import _conventions as conventions
from tracekit.grpc._foreign_context import ARRIVAL, CANCELLED, SEEN_THROUGH, STATE, known
from tracekit.grpc._handlers import is_abort
from tracekit.grpc._server_call import SURE_BYTES
from tracekit.grpc._server_doubt import DoubtfulRpc
from tracekit.grpc._trailers import illegal_in

if TYPE_CHECKING:
    from tracekit.grpc._foreign_context import KnownContext, OwnContext
    from tracekit.grpc._handlers import Behavior

_OK = grpc.StatusCode.OK


class BlockingServerCall(DoubtfulRpc):
    """An RPC on a blocking server: begun and ended in its handler's thread, or by gRPC's own."""

    if_unconvertible = grpc.StatusCode.INTERNAL

    behavior: Behavior
    """The handler's own function."""

    def claims(self, context: OwnContext) -> bool:
        """Return True once, for the RPC that the handler was made for: nearly always.

        It is ``claim`` for who knows by one look that it is that RPC.
        """
        try:
            if (
                type(context) is SEEN_THROUGH
                and type(context._rpc_event) is ARRIVAL
                and type(context._state) is STATE
                and context._rpc_event.invocation_metadata is self.metadata
            ):
                del self.unclaimed
                return True
        except AttributeError:
            pass
        return False

    def unary(self, request: object, context: grpc.ServicerContext) -> object:
        """Serve the RPC by the handler; this is what gRPC calls in its stead."""
        call: BlockingServerCall
        asked: grpc.ServicerContext | KnownContext
        call, asked = self, context
        if not self.claims(context):
            asked = known(context)
            call = self.serving(asked)
            call.behavior = self.behavior
        if not call.begin(request, asked):
            return self.behavior(request, context)
        token = attach(call.context)
        try:
            try:
                response = self.behavior(request, context)
            finally:
                detach(token)
        except BaseException as error:
            call.failed(error)
            raise
        if call.live:
            state = call.state
            if (
                state is None
                or state.code is not None
                or state.client == CANCELLED
                or state.statused
                or self.plan.has_hooks
            ):
                call.returned(response)
            else:  # nearly always, and without the call
                call.unattended = True
                if call.closed or call.ends_with_handler:
                    call.end(over=False)
        return response

    def respond(self, response: object) -> object:
        """Serialize the one response, with which the call ends: ``send`` and ``responded``."""
        state = self.state
        if state is None or self.reused or not self.plan.quiet or not self.live:
            return super().respond(response)
        serialize = self.serialize
        try:
            data = response if serialize is None else serialize(response)
        except BaseException as error:
            self.spoilt(error)
            raise
        if data.__class__ is bytes:
            self.sent_count += 1
            self.sent_bytes += len(data)
        else:
            self.sent_otherwise(data)
        try:
            if (
                state.code is None
                and state.trailing_metadata is None
                and self.sent_bytes <= SURE_BYTES
                and not self.cancels
            ):
                self.succeed()
                self._served = self.state = None
            else:
                self.responded()
        except Exception:
            self.plan.complain("following a call")
        return data

    def cancelled_now(self) -> None:
        context = self._served
        if context is not None and self.remaining_s is None:
            self.remaining_s = context.time_remaining()

    def returned(self, response: object) -> None:
        """Called when the handler returned the response."""
        context, state = self._served, self.state
        if context is None:
            return
        if state is None:
            code, active = context.code(), context.is_active()
        else:
            code, active = state.code, state.client != CANCELLED and not state.statused
        if (code is not None and code is not _OK) or not active:
            self.end()
            return
        if self.plan.has_hooks:
            self.response = response
        self.unattended = True  # ``leave``, without the call
        if self.closed or self.ends_with_handler:
            self.end(over=False)

    def responded(self) -> None:
        """Called when the one response could be serialized."""
        context, state = self._served, self.state
        if context is None:
            return
        if state is None:  # interceptors further out may have set a code since
            code, trailers = context.code(), context.trailing_metadata()
        else:
            code, trailers = state.code, state.trailing_metadata
        if code is not None and code is not _OK:
            self.end(over=False)
        elif self.cancels or self.sent_bytes > SURE_BYTES or trailers is not None:
            self.doubt(context)
        else:
            if self.plan.quiet:
                self.succeed()
            else:
                self.complete(_OK, response_metadata=context.trailing_metadata)
            self._served = self.state = None

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
        self._served = self.state = None

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
