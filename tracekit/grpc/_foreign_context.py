"""The context of a handler, where an interceptor further out handed it one of its own.

Such a context keeps what its author needed: abstract methods alone, attributes for methods, or
methods that raise. Where gRPC's own stands behind it, that is asked instead: it alone knows what
goes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from grpc._cython import cygrpc
from grpc._server import _Context, _RPCState

from tracekit.grpc import _foreign as foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeGuard

    import grpc

    from tracekit.grpc._conventions import Pair

OWN_CONTEXT: type[grpc.ServicerContext] = _Context
OWN_AIO_CONTEXT: type = cygrpc._ServicerContext
OWN_THREAD_CONTEXT: type = cygrpc._SyncServicerContext
_OWN = (OWN_CONTEXT, OWN_AIO_CONTEXT, OWN_THREAD_CONTEXT)

CANCELLED = "cancelled"
"""gRPC's word for a client that is gone."""


class OwnState(Protocol):
    """What gRPC's blocking server knows of an RPC."""

    code: grpc.StatusCode | None
    client: str
    statused: bool
    trailing_metadata: Iterable[Pair] | None
    callbacks: list[Callable[[], None]] | None


class _Call(Protocol):
    def peer(self) -> bytes: ...
    def cancel(self) -> object: ...


class OwnEvent(Protocol):
    """The arrival of an RPC."""

    call: _Call
    invocation_metadata: tuple[Pair, ...]


ARRIVAL: type | None = getattr(cygrpc, "RequestCallEvent", None)
"""What gRPC's own ``OwnEvent`` is, if it is still called that."""
STATE: type = _RPCState
"""What gRPC's own ``OwnState`` is."""


class OwnContext(Protocol):
    """gRPC's own context of a blocking handler, as far as we look behind its methods."""

    _state: OwnState
    _rpc_event: OwnEvent


def _seen_through() -> type | None:
    try:
        state = _RPCState()
        context = _Context(None, state, None)
    except Exception:
        return None
    known = {"code", "client", "statused", "trailing_metadata", "callbacks"} <= vars(state).keys()
    known = known and {"_state", "_rpc_event"} <= vars(context).keys() and ARRIVAL is not None
    return _Context if known else None


SEEN_THROUGH: type | None = _seen_through()
"""gRPC's own blocking context where it keeps what it knows under these names, else None.

Its methods are a Python call each, and three or four where they take the lock: a third of what an
RPC would cost us. Each of these facts is read in one step, for which no lock is needed.
"""


def _is_own(context: object) -> TypeGuard[grpc.ServicerContext]:
    kind = type(context)
    if kind is SEEN_THROUGH:  # gRPC's, but it may have been made around parts of somebody else's
        event, state = getattr(context, "_rpc_event", None), getattr(context, "_state", None)
        return type(event) is ARRIVAL and type(state) is STATE
    return issubclass(kind, _OWN)


class KnownContext:
    """What can be known of a context behind which there is none of gRPC's. Nothing here raises."""

    def __init__(self, context: object) -> None:
        self._context = context

    def code(self) -> grpc.StatusCode | None:
        return foreign.code_of(self._context)

    def details(self) -> str | None:
        return foreign.ask_text(self._context, "details")

    def trailing_metadata(self) -> list[Pair] | None:
        return foreign.ask_pairs(self._context, "trailing_metadata")

    def invocation_metadata(self) -> list[Pair] | None:
        return foreign.ask_pairs(self._context, "invocation_metadata")

    def time_remaining(self) -> float | None:
        return foreign.ask_seconds(self._context, "time_remaining")

    def peer(self) -> str:
        return foreign.ask(self._context, "peer", str) or ""

    def is_active(self) -> bool:
        return foreign.ask(self._context, "is_active", bool) is not False

    def done(self) -> bool:
        return foreign.ask(self._context, "done", bool) is True

    def add_callback(self, callback: Callable[[], None]) -> bool | None:
        """Return whether ``callback`` will be called; None if the context does not say."""
        try:
            added = self._context.add_callback(callback)  # type: ignore[attr-defined] # (or raises)
        except Exception:
            return None
        return added if isinstance(added, bool) else None


def known(context: object) -> grpc.ServicerContext | KnownContext:
    """Return who can be asked about the RPC of ``context``: itself, if that is gRPC's own."""
    if _is_own(context):
        return context
    own = foreign.held(context, _is_own)
    return KnownContext(context) if own is None else own


def was_cut_off(context: grpc.ServicerContext | KnownContext) -> bool:
    """Return whether an RPC that is over ended before its status was sent.

    gRPC tells it in no other way; where it keeps its state under another name: no.
    """
    state = getattr(context, "_state", None)
    return getattr(state, "client", None) == CANCELLED
