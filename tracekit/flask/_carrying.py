"""Copies of Flask's contexts that carry OpenTelemetry's."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context


@functools.cache
def carrying(kind: Any) -> Any:  # noqa: ANN401 (a class of Flask's, by version)
    """Return a subclass of a Flask context whose copies carry the OpenTelemetry context.

    ``copy_current_request_context`` runs a function elsewhere, in a thread or greenlet, under a
    copy of the request's context; what was current where it was copied is then current there.
    """
    if hasattr(kind, "_tracekit_carried"):
        return kind

    class Carrying(kind):  # type: ignore[misc] # a class known at run time only
        _tracekit_carried: Context | None = None
        _tracekit_tokens: list[Token[Context]]

        def copy(self) -> object:
            copied = super().copy()
            copied.__class__ = Carrying
            copied._tracekit_carried = otel_context.get_current()
            copied._tracekit_tokens = []
            return copied

        def push(self) -> None:
            super().push()
            if self._tracekit_carried is not None:
                self._tracekit_tokens.append(otel_context.attach(self._tracekit_carried))

        def pop(self, *args: object) -> None:
            try:
                super().pop(*args)
            finally:
                if self._tracekit_carried is not None:
                    otel_context.detach(self._tracekit_tokens.pop())

    Carrying.__name__, Carrying.__qualname__ = kind.__name__, kind.__qualname__
    Carrying.__module__ = kind.__module__
    return Carrying
