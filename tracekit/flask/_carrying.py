"""Flask's contexts: they tell when a request is routed, and copies carry OpenTelemetry's."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from flask import Request
    from opentelemetry.context import Context

    from tracekit.flask._late import Late


@functools.cache
def carrying(kind: Any) -> Any:  # noqa: ANN401, C901 (a class by version)
    """Return a subclass of a Flask context that does three things more.

    Once pushed it tells that its request has been matched. ``copy_current_request_context`` runs a
    function elsewhere, in a thread or greenlet, under a copy of it; what was current where it was
    copied is then current there. And an exchange that nobody else serves it serves itself.
    """
    if hasattr(kind, "_tracekit_carried"):
        return kind

    class Carrying(kind):  # type: ignore[misc] # a class known at run time only
        _tracekit_routed: Callable[[Request], None] | None = None
        _tracekit_late: Late | None = None
        _tracekit_carried: Context | None = None
        _tracekit_tokens: list[Token[Context]]

        def copy(self) -> object:
            copied = super().copy()
            copied.__class__ = Carrying
            copied._tracekit_carried = otel_context.get_current()
            copied._tracekit_tokens = []
            return copied

        def push(self) -> None:
            late = self._tracekit_late
            if late is not None:
                late.push()
            super().push()
            if self._tracekit_routed is not None:
                self._tracekit_routed(self.request)
            if late is not None:
                late.watch()
            if self._tracekit_carried is not None:
                self._tracekit_tokens.append(otel_context.attach(self._tracekit_carried))

        def pop(self, *args: object) -> None:
            late, self._tracekit_late = self._tracekit_late, None
            try:
                super().pop(*args)
            finally:
                if self._tracekit_carried is not None:
                    otel_context.detach(self._tracekit_tokens.pop())
                if late is not None:
                    late.pop(args[0] if args else None)

    Carrying.__name__, Carrying.__qualname__ = kind.__name__, kind.__qualname__
    Carrying.__module__ = kind.__module__
    return Carrying
