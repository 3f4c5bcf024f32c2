"""What a blocking handler leaves behind may never reach the client, and only a close tells.

Until gRPC is done with an RPC its context says that all is well: of a status that cannot be sent,
and of one that nobody gets any more, because the handler itself called ``context.cancel()``. gRPC
does that as told and keeps no note of it, so its context is given a ``cancel`` that does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from tracekit.grpc._foreign_context import (
    OWN_CONTEXT,
    SEEN_THROUGH,
    KnownContext,
    was_cut_off,
)
from tracekit.grpc._server_call import ServerRpc
from tracekit.grpc._trailers import illegal_in

if TYPE_CHECKING:
    import grpc

    from tracekit.grpc._foreign_context import OwnContext, OwnEvent, OwnState

_CANCEL = getattr(OWN_CONTEXT, "cancel", None)


class _Cancelling(Protocol):
    cancel: Any
    _rpc_event: OwnEvent


class DoubtfulRpc(ServerRpc):
    """An RPC whose end may have to wait for gRPC's word."""

    cancels = False
    """Whether the program called ``context.cancel()``: what was not sent by then never is."""
    _event: OwnEvent
    """What gRPC's own context cancels. (To keep the context itself would make a circle.)"""

    state: OwnState | None = None
    """What gRPC knows of it, where that can be looked at; as long as ``_served``.

    It holds the context in which its handler ran, where ``serving`` leaves the RPC: a circle.
    """

    def served(self, context: grpc.ServicerContext | KnownContext) -> None:
        """Called with the context that the handler has, in its thread."""
        added: bool | None
        if type(context) is SEEN_THROUGH:
            # ``add_callback`` without its lock: who takes the list for the calling leaves None. A
            # close that comes in between may call us as well, which is once more and no harm.
            seen: OwnContext = context  # type: ignore[assignment]
            self.state = state = seen._state
            callbacks = state.callbacks
            if callbacks is not None:
                callbacks.append(self.on_closed)
            added = state.callbacks is not None
        else:
            added = context.add_callback(self.on_closed)
        if not added:
            self.closed = added is False
            self.ends_with_handler = True
            self.cancelled_now()
        elif OWN_CONTEXT is type(context):
            own: _Cancelling = context  # type: ignore[assignment]
            try:
                if own.cancel.__func__ is _CANCEL:  # and nobody else's
                    self._event = own._rpc_event
                    own.cancel = self.cancel
            except AttributeError:  # gRPC keeps it elsewhere, or lets nothing be added
                return

    def cancel(self) -> None:
        """Do what gRPC's context does; in whatever thread, at any time and as often as asked."""
        if self.live:
            self.cancelled_now()
            self.cancels = True
        self._event.call.cancel()

    def cut_off(self, context: grpc.ServicerContext | KnownContext, over: bool) -> bool | None:
        """Return whether the RPC of a handler that cancels was cut off; None: a close will tell.

        If it was, that came first, and what else went wrong with it nobody was told.
        """
        if not over:
            self.unsure = True
            if self.closed:
                over = was_cut_off(context)
            elif illegal_in(context.trailing_metadata()) is None:
                return None
            else:
                over = True  # see ``doubt``
        if over:
            self.failure = None
        return over

    def doubt(self, context: grpc.ServicerContext | KnownContext) -> None:
        """Wait for gRPC to be done with the RPC, since it may yet fail to send its status.

        Not for trailing metadata that is illegal: old versions of gRPC never get done with that.
        """
        if illegal_in(context.trailing_metadata()) is not None:
            self.end()
            return
        self.unsure = True
        if self.closed:
            self.on_closed()

    def on_closed(self) -> None:
        self.closed = True
        if not self.live:  # nearly always
            return
        context = self._served
        if self.unsure and context is not None:
            self.end(over=was_cut_off(context))
        else:
            super().on_closed()
