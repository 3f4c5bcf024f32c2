"""The call objects of ``grpc.aio``, as far as we look behind their methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from grpc.aio import _call, _interceptor

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeGuard

    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._messages import Convert

SENDING = ("_invocation_task", "_send_unary_request_task")
"""Where a call keeps the task that sends a single request."""


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


class Own(Protocol):
    """A call object of gRPC's own."""

    _cython_call: Core
    _request_serializer: Convert | None
    _response_deserializer: Convert | None


OwnCall = _call.Call
InterceptedCall = _interceptor.InterceptedCall
ResponseIterator = _interceptor._StreamCallResponseIterator

KEEPS_CONVERTERS = {"_cython_call", "_request_serializer", "_response_deserializer"} <= set(
    getattr(getattr(OwnCall.__init__, "__code__", None), "co_names", ())
)
"""Whether a call of gRPC's own keeps what it converts messages with, under these names."""


def is_own(call: object) -> TypeGuard[Own]:
    return issubclass(type(call), OwnCall | InterceptedCall | ResponseIterator)
