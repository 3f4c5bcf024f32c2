"""The context of a blocking handler on an asyncio server: there, and only there, a thin proxy.

``grpc.aio`` gives such a handler a context that cannot be asked for what it was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

    from tracekit.grpc._conventions import Pair
    from tracekit.grpc._foreign_context import KnownContext


class ReadableContext:
    """What a blocking handler told its context; read like a context that can be asked."""

    def __init__(self, context: grpc.ServicerContext | KnownContext) -> None:
        self.peer = context.peer
        self.time_remaining = context.time_remaining
        self.invocation_metadata = context.invocation_metadata
        self.aborted = False
        self.last_code: object = None
        self.last_details = ""
        self.last_trailing: Iterable[Pair] = ()

    def code(self) -> object:
        return self.last_code

    def details(self) -> str:
        return self.last_details

    def trailing_metadata(self) -> Iterable[Pair]:
        return self.last_trailing


class RecordingContext:
    """The context of a blocking handler: gRPC's own, and what it is told is kept to be read."""

    __slots__ = ("_bare", "_readable")

    _bare: grpc.ServicerContext
    _readable: ReadableContext

    def __init__(self, context: grpc.ServicerContext, readable: ReadableContext) -> None:
        object.__setattr__(self, "_bare", context)
        object.__setattr__(self, "_readable", readable)

    @property  # type: ignore[misc] # what isinstance asks when the type itself says no
    def __class__(self) -> type:
        return type(self._bare)

    def __getattr__(self, name: str) -> object:
        return getattr(self._bare, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._bare, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._bare, name)

    def __dir__(self) -> list[str]:
        return dir(self._bare)

    def set_code(self, code: object) -> None:
        self._bare.set_code(code)
        self._readable.last_code = code

    def set_details(self, details: str) -> None:
        self._bare.set_details(details)
        self._readable.last_details = details

    def set_trailing_metadata(self, metadata: Iterable[Pair]) -> None:
        self._bare.set_trailing_metadata(metadata)
        self._readable.last_trailing = metadata

    def abort(
        self, code: object, details: str = "", trailing_metadata: tuple[Pair, ...] = ()
    ) -> None:
        self._readable.aborted = True
        self._readable.last_code = code
        self._readable.last_details = details
        self._readable.last_trailing = trailing_metadata or self._readable.last_trailing
        self._bare.abort(code, details, trailing_metadata)
