"""What the span of an RPC that we serve starts with: its method, its peer, what is kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tracekit.grpc import _conventions as conventions
from tracekit.grpc._foreign_context import SEEN_THROUGH

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

    from tracekit._protocols import PlainAttributes
    from tracekit.grpc._conventions import Attributes, Pair
    from tracekit.grpc._foreign_context import KnownContext, OwnContext
    from tracekit.grpc._shared import CallPlan, Method


class Arrived(Protocol):
    """An RPC that we serve, as far as it is looked at here."""

    plan: CallPlan
    method: Method
    name: str
    metadata: Iterable[Pair] | None
    _served: grpc.ServicerContext | KnownContext | None


def described(rpc: Arrived) -> Attributes:
    """Return what a recording span of ``rpc`` starts with."""
    plan, context, method = rpc.plan, rpc._served, rpc.method
    found: PlainAttributes = method.attributes[plan.semconv]
    if context is not None:
        peer: str | bytes
        if type(context) is SEEN_THROUGH:
            own: OwnContext = context  # type: ignore[assignment]
            peer = own._rpc_event.call.peer()
        else:
            peer = context.peer()
        describe = conventions.served_attributes
        found = (describe if method.remembered else describe.__wrapped__)(
            rpc.name, plan.semconv, peer
        )
    if plan.metadata:
        return {
            **found,
            **conventions.kept("rpc.request.metadata.", rpc.metadata or (), plan.metadata),
        }
    return found  # type: ignore[return-value] # it is copied, see ``join``
