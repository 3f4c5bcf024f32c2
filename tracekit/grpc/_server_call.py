"""An RPC that we serve: when it begins, who may end it, and what its code then is."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import grpc
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as _SUPPRESSED

from tracekit._calls.lifecycle import message_of
from tracekit._context import get_current
from tracekit.grpc import _conventions as conventions
from tracekit.grpc._rpc import Rpc, kept
from tracekit.propagation import enter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tracekit.grpc._plan import Bound
    from tracekit.grpc._rpc import Pair
    from tracekit.propagation import Extracted

seen: ContextVar[object] = ContextVar("tracekit-grpc-serving", default=None)
"""The metadata of the RPC that an interceptor of ours is looking at, further out.

All interceptors of an RPC run in one context, one inside the other, and are given one object. The
mark is taken back on the way out: what comes without metadata has the same empty tuple.
"""
SURE_BYTES = 1024
"""A longer response may be above the server's ``grpc.max_send_message_length``."""
_DEADLINE_SLACK_S = 0.025
"""A cancel this close to the deadline *is* the deadline: the client's clock ran out first."""


class ServerRpc(Rpc):
    """An RPC that we serve. It begins when the handler does, dated back to its arrival.

    Between arrival and handler an RPC may vanish (no thread free, cancelled, too many); since
    nothing was begun, nothing has to be ended. From then on either the handler or gRPC has
    control. gRPC need not come back: what is ``unattended`` when the RPC closes ends there.
    """

    bound: Bound
    """What the handle in use at its arrival provides."""
    arrival: Extracted
    """What its metadata says."""
    if_unconvertible: grpc.StatusCode
    """What gRPC sends where a message cannot be converted, unless a code is set."""
    streaming = False
    unsure = False
    """Whether the one response was serialized, and gRPC may still fail to send it."""
    unattended = False
    closed = False

    def end(self, error: BaseException | None = None, *, over: bool | None = None) -> None:
        """Read the final facts off the handler's context and ``complete`` with them, once.

        ``error`` is what left the handler; ``over`` whether the RPC had ended before (None: to
        be found out).
        """
        raise NotImplementedError

    def attend(self) -> None:
        """Called when control is with the handler."""
        self.unattended = False

    def leave(self) -> None:
        """Called when control is with gRPC, perhaps for good."""
        self.unattended = True
        if self.closed:
            self.end(over=self.streaming)

    def on_closed(self) -> None:
        """Called when gRPC is done with this RPC, from whatever thread."""
        self.closed = True
        # A stream whose message could not be converted is dropped by gRPC, and how soon its
        # iterator goes away is up to whoever keeps the error's frames (a log handler, say).
        if self.live and (self.unattended or (self.streaming and self.failure is not None)):
            self.end(over=self.streaming)

    def respond(self, response: object) -> object:
        """Serialize the one response of a unary side, with which the call ends."""
        if not self.live:
            serialize = self.serialize
            return response if serialize is None else serialize(response)
        data = self.send(response)
        try:
            self.responded()
        except Exception:
            self.plan.complain("following a call")
        return data

    def responded(self) -> None:
        """Called when the one response could be serialized."""
        self.end(over=False)

    def dropped(self) -> None:
        """Called when gRPC gave up a stream of responses."""
        self.end(over=True)

    def begin(self, request: object, context: grpc.ServicerContext | None) -> bool:
        """Start the span; False: not to be traced (suppressed, or we cannot).

        ``context`` is the handler's; None where no handler is called.
        """
        plan = self.plan
        try:
            if self.begun:  # an interceptor further out calls the handler once more
                self._start_over()
            current = get_current()
            if current.get(_SUPPRESSED):
                return False
            if plan.has_hooks:
                self.request = request
            self._open(self.bound, enter(self.arrival, current))
            if self.live:
                if context is not None:
                    self.served(context)
                    peer = conventions.peer_attributes(context.peer(), plan.semconv)
                    self.span.set_attributes(peer)
                if plan.metadata:
                    found = kept("rpc.request.metadata.", self.metadata or (), plan.metadata)
                    self.span.set_attributes(found)
        except Exception:
            plan.complain("starting a server span")
        return self.begun

    def _start_over(self) -> None:
        self.end(over=False)
        self.begun = self.unattended = False
        self.failure = None

    def served(self, context: grpc.ServicerContext) -> None:
        """Hear which context the handler of this live RPC has."""
        raise NotImplementedError

    def sends(self, data: object) -> bool:
        """Return whether gRPC sends ``data``; if not, it only logs that."""
        del data
        return False

    def unconverted(self, error: Exception) -> None:
        """Record a failed message; begin and end for it, if no handler has been called."""
        if not self.begun:
            self.begin(None, None)
            self.note(error)
            self.complete_as_sent(None, None, over=True)
            return
        self.note(error)
        if self.unattended:
            self.end(over=True)

    def complete_as_sent(
        self,
        code: grpc.StatusCode | None,
        details: object,
        error: BaseException | None = None,
        *,
        aborted: bool = False,
        over: bool = False,
        remaining_s: float | None = None,
        response_metadata: Callable[[], Iterable[Pair] | None] | None = None,
    ) -> None:
        """Complete with what the wire says: ``code`` is what the handler set, if it set one.

        ``error`` is what left the handler, ``aborted`` whether that was gRPC's own way to leave
        it; ``over`` that the RPC had ended before the handler did.
        """
        text = details.decode("utf-8", "replace") if isinstance(details, bytes) else details
        cancelled = over and self.failure is None
        if cancelled:
            late = remaining_s is not None and remaining_s < _DEADLINE_SLACK_S
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
            error = None
        elif over:
            code = code or self.if_unconvertible
            error = None  # it only follows from the failure that was noted
            text = text or self.failure
        elif error is None:
            code = code or grpc.StatusCode.OK
        else:
            code = code or grpc.StatusCode.UNKNOWN
            text = text or f"{type(error).__name__}: {message_of(error)}"
        self.complete(
            code,
            details=str(text) if text else None,
            exception=None if aborted else error,
            cancelled=cancelled,
            response_metadata=response_metadata,
        )
