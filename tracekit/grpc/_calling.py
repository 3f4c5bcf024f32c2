"""An RPC that we make: begun in the caller's context, written into metadata of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

from tracekit._calls import Step
from tracekit.grpc._rpc import Rpc, kept
from tracekit.propagation import merge_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.context import Context

    from tracekit.grpc._plan import Method, Plan
    from tracekit.grpc._rpc import Pair

_CALLING = "tracekit-grpc-calling"


class ClientRpc(Rpc):
    """An RPC that we make; ``metadata`` is what goes out, the caller's object is left alone."""

    __slots__ = ()

    def __init__(self, plan: Plan, method: Method, metadata: Iterable[Pair] | None) -> None:
        # An iterator can be read once only, and we are not its only reader.
        super().__init__(
            plan, method, list(metadata) if isinstance(metadata, Iterator) else metadata
        )

    def begin(self, request: object) -> bool:
        """Start the span and write it into ``metadata``; False: not traced, call as you were."""
        plan = self.plan
        try:
            current = otel_context.get_current()
            calling = current.get(_CALLING)
            if calling and calling[0].method.name == self.method.name:  # type: ignore[index]
                return False
            if current.get(_SUPPRESS_INSTRUMENTATION_KEY):
                return False
            handle, _ = plan.handle()
            if plan.has_hooks:
                self.request = request
            call = self._open(current)
            propagator = handle.propagator
            outgoing = propagator.outgoing(call.context)
            self.metadata = merge_metadata(outgoing, self.metadata or (), propagator.counters)
            if plan.metadata and call.span.is_recording():
                call.span.set_attributes(
                    kept("rpc.request.metadata.", self.metadata, plan.metadata)
                )
        except Exception:
            plan.complain("starting a client span")
        return self.call is not None

    def invoking(self) -> Invoking:
        """Return the ``with`` block around the bare call: what is nested in it is this call."""
        assert self.call is not None  # noqa: S101 (begun)
        return Invoking(self.call.context, self)


def invoked() -> ClientRpc | None:
    """Return the RPC that this thread is handing down at the moment."""
    cell = otel_context.get_current().get(_CALLING)
    return cell[0] if cell else None  # type: ignore[index]


class Invoking:
    """The stretch in which an RPC is handed down, through other interceptors, to gRPC.

    An edge of ours that sees the same method within it is looking at the same call. A ``with``
    block; where the stretch has suspensions, ``step()`` and ``over()``.
    """

    __slots__ = ("_cell", "_context", "_token")

    def __init__(self, context: Context, rpc: ClientRpc) -> None:
        self._cell = [rpc]
        self._context = otel_context.set_value(_CALLING, self._cell, context)

    def __enter__(self) -> None:
        self._token = otel_context.attach(self._context)

    def __exit__(self, *_: object) -> None:
        otel_context.detach(self._token)
        self.over()

    def step(self) -> Step:
        """Return the stretch as a step."""
        return Step(self._context)

    def over(self) -> None:
        """End the stretch also for the tasks that were started in it and inherited its context."""
        self._cell.clear()
