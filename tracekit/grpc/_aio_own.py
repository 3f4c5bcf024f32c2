"""The call objects of ``grpc.aio``, as far as we look behind their methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from grpc.aio import _call, _interceptor

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeGuard

    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._messages import Convert


class Status(Protocol):
    """How a call ended, as gRPC's core tells it."""

    def code(self) -> int: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> tuple[Pair, ...] | None: ...


class Core(Protocol):
    """The core of a call object, which lives on when that is dropped."""

    _status: Status
    _initial_metadata: tuple[Pair, ...] | None

    def done(self) -> bool: ...
    def add_done_callback(self, callback: Callable[[], None]) -> None: ...


class Running(Protocol):
    """A task of a call's own."""

    def add_done_callback(self, callback: Callable[..., None]) -> object: ...


class Own(Protocol):
    """A call object of gRPC's own."""

    _cython_call: Core
    _request_serializer: Convert | None
    _response_deserializer: Convert | None
    _call_response: Running
    """Its task, of one response."""
    _preparation: Running
    """Its task, until a stream of responses has begun."""


OwnCall = _call.Call
InterceptedCall = _interceptor.InterceptedCall
ResponseIterator = _interceptor._StreamCallResponseIterator


def _names_in(owner: object, method: str) -> tuple[str, ...]:
    return getattr(getattr(getattr(owner, method, None), "__code__", None), "co_names", ())


KEEPS_CONVERTERS = (
    {"_cython_call", "_request_serializer", "_response_deserializer"}.issubset(
        _names_in(OwnCall, "__init__")
    )
    and "_call_response" in _names_in(_call.UnaryUnaryCall, "_init_unary_response_mixin")
    and "_preparation" in _names_in(_call.UnaryStreamCall, "_init_stream_response_mixin")
)
"""Whether a call of gRPC's own keeps its task, and what it converts messages with, under these
names."""


def is_own(call: object) -> TypeGuard[Own]:
    return issubclass(type(call), OwnCall | InterceptedCall | ResponseIterator)
