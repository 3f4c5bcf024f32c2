"""An RPC that we make: begun in the caller's context, written into metadata of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as _SUPPRESSED

from tracekit._assembly.handle import slot
from tracekit._context import attach, detach, get_current
from tracekit.grpc._rpc import Rpc, kept
from tracekit.propagation import outgoing_metadata

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context

    from tracekit._calls.lifecycle import Step

handing: ContextVar[ClientRpc | None] = ContextVar("tracekit-grpc-call", default=None)
"""The RPC that is being handed down to gRPC, while its ``handing_down`` is set."""


class ClientRpc(Rpc):
    """An RPC that we make; ``metadata`` is what goes out, the caller's object is left alone."""

    handing_down = False
    _tokens: tuple[Token[ClientRpc | None], Token[Context]]

    def begin(self, request: object) -> bool:
        """Start the span and write it into ``metadata``; False: not traced, call as you were."""
        plan = self.plan
        given = self.metadata
        if given is not None and isinstance(given, Iterator):
            # It can be read once only, and we are not its only reader.
            given = self.metadata = list(given)
        try:
            outer = handing.get()
            if outer is not None and outer.handing_down and outer.method.name == self.method.name:
                return False
            current = get_current()
            if current.get(_SUPPRESSED):
                return False
            bound = plan.bound
            if bound is None or (
                bound.handle is not plan.tracing
                and (plan.tracing is not None or bound.handle is not slot.running)
            ):
                bound = plan.rebind()
            if plan.has_hooks:
                self.request = request
            context = self._open(bound, current)
            self.metadata = merged = outgoing_metadata(bound.propagator, context, given)
            if plan.metadata and self.live:
                self.span.set_attributes(kept("rpc.request.metadata.", merged, plan.metadata))
        except Exception:
            plan.complain("starting a client span")
        return self.begun

    def __enter__(self) -> None:
        """Begin to hand the call down, through other interceptors, to gRPC.

        An edge of ours that sees the same method meanwhile is looking at the same call.
        """
        self.handing_down = True
        self._tokens = handing.set(self), attach(self.context)

    def __exit__(self, *_: object) -> None:
        mine, otel = self._tokens
        detach(otel)
        handing.reset(mine)
        self.handing_down = False

    def hand_down_in_task(self) -> Step:
        """Do the same for a stretch with suspensions, in a task of its own."""
        self.handing_down = True
        handing.set(self)
        return self.step()

    def handed_down(self) -> None:
        """End the stretch, also for the tasks that were started in it and inherited its context."""
        self.handing_down = False
